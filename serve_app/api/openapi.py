"""The endpoints in, an OpenAPI 3.1 document out. Pure: it says what the endpoints say."""

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from serve_app.api.endpoint import Endpoint, object_of
from serve_app.api.readers import Field
from serve_app.errors import (
    AuthenticationError,
    FileTooLargeError,
    PermissionDeniedError,
    TranscriptionError,
)

Document = dict[str, Any]

_NULLABLE = {"type": ["string", "null"]}
_ERROR = object_of(
    error=object_of(
        message={"type": "string"}, type={"type": "string"}, param=_NULLABLE, code=_NULLABLE
    )
)
_FILE = {"type": "string", "format": "binary", "description": "Audio or video of any container."}


def describe(endpoints: Sequence[Endpoint], *, needs_key: bool, root: str) -> Document:
    """Return the document.

    Args:
        endpoints: all routes.
        needs_key: whether the app has keys.
        root: the path under which the app is mounted; empty: none.
    """
    paths: dict[str, Document] = {}
    for endpoint in endpoints:
        operation = _operation(endpoint, needs_key=needs_key)
        paths.setdefault(shown_path(endpoint), {})[endpoint.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "serve_app",
            "version": version("serve_app"),
            "description": "Whisper speech-to-text on Ray Serve.",
        },
        "servers": [{"url": root or "/"}],
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def shown_path(endpoint: Endpoint) -> str:
    """Return a path as OpenAPI writes it, without Starlette's type of a parameter."""
    return re.sub(r":\w+}", "}", endpoint.path)


def possible_errors(endpoint: Endpoint) -> list[type[TranscriptionError]]:
    """Return all errors of an endpoint, by status: its own and those of every route."""
    common: list[type[TranscriptionError]] = [TranscriptionError]
    if endpoint.role is not None:
        common += [AuthenticationError, PermissionDeniedError]
    if endpoint.fields is not None:
        common.append(FileTooLargeError)
    return sorted({*endpoint.errors, *common}, key=lambda error: (error.status, error.code))


def _operation(endpoint: Endpoint, *, needs_key: bool) -> Document:
    name = f"{endpoint.method} {shown_path(endpoint)}"
    operation: Document = {
        "operationId": re.sub(r"\W+", "_", name.lower()).strip("_"),
        "summary": endpoint.summary,
        "parameters": list(_parameters(endpoint)),
        "responses": _responses(endpoint),
    }
    if endpoint.description:
        operation["description"] = endpoint.description
    if endpoint.fields is not None:
        operation["requestBody"] = _request_body(endpoint.fields)
    if endpoint.role is not None and needs_key:
        operation["security"] = [{"bearer": []}, {"apiKey": []}]
    return operation


def _parameters(endpoint: Endpoint) -> Iterator[Document]:
    for name in re.findall(r"{(\w+)", endpoint.path):
        # One character at least: without any it is another path.
        schema = {"type": "string", "minLength": 1}
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    for name, field in (endpoint.fields or {}).items():
        yield {
            "name": name,
            "in": "query",
            "description": f"{field.description} For a file sent as the body itself.",
            "schema": field.schema,
        }


def _request_body(fields: Mapping[str, Field]) -> Document:
    properties = {
        name: {**field.schema, "description": field.description} for name, field in fields.items()
    }
    form = {"type": "object", "properties": {"file": _FILE, **properties}, "required": ["file"]}
    content = {"multipart/form-data": form, "application/octet-stream": _FILE, "audio/*": _FILE}
    return {
        "required": True,
        "content": {media_type: {"schema": schema} for media_type, schema in content.items()},
    }


def _responses(endpoint: Endpoint) -> Document:
    responses: Document = {
        str(status): {
            "description": answer.description,
            "content": {kind: {"schema": schema} for kind, schema in answer.content.items()},
        }
        for status, answer in endpoint.answers.items()
    }
    schema = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for error in possible_errors(endpoint):
        known = responses.setdefault(str(error.status), {"description": "", "content": schema})
        if known["content"] is schema:
            known["description"] = ", ".join(filter(None, [known["description"], error.code]))
    return responses
