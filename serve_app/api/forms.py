"""An HTTP request in, the audio's bytes and the fields beside it out.

A multipart form as OpenAI's client sends it, or the file itself as the body with the fields in the
query. The container is told later, by the bytes: neither names nor content types are trusted.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from errno import ENOSPC

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from serve_app.errors import (
    EmptyFileError,
    InvalidMultipartError,
    InvalidRequestError,
    MissingFieldError,
    ServiceUnavailableError,
    UploadTimeoutError,
)

# Of one form field that is not a file. Starlette's 1 MiB is too small for data-URLs in fields.
MAX_FIELD_BYTES = 16 * 2**20

# A larger file goes to the disk while its form is read. On the way through memory it takes half the
# time (10 MB: 24 instead of 41 ms), and for a moment twice its size.
MAX_IN_MEMORY_BYTES = 64 * 2**20

MAX_FILES = 8  # of a form, which has one: each larger one would be an open file
# Of a body that is the file itself, beside audio/* and video/*.
_FILE_TYPES = frozenset({"application/octet-stream", "application/ogg", "application/mp4"})
# What the text of a form may be written in. Python knows a hundred more, and reads a megabyte of
# some in minutes (punycode), on the event loop.
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin-1", "latin1"})

# What `read_upload` raises.
UPLOAD_ERRORS = (
    InvalidRequestError,
    InvalidMultipartError,
    MissingFieldError,
    EmptyFileError,
    UploadTimeoutError,
)

# Name, then a value for each time it was sent. `x[]` is sent as `x`, `x[y]` as `x` of `{y: ...}`.
Fields = dict[str, list[str | dict[str, str]]]

_BRACKETS = re.compile(r"(?P<name>[^\[\]]+)\[(?P<key>[^\[\]]*)\]")


@dataclass(frozen=True, kw_only=True)
class Upload:
    """What a client sent."""

    audio: bytes
    fields: Fields


async def read_upload(http: Request) -> Upload:
    """Read the file and the fields of a request.

    Raises:
        InvalidMultipartError: the body is neither a form that can be parsed nor a file.
        MissingFieldError: the form has no file part named `file`.
        EmptyFileError: the file has 0 bytes.
        ServiceUnavailableError: the disk has no room for it.
    """
    content_type = http.headers.get("content-type", "").partition(";")[0].strip().lower()
    query = http.query_params.multi_items()
    if content_type == "multipart/form-data":
        audio, sent = await _read_form(http)
    elif content_type.startswith(("audio/", "video/")) or content_type in _FILE_TYPES:
        audio, sent = await http.body(), []
    else:
        raise InvalidMultipartError(
            None,
            "Send the audio as multipart/form-data with a part named 'file', or as the body itself "
            "with Content-Type audio/* and the fields in the query.",
        )
    if not audio:
        raise EmptyFileError
    return Upload(audio=audio, fields=group_fields([*query, *sent]))


def group_fields(items: Iterable[tuple[str, str]]) -> Fields:
    """Group what was sent by field, undoing the brackets of lists and objects."""
    fields: Fields = {}
    for raw, value in items:
        match = _BRACKETS.fullmatch(raw)
        if not match:
            fields.setdefault(raw, []).append(value)
        elif not match["key"]:
            fields.setdefault(match["name"], []).append(value)
        else:
            values = fields.setdefault(match["name"], [{}])
            held = values[0] if isinstance(values[0], dict) else {}
            values[0] = {**held, match["key"]: value}
    return fields


class _Parser(MultiPartParser):
    """Starlette's, which writes what is over a MiB to the disk and does not tell a form's end."""

    spool_max_size = MAX_IN_MEMORY_BYTES
    has_ended = False

    def on_end(self) -> None:
        """Note the closing boundary."""
        self.has_ended = True


async def _read_form(http: Request) -> tuple[bytes, list[tuple[str, str]]]:
    """Return the bytes of the `file` part and the text fields; the upload is closed."""
    _, options = parse_options_header(http.headers["content-type"])
    if options.get(b"charset", b"utf-8").decode("latin-1").lower() not in _CHARSETS:
        raise InvalidMultipartError(None, "The form's charset is none of UTF-8 and ISO-8859-1.")
    parser = _Parser(
        http.headers, http.stream(), max_part_size=MAX_FIELD_BYTES, max_files=MAX_FILES
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise InvalidMultipartError(None, f"The form cannot be parsed: {error.message}") from error
    except OSError as error:
        if error.errno != ENOSPC:
            raise
        raise ServiceUnavailableError(
            "The server's disk has no room for so large a file. Try again later."
        ) from error
    try:
        if not parser.has_ended:
            raise InvalidMultipartError(
                None, "The form was cut off: its closing boundary is missing. Send all of it."
            )
        parts = form.getlist("file")
        if len(parts) > 1:
            raise InvalidRequestError(
                "file", f"The form has {len(parts)} parts named 'file'. Send one in each request."
            )
        part = parts[0] if parts else None
        if not isinstance(part, UploadFile):
            raise MissingFieldError("file", "The form has no file part named 'file'.")
        texts = []
        for sent_name, value in form.multi_items():
            name = _storable(sent_name)
            if isinstance(value, str):
                texts.append((name, _storable(value)))
            elif name != "file":
                raise InvalidRequestError(name, f"{name} must be a text field, not a file.")
        return await part.read(), texts
    finally:
        await form.close()


def _storable(text: str) -> str:
    """Replace what some charsets decode to and UTF-8 cannot hold: halves of letters."""
    return text.encode(errors="replace").decode()
