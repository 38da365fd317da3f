"""Options, to what is asked for: by the table that reads HTTP's fields, so both mean the same."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from serve_app.api.fields import FIELDS, read_fields
from serve_app.api.forms import group_fields
from serve_app.domain import ResponseFormat, Task, TranscriptionRequest
from serve_app.errors import InvalidRequestError

Pair = tuple[str, str]  # a form's field and its value


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What every file is asked for."""

    task: Task
    pairs: tuple[Pair, ...]  # as a form has them, less the format
    requests: Mapping[ResponseFormat, TranscriptionRequest]  # the same for each format

    @property
    def leading(self) -> TranscriptionRequest:
        """Return the request whose transcript has what every format shows."""
        return max(
            self.requests.values(),
            key=lambda one: (one.has_speakers, one.needs_words, one.timestamps),
        )


def read_formats(typed: Sequence[str]) -> list[ResponseFormat]:
    """Return the formats that are meant, each once. Raises click.UsageError."""
    try:
        return [ResponseFormat(one) for one in dict.fromkeys(typed)]
    except ValueError as error:
        known = ", ".join(ResponseFormat)
        raise click.UsageError(f"{error}; choose from {known}. (invalid_value)") from None


def read_wanted(
    task: Task, pairs: Sequence[Pair], formats: Sequence[ResponseFormat]
) -> tuple[Wanted, list[str]]:
    """Return what is asked for, and a warning for each field that changes nothing.

    Raises:
        click.UsageError: a value is not acceptable; says the error's code.
    """
    if unknown := [name for name, _ in pairs if name.partition("[")[0] not in FIELDS]:
        raise click.UsageError(f"There is no field {unknown[0]!r}. There are: {', '.join(FIELDS)}.")
    requests: dict[ResponseFormat, TranscriptionRequest] = {}
    warnings: dict[str, None] = {}  # each once, in their order
    for one in formats:
        try:
            asked = read_fields(group_fields([*pairs, ("response_format", one.value)]), task)
        except InvalidRequestError as error:
            raise click.UsageError(f"{error.message} ({error.code})") from None
        if asked.stream:
            raise click.UsageError("A transcript is written when it is whole: stream has no use.")
        requests[one] = asked.request
        warnings |= dict.fromkeys(asked.warnings)
    return Wanted(task=task, pairs=tuple(pairs), requests=requests), list(warnings)


def to_chunks(verbose: Mapping[str, Any], *, words: bool) -> str:
    """Return verbose_json in the form that insanely-fast-whisper writes.

    Args:
        verbose: the parsed body.
        words: a chunk for each word instead of each segment.
    """
    pieces = verbose.get("words" if words else "segments", [])
    chunks = [
        {"timestamp": [piece["start"], piece["end"]], "text": piece["word" if words else "text"]}
        for piece in pieces
    ]
    speakers = [
        {
            "speaker": segment["speaker"],
            "timestamp": [segment["start"], segment["end"]],
            "text": segment["text"],
        }
        for segment in verbose.get("segments", [])
        if segment.get("speaker")
    ]
    body = {"speakers": speakers, "chunks": chunks, "text": verbose["text"]}
    return json.dumps(body, ensure_ascii=False)
