"""Model names and files: which declared model a request means, and where its files lie.

`find_model` is called by the Ingress for each request; `locate_model` by a WhisperTranscriber
replica at start (it may download) and by the local tools; `delete_cached` by the Ingress.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from serve_app.domain import ModelCard, ModelInfo, ModelState
from serve_app.errors import (
    InvalidRequestError,
    ModelLoadError,
    ModelNotCachedError,
    ModelNotFoundError,
)
from serve_app.settings import EMBEDDED, ModelSettings

# Names that clients of other servers send when they mean "the one you have".
DEFAULT_ALIASES = frozenset(
    {
        *("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-transcribe"),
        "gpt-4o-transcribe-diarize",
    }
)

# The Hugging Face ids of faster-whisper's sizes: its `utils._MODELS`, whose import costs a second
# and brings CTranslate2.
SIZES: Mapping[str, str] = {
    **{
        size: f"Systran/faster-whisper-{size}"
        for size in (
            *("tiny", "tiny.en", "base", "base.en", "small", "small.en", "medium", "medium.en"),
            *("large-v1", "large-v2", "large-v3"),
        )
    },
    **{
        f"distil-{size}": f"Systran/faster-distil-whisper-{size}"
        for size in ("small.en", "medium.en", "large-v2", "large-v3")
    },
    "large": "Systran/faster-whisper-large-v3",
    "distil-large-v3.5": "distil-whisper/distil-large-v3.5-ct2",
    "large-v3-turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
}

# What a CTranslate2 Whisper directory must hold before the engine can open it.
REQUIRED_FILES = ("model.bin", "config.json")

_SIZE = re.compile(r"(distil-)?(tiny|base|small|medium|large)(-v\d(\.\d)?)?(-turbo)?(\.en)?")


def find_model(requested: str | None, declared: Sequence[ModelSettings]) -> ModelSettings:
    """Return the declared model that a request's `model` field means.

    Raises:
        ModelNotFoundError: no declared model has that name, alias, source or usual name.
    """
    if requested is None or requested == "":
        return declared[0]
    for model in declared:
        if requested in (model.name, model.source, *model.aliases):
            return model
    for model in declared:
        if requested in usual_names(model.source):
            return model
    if requested in DEFAULT_ALIASES:
        return declared[0]
    raise ModelNotFoundError(requested, [model.name for model in declared])


def make_card(
    model: ModelSettings, declared: Sequence[ModelSettings], state: ModelState
) -> ModelCard:
    """Return what a caller sees of a declared model: every name that `find_model` knows it by."""
    defaults = sorted(DEFAULT_ALIASES) if model is declared[0] else []
    usual = [
        name for name in usual_names(model.source) if find_model(name, declared) is model
    ]  # less those that mean another one
    names = dict.fromkeys([*model.aliases, model.source, *usual, *defaults])
    return ModelCard(
        name=model.name,
        aliases=tuple(name for name in names if name != model.name),
        owner=_owner(model.source),
        state=state,
    )


def usual_names(source: str) -> tuple[str, ...]:
    """Return what clients call a published Whisper model: its id, size and family.

    `deepdml/faster-whisper-large-v3-turbo-ct2` is `large-v3-turbo` and `turbo`. A fine-tuned model
    that has more to its name than a size has no other.
    """
    repo_id = SIZES.get(source, source)
    owner, _, last = repo_id.rpartition("/")
    size = re.sub(r"(^|-)(faster|whisper|ct2)(?=-|$)", "", last).strip("-")
    if not owner or source.startswith((".", "/", "~")) or not _SIZE.fullmatch(size):
        return ()
    families: list[str] = [name for name in ("turbo", "distil") if name in size.split("-")]
    families += ["large"] if size == "large-v3" else []
    return (repo_id, size, *families)


def _owner(source: str) -> str:
    """Return the organisation in a Hugging Face id, or where else the source comes from."""
    if source == EMBEDDED:
        return "serve_app"
    if source.startswith((".", "/", "~")):
        return "local"
    return source.partition("/")[0] if "/" in source else "faster-whisper"


def describe(model: ModelSettings, languages: Sequence[str]) -> ModelInfo:
    """Return what a model with those languages can do."""
    translates = model.translates
    if translates is None:
        # OpenAI trained turbo, and Hugging Face distilled its models, on transcription alone.
        only_transcribes = any(word in model.source.lower() for word in ("turbo", "distil"))
        translates = len(languages) > 1 and not only_transcribes
    return ModelInfo(name=model.name, languages=tuple(languages), translates=translates)


def locate_model(source: str, revision: str | None = None) -> Path:
    """Return the local directory of a model, downloading it into the Hugging Face cache if needed.

    Args:
        source: `embedded`, a local directory, a faster-whisper size or a Hugging Face id.
        revision: branch, tag or commit of a Hugging Face id.

    Raises:
        ModelLoadError: the directory lacks a file, or the download failed.
    """
    if source == EMBEDDED:
        return _check_files(source, asset("whisper-demo-en"))
    if Path(source).is_dir():
        return _check_files(source, Path(source))
    return _check_files(source, _download(source, revision))


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
        {file.file_name for file in revision.files} >= set(REQUIRED_FILES)
        for revision in repo.revisions
    )


def asset(name: str) -> Path:
    """Return the path of a file or directory in the package's assets."""
    return Path(str(resources.files("serve_app") / "assets" / name))


def _check_files(source: str, directory: Path) -> Path:
    missing = [name for name in REQUIRED_FILES if not (directory / name).is_file()]
    if missing:
        reason = f"{directory} lacks {', '.join(missing)}; is it a CTranslate2 Whisper model?"
        raise ModelLoadError(source, reason)
    return directory


def _download(source: str, revision: str | None) -> Path:
    from faster_whisper.utils import download_model

    try:
        return Path(download_model(source, revision=revision))
    except Exception as error:  # the hub client raises many unrelated types
        raise ModelLoadError(source, f"{type(error).__name__}: {error}") from error
