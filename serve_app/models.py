"""Model names and files: which declared model a request means, and where its files lie.

`find_model` is called by the Ingress for each request; `locate_model` by a WhisperTranscriber
replica at start (it may download) and by the local tools.
"""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from serve_app.domain import ModelInfo
from serve_app.errors import ModelLoadError, ModelNotFoundError
from serve_app.settings import EMBEDDED, ModelSettings

# Names that clients of other servers send when they mean "the one you have".
DEFAULT_ALIASES = frozenset(
    {"whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-transcribe"}
)

# What a CTranslate2 Whisper directory must hold before the engine can open it.
REQUIRED_FILES = ("model.bin", "config.json")


def find_model(requested: str | None, declared: Sequence[ModelSettings]) -> ModelSettings:
    """Return the declared model that a request's `model` field means.

    Raises:
        ModelNotFoundError: no declared model has that name, alias or source.
    """
    if requested is None or requested == "":
        return declared[0]
    for model in declared:
        if requested in (model.name, model.source, *model.aliases):
            return model
    if requested in DEFAULT_ALIASES:
        return declared[0]
    raise ModelNotFoundError(requested, [model.name for model in declared])


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
