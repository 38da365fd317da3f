"""One route: what it does, and all that its documentation says."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from serve_app.api.keys import Role
from serve_app.api.readers import Field
from serve_app.errors import TranscriptionError

Schema = Mapping[str, Any]  # JSON Schema
Errors = tuple[type[TranscriptionError], ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a route answers where all goes well, or where it has to say "not yet"."""

    description: str
    content: Mapping[str, Schema] = field(default_factory=dict)  # by media type


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One method of one path."""

    method: str
    path: str  # as Starlette writes it
    answer: Callable[[Request], Awaitable[Response]]
    summary: str
    description: str = ""
    role: Role | None = Role.USE  # the least that a key must have; None: open to everybody
    fields: Mapping[str, Field] | None = None  # of a form with a file; None: no body is read
    answers: Mapping[int, Answer]  # by status
    errors: Errors = ()  # beyond those of every route


def object_of(**properties: Schema) -> Schema:
    """Return the schema of a JSON object that has all of these and may have more."""
    return {"type": "object", "properties": properties, "required": list(properties)}
