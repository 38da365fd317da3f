"""A multipart form in, a validated request and the audio's bytes out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import TypeVar

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from serve_app.domain import ResponseFormat, TranscriptionRequest
from serve_app.errors import (
    EmptyFileError,
    InvalidMultipartError,
    InvalidRequestError,
    MissingFieldError,
)

# Of one form field that is not a file. Starlette's 1 MiB is too small for data-URLs in fields.
MAX_FIELD_BYTES = 16 * 2**20

Choice = TypeVar("Choice", bound=StrEnum)


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

    Raises:
        InvalidRequestError: a field's value is not acceptable.
    """
    return TranscriptionRequest(
        model=_text(form, "model"),
        language=_text(form, "language"),
        prompt=_text(form, "prompt"),
        temperature=_number(form, "temperature", default=0.0),
        response_format=_choice(form, "response_format", ResponseFormat.JSON),
    )


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


def _number(form: FormData, name: str, *, default: float) -> float:
    value = _text(form, name)
    try:
        return default if value is None else float(value)
    except ValueError:
        raise InvalidRequestError(name, f"{name} must be a number, got {value!r}.") from None


def _choice(form: FormData, name: str, default: Choice) -> Choice:
    value = _text(form, name)
    kind = type(default)
    try:
        return default if value is None else kind(value)
    except ValueError:
        allowed = ", ".join(kind)
        raise InvalidRequestError(
            name, f"{name} must be one of {allowed}; got {value!r}."
        ) from None
