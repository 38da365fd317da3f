"""Where a model's files lie. Called at start, by replicas and the local tools; it may download."""

import os
from importlib import resources
from pathlib import Path

from serve_app.errors import ModelLoadError
from serve_app.models.names import is_path
from serve_app.settings import EMBEDDED

# What a CTranslate2 Whisper directory must hold before the engine can open it. Without the last,
# faster-whisper downloads whisper-tiny's, whose tokens are not those of large-v3 and turbo.
REQUIRED_FILES = ("model.bin", "config.json", "tokenizer.json")


def locate_model(source: str, revision: str | None = None) -> Path:
    """Return the local directory of a model, downloading it into the Hugging Face cache if needed.

    Args:
        source: `embedded`, a local directory, a faster-whisper size or a Hugging Face id.
        revision: branch, tag or commit of a Hugging Face id.

    Raises:
        ModelLoadError: there is no such directory, it lacks a file, or the download failed.
    """
    if source == EMBEDDED:
        return _check_files(source, asset("whisper-demo-en"))
    # pathlib's raises where the user that `~name` names is not known.
    directory = Path(os.path.expanduser(source))
    if directory.is_dir():
        return _check_files(source, directory)
    if is_path(source):
        reason = f"{directory} is not a directory. Correct the path, or copy the model there."
        raise ModelLoadError(source, reason)
    return _check_files(source, _download(source, revision))


def asset(name: str) -> Path:
    """Return the path of a file or directory in the package's assets."""
    return Path(str(resources.files("serve_app") / "assets" / name))


def _check_files(source: str, directory: Path) -> Path:
    missing = [name for name in REQUIRED_FILES if not (directory / name).is_file()]
    if missing:
        reason = (
            f"{directory} lacks {', '.join(missing)}. Copy or download the model again, or make "
            "one of a checkpoint by `serve-app models convert`."
        )
        raise ModelLoadError(source, reason)
    return directory


def _download(source: str, revision: str | None) -> Path:
    from faster_whisper.utils import download_model

    try:
        return Path(download_model(source, revision=revision))
    except Exception as error:  # the hub client raises many unrelated types
        raise ModelLoadError(source, f"{type(error).__name__}: {error}") from error
