"""A multipart form in, a validated request and the audio's bytes out."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from serve_app.domain import ResponseFormat, TranscriptionRequest, VadOptions
from serve_app.errors import (
    EmptyFileError,
    InvalidMultipartError,
    InvalidRequestError,
    MissingFieldError,
)

# Of one form field that is not a file. Starlette's 1 MiB is too small for data-URLs in fields.
MAX_FIELD_BYTES = 16 * 2**20


@asynccontextmanager
async def read(http: Request) -> AsyncIterator[FormData]:
    """Parse the body as a multipart form; uploads are closed on leaving.

    Raises:
        InvalidMultipartError: the body is not such a form.
    """
    if not http.headers.get("content-type", "").startswith("multipart/form-data"):
        raise InvalidMultipartError(
            None, "Send the audio as multipart/form-data with a part named 'file'."
        )
    try:
        form = await http.form(max_part_size=MAX_FIELD_BYTES)
    except HTTPException as error:
        raise InvalidMultipartError(None, f"The form cannot be parsed: {error.detail}") from error
    try:
        yield form
    finally:
        await form.close()


def to_request(form: FormData) -> TranscriptionRequest:
    """Return the request that the form's fields describe.

    A field that is absent or empty has the default of `TranscriptionRequest`.

    Raises:
        InvalidRequestError: a field's value is not acceptable.
    """
    given = {
        _FIELDS.get(name, name): read_value(name, value)
        for name, read_value in _READERS.items()
        if (value := _text(form, name)) is not None
    }
    granularities = form.getlist("timestamp_granularities[]")
    for wanted in granularities:
        if wanted not in _GRANULARITIES:
            raise InvalidRequestError(
                "timestamp_granularities",
                f"timestamp_granularities must be of {', '.join(_GRANULARITIES)}; got {wanted!r}.",
            )
        given[_GRANULARITIES[wanted]] = True
    return TranscriptionRequest(**given)


async def read_file(form: FormData) -> bytes:
    """Return the bytes of the `file` part.

    Raises:
        MissingFieldError: there is none, or it was sent as text.
        EmptyFileError: it has 0 bytes.
    """
    part = form.get("file")
    if not isinstance(part, UploadFile):
        raise MissingFieldError("file", "The form has no file part named 'file'.")
    data = await part.read()
    if not data:
        raise EmptyFileError
    return data


def _text(form: FormData, name: str) -> str | None:
    """Return a text field; None where it is absent or empty."""
    value = form.get(name)
    if isinstance(value, UploadFile):
        raise InvalidRequestError(name, f"{name} must be a text field, not a file.")
    return value or None


def _as_text(_: str, value: str) -> str:
    return value


def _as_number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise InvalidRequestError(name, f"{name} must be a number, got {value!r}.") from None


def _as_integer(name: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise InvalidRequestError(name, f"{name} must be a whole number, got {value!r}.") from None


def _as_flag(name: str, value: str) -> bool:
    try:
        return _FLAGS[value.lower()]
    except KeyError:
        raise InvalidRequestError(name, f"{name} must be true or false, got {value!r}.") from None


def _as_numbers(name: str, value: str) -> tuple[float, ...]:
    return tuple(_as_number(name, part) for part in value.split(","))


def _as_integers(name: str, value: str) -> tuple[int, ...]:
    return tuple(_as_integer(name, part) for part in value.split(","))


def _as_format(name: str, value: str) -> ResponseFormat:
    try:
        return ResponseFormat(value)
    except ValueError:
        allowed = ", ".join(ResponseFormat)
        raise InvalidRequestError(
            name, f"{name} must be one of {allowed}; got {value!r}."
        ) from None


def _as_vad(name: str, value: str) -> VadOptions:
    """Read a JSON object with Silero's names and milliseconds."""
    try:
        sent = json.loads(value)
        return VadOptions(
            **{_VAD_NAMES[key][0]: float(v) * _VAD_NAMES[key][1] for key, v in sent.items()}
        )
    except (ValueError, TypeError, AttributeError, KeyError):
        raise InvalidRequestError(
            name, f"{name} must be a JSON object of numbers: {', '.join(_VAD_NAMES)}."
        ) from None


_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_GRANULARITIES = {"segment": "segments", "word": "words"}  # the field of the request each sets
_VAD_NAMES = {  # Silero's name: ours, and the factor
    "threshold": ("threshold", 1.0),
    "min_speech_duration_ms": ("min_speech_s", 0.001),
    "min_silence_duration_ms": ("min_silence_s", 0.001),
    "speech_pad_ms": ("speech_pad_s", 0.001),
}
_FIELDS = {"vad_parameters": "vad"}  # where a form's name is not the request's
_READERS: Mapping[str, Callable[[str, str], Any]] = {
    "model": _as_text,
    "language": _as_text,
    "multilingual": _as_flag,
    "prompt": _as_text,
    "hotwords": _as_text,
    "temperature": _as_number,
    "response_format": _as_format,
    "without_timestamps": _as_flag,
    "beam_size": _as_integer,
    "best_of": _as_integer,
    "patience": _as_number,
    "length_penalty": _as_number,
    "repetition_penalty": _as_number,
    "no_repeat_ngram_size": _as_integer,
    "max_new_tokens": _as_integer,
    "suppress_tokens": _as_integers,
    "condition_on_previous_text": _as_flag,
    "vad_filter": _as_flag,
    "vad_parameters": _as_vad,
    "clip_timestamps": _as_numbers,
}
