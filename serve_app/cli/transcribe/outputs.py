"""Which files a transcript becomes. A file that is there is whole: `--resume` relies on it."""

import os
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click

from serve_app.cli.transcribe.inputs import Source
from serve_app.domain import ResponseFormat

SUFFIXES: Mapping[ResponseFormat, str] = {
    ResponseFormat.JSON: ".json",
    ResponseFormat.TEXT: ".txt",
    ResponseFormat.SRT: ".srt",
    ResponseFormat.VTT: ".vtt",
    ResponseFormat.VERBOSE_JSON: ".verbose.json",
    ResponseFormat.DIARIZED_JSON: ".diarized.json",
}

Outputs = Mapping[ResponseFormat, Path]


def plan_outputs(
    sources: Sequence[Source], folder: Path, formats: Sequence[ResponseFormat]
) -> dict[Source, Outputs]:
    """Return the files that each source becomes: its name without suffix, and the format's.

    Sources that differ only in their suffix keep it (`a.wav.srt`, `a.mp3.srt`).

    Raises:
        click.UsageError: two sources would become the same file.
    """
    n_stems = Counter(source.path.stem for source in sources)
    stems = {
        source: source.path.stem if n_stems[source.path.stem] == 1 else source.path.name
        for source in sources
    }
    plan: dict[Source, Outputs] = {
        source: {one: folder / f"{stems[source]}{SUFFIXES[one]}" for one in formats}
        for source in sources
    }
    n_paths = Counter(path for outputs in plan.values() for path in outputs.values())
    twice = [path for path, n in n_paths.items() if n > 1]
    if twice:
        raise click.UsageError(
            f"The transcripts of several files would be named {twice[0].name}. "
            "Give them one --output-dir each."
        )
    return plan


def make_folders(paths: Iterable[Path]) -> None:
    """Make the folders of files to be written. Raises click.UsageError where one cannot be made."""
    for folder in {path.parent for path in paths}:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise click.UsageError(f"{folder} cannot be made: {error.strerror}.") from None


def write_whole(path: Path, content: str) -> None:
    """Write a file so that nobody ever sees a part of it, nor one of another run's."""
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        part.write_text(content, encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
