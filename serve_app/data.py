"""Ray Data over many files: a dataset of files in, one of transcripts out (extra `data`).

    import ray
    from serve_app.data import append_jsonl, transcribe_dataset

    files = ray.data.read_binary_files("s3://bucket/calls", include_paths=True)
    append_jsonl(transcribe_dataset(files, profile="turbo", done="calls.jsonl"), "calls.jsonl")

Each file becomes one row, with its error where it has one. A worker that dies is replaced, and what
it had is done again; an app that is full is asked again. A run that was broken off goes on where
its output ends, and tries again what failed for no fault of the file.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import serve
from ray.data import ActorPoolStrategy, Dataset

from serve_app import local, models, pipeline, profiles, to_dict
from serve_app.domain import Transcript, TranscriptionRequest
from serve_app.errors import (
    FileTooLargeError,
    InvalidAudioError,
    TranscriptionError,
    all_errors,
)
from serve_app.settings import AppSettings, TranscriberUserConfig

Row = Mapping[str, Any]
COLUMNS = ("path", "text", "language", "duration_s", "verbose_json", "error", "message")

N_FILES = 2 * local.N_FILES  # that a worker is given at a time
N_TRIES = 20  # of a file that the app cannot take now: a minute or three, in which a model loads

# What a row's `error` holds where another run would come to the same: faults of the file.
_FINAL = {None, FileTooLargeError.code, *(kind.code for kind in all_errors(InvalidAudioError))}

_DEFAULT_REQUEST = TranscriptionRequest()


def transcribe_dataset(
    files: Dataset,
    *,
    profile: str | None = None,
    request: TranscriptionRequest = _DEFAULT_REQUEST,
    n_workers: int = 1,
    done: str | Path | None = None,
) -> Dataset:
    """Return a dataset of transcripts, which are made when it is read or written.

    Args:
        files: with the columns `path` and `bytes`, as `ray.data.read_binary_files` makes them with
            `include_paths=True`.
        profile: of which each worker loads the model that the request names, or the first. None:
            the app `whisper` that runs on this cluster is called.
        request: what every file is asked for.
        n_workers: that transcribe side by side.
        done: the output of an earlier run, in JSONL. Files that have a transcript in it are left
            out, and those that are at fault themselves.

    Returns:
        Rows of `COLUMNS`; where `error` holds a code, there is a `message` and no text.

    Raises:
        ProfileError: there is no such profile.
        ModelNotFoundError: the profile declares no model that the request names.
    """
    if done is not None:
        known = _paths_in(Path(done))
        files = files.filter(lambda row: row["path"] not in known)
    source = read_source(profile, request.model) if profile else None
    on_gpu = source is not None and source.settings.models[0].device == "cuda"
    return files.map_batches(
        _Transcriber,
        fn_constructor_args=(source, request),
        batch_size=N_FILES,
        batch_format="numpy",
        compute=ActorPoolStrategy(size=n_workers),
        num_cpus=1 if source else 0.1,
        num_gpus=1 if on_gpu else None,
    )


def append_jsonl(transcripts: Dataset, path: str | Path) -> int:
    """Write each transcript as a line of its own as soon as it is there; return how many.

    A line that an earlier run could not finish is taken away first.
    """
    n_rows = 0
    _cut_broken_line(Path(path))
    with Path(path).open("a", encoding="utf-8") as file:
        for row in transcripts.iter_rows():
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            n_rows += 1
    return n_rows


class _Transcriber:
    """A worker: batches of files in, rows out."""

    def __init__(self, source: "Source | None", request: TranscriptionRequest) -> None:
        self._request = request
        self._transcribe: Callable[[bytes], Transcript]
        if source is None:
            handle = serve.get_app_handle("whisper")
            self._transcribe = lambda data: handle.transcribe.remote(data, request).result()
        else:
            whisper = local.Whisper(source.settings, revision=source.revision)
            self._transcribe = lambda data: whisper.transcribe(data, request)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        with ThreadPoolExecutor(N_FILES) as pool:
            rows = list(pool.map(self._make_row, batch["path"], batch["bytes"]))
        return {column: [row[column] for row in rows] for column in COLUMNS}

    def _make_row(self, path: str, data: bytes) -> Row:
        row: dict[str, Any] = {**dict.fromkeys(COLUMNS), "path": str(path)}
        try:
            made = patiently(self._transcribe, bytes(data))
        except Exception as error:  # noqa: BLE001 - a bad file is a row, and never the end of a run
            told = error if isinstance(error, TranscriptionError) else pipeline.unwrap(error)
            return {**row, "error": told.code, "message": told.message}
        return {
            **row,
            "text": made.text,
            "language": made.language,
            "duration_s": made.duration_s,
            "verbose_json": json.dumps(to_dict(made), ensure_ascii=False),
        }


def patiently(transcribe: Callable[[bytes], Transcript], data: bytes) -> Transcript:
    """Send a file again as long as the app is full, or cannot answer yet.

    Raises:
        TranscriptionError: of the last try, or one that the next would meet again.
    """
    for _ in range(N_TRIES - 1):
        try:
            return transcribe(data)
        except TranscriptionError as error:
            if error.retry_after_s is None:
                raise
            time.sleep(error.retry_after_s)
    return transcribe(data)


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a worker loads."""

    settings: AppSettings  # with one model
    revision: str | None  # of its weights


def read_source(profile: str, model: str | None) -> Source:
    """Return one model of a profile. Raises ProfileError, ModelNotFoundError."""
    [application] = profiles.read_profile(profile)["applications"]
    settings = AppSettings.model_validate(application.get("args", {}))
    declared = models.find_model(model, settings.models)
    name = f"WhisperTranscriber-{declared.name}"
    options: Mapping[str, Any] = next(
        (d for d in application.get("deployments", ()) if d["name"] == name), {}
    )
    config = TranscriberUserConfig.model_validate(options.get("user_config") or {})
    return Source(
        settings=settings.model_copy(update={"models": (declared,)}), revision=config.revision
    )


def _paths_in(path: Path) -> frozenset[str]:
    """Return the files that have a row already, whole, and would get the same again."""
    return frozenset(row["path"] for row in _whole_rows(path) if row["error"] in _FINAL)


def _whole_rows(path: Path) -> Iterator[Row]:
    if path.is_file():
        with path.open("rb") as file:  # the last line may end amid a letter
            yield from (json.loads(line) for line in file if line.endswith(b"\n"))


def _cut_broken_line(path: Path) -> None:
    if path.is_file():
        whole = path.read_bytes()
        kept = whole.rfind(b"\n") + 1
        if kept < len(whole):
            with path.open("rb+") as file:
                file.truncate(kept)
