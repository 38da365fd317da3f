"""The models in the Hugging Face cache of this machine: which there are, and deleting one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from serve_app.errors import InvalidRequestError, ModelNotCachedError
from serve_app.models.files import REQUIRED_FILES
from serve_app.models.names import DEFAULT_ALIASES, SIZES
from serve_app.settings import ModelSettings

# By these a repository is known to be a model for CTranslate2. The vocabulary (.json or .txt) has
# that name nowhere else, and comes even where the download of the weights breaks off.
_CONFIG, _WEIGHTS, _VOCABULARY = "config.json", "model.bin", "vocabulary."
_OTHERS_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".h5", ".msgpack", ".onnx", ".gguf")


@dataclass(frozen=True, kw_only=True)
class CachedModel:
    """A model in the cache."""

    source: str  # its Hugging Face id
    directory: Path  # of its newest files
    n_bytes: int  # of these, and of what a download that broke off has left
    is_whole: bool  # else it cannot be loaded


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
    if {model, repo_id} & _names_of(declared):
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
    for repo in repos:
        if repo.repo_path.exists():  # the hub client only logs what fails
            raise OSError(f"{repo.repo_path} could not be deleted whole. Delete the rest by hand.")


def _names_of(declared: Sequence[ModelSettings]) -> set[str]:
    """Return every name by which a caller may mean one of these models."""
    names = {
        name
        for m in declared
        for name in (m.name, *m.aliases, m.source, SIZES.get(m.source, m.source))
    }
    return names | DEFAULT_ALIASES if declared else names


def cached_models() -> list[CachedModel]:
    """Return the models in the Hugging Face cache of this machine, in the order of their ids."""
    from huggingface_hub import CacheNotFound

    try:
        repos = [repo for repo in _scan_cache().repos if _is_ours(repo)]
    except CacheNotFound:
        return []
    return [_cached_model(repo) for repo in sorted(repos, key=lambda repo: str(repo.repo_id))]


def _cached_model(repo: Any) -> CachedModel:
    newest = max(repo.revisions, key=lambda one: one.last_modified)
    broken_off = (repo.repo_path / "blobs").glob("*.incomplete")
    return CachedModel(
        source=repo.repo_id,
        directory=newest.snapshot_path,
        n_bytes=newest.size_on_disk + sum(path.stat().st_size for path in broken_off),
        is_whole={file.file_name for file in newest.files} >= set(REQUIRED_FILES),
    )


def _scan_cache() -> Any:
    from huggingface_hub import constants, scan_cache_dir

    # Given here, because the function took its default when it was imported.
    return scan_cache_dir(constants.HF_HUB_CACHE)


def _is_ours(repo: Any) -> bool:
    """Tell whether a cached repository is of the kind that this app serves.

    Other programs keep theirs in the same cache.
    """
    return repo.repo_type == "model" and any(
        repo.repo_id in SIZES.values() or _is_for_ctranslate2(revision.files)
        for revision in repo.revisions
    )


def _is_for_ctranslate2(files: Iterable[Any]) -> bool:
    """Tell by its files whether a model is for CTranslate2, also where its download broke off."""
    names = {file.file_name for file in files}
    if _CONFIG not in names:
        return False
    begun = any(name.startswith(_VOCABULARY) for name in names)
    return _WEIGHTS in names or (begun and not any(n.endswith(_OTHERS_WEIGHTS) for n in names))
