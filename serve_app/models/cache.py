"""The models in the Hugging Face cache of this machine: which there are, and deleting one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from serve_app.errors import InvalidRequestError, ModelNotCachedError
from serve_app.models.names import DEFAULT_ALIASES, SIZES
from serve_app.settings import ModelSettings

# By these a repository is known to be a model for CTranslate2.
TELLING_FILES = ("model.bin", "config.json")


def delete_cached(model: str, declared: Sequence[ModelSettings]) -> None:
    """Delete a model's files from the Hugging Face cache of this machine.

    Args:
        model: a Hugging Face id or a faster-whisper size.
        declared: the models that the profile serves; their files stay.

    Raises:
        InvalidRequestError: the profile declares the model.
        ModelNotCachedError: there is nothing to delete.
        OSError: the files cannot be deleted.
    """
    from huggingface_hub import CacheNotFound

    repo_id = SIZES.get(model, model)
    names = {
        name
        for m in declared
        for name in (m.name, *m.aliases, m.source, SIZES.get(m.source, m.source))
    }
    if {model, repo_id} & (names | DEFAULT_ALIASES):
        raise InvalidRequestError(
            "model",
            f"The profile declares the model '{model}', so its weights are in use. Take it out of "
            "the profile's 'models:' first.",
        )
    try:
        cache = _scan_cache()
    except CacheNotFound:
        raise ModelNotCachedError(model) from None
    repos = [repo for repo in cache.repos if repo.repo_id == repo_id and _is_ours(repo)]
    if not repos:
        raise ModelNotCachedError(model)
    hashes = [revision.commit_hash for repo in repos for revision in repo.revisions]
    # Forks share commits, and the hub client would take the first repository that has one.
    replace(cache, repos=frozenset(repos)).delete_revisions(*hashes).execute()
    if any(repo.repo_path.exists() for repo in repos):  # the hub client only logs what fails
        raise OSError(f"The cached files of {repo_id} could not be deleted")


def cached_models() -> list[tuple[str, Path]]:
    """Return the models in the Hugging Face cache of this machine: id, and its newest files."""
    from huggingface_hub import CacheNotFound

    try:
        repos = [repo for repo in _scan_cache().repos if _is_ours(repo)]
    except CacheNotFound:
        return []
    newest = [max(repo.revisions, key=lambda one: one.last_modified) for repo in repos]
    found = [(repo.repo_id, one.snapshot_path) for repo, one in zip(repos, newest, strict=True)]
    return sorted(found)


def _scan_cache() -> Any:
    from huggingface_hub import constants, scan_cache_dir

    # Given here, because the function took its default when it was imported.
    return scan_cache_dir(constants.HF_HUB_CACHE)


def _is_ours(repo: Any) -> bool:
    """Tell whether a cached repository is of the kind that this app serves.

    Other programs keep theirs in the same cache.
    """
    return repo.repo_type == "model" and any(
        {file.file_name for file in revision.files} >= set(TELLING_FILES)
        for revision in repo.revisions
    )
