"""Errors in, OpenAI's error envelope out: `{"error": {message, type, param, code}}`."""

import logging
import math
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serve_app.errors import (
    AuthenticationError,
    InvalidRequestError,
    MethodNotAllowedError,
    RouteNotFoundError,
    TranscriptionError,
)
from serve_app.visits import note_error

logger = logging.getLogger(__name__)


def to_response(error: TranscriptionError) -> JSONResponse:
    """Return the response for an error, telling the client whether a retry can help.

    The metrics count it by this.
    """
    note_error(error)
    headers = {}
    if isinstance(error, AuthenticationError):
        headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    elif error.status in (408, 409, 429) or error.status >= 500:  # noqa: PLR2004 - see below
        # Clients retry these unless told not to.
        headers["x-should-retry"] = "false"
    return JSONResponse(to_body(error), status_code=error.status, headers=headers)


def to_body(error: TranscriptionError) -> dict[str, dict[str, str | None]]:
    """Return OpenAI's envelope of an error."""
    return {
        "error": {
            "message": str(error),
            "type": error.kind,
            "param": error.param,
            "code": error.code,
        }
    }


async def _on_transcription_error(_: Request, error: Exception) -> Response:
    return to_response(error if isinstance(error, TranscriptionError) else TranscriptionError())


async def _on_http_exception(http: Request, error: Exception) -> Response:
    """Answer what Starlette's router would answer in plain text."""
    where = f"{http.method} {http.url.path}"
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = getattr(error, "headers", None) or {}
    if status == RouteNotFoundError.status:
        response = to_response(RouteNotFoundError(None, f"Unknown request URL: {where}."))
    elif status == MethodNotAllowedError.status:
        response = to_response(
            MethodNotAllowedError(None, f"Not allowed: {where}. Allowed: {headers.get('Allow')}.")
        )
    else:
        response = to_response(InvalidRequestError(None, str(getattr(error, "detail", ""))))
    response.headers.update(headers)
    return response


def on_unexpected(http: Request, error: Exception) -> Response:
    """Log what nobody foresaw, and answer without telling what it was."""
    logger.error("unexpected error in %s %s", http.method, http.url.path, exc_info=error)
    return to_response(TranscriptionError())


async def _on_unexpected(http: Request, error: Exception) -> Response:
    return on_unexpected(http, error)


EXCEPTION_HANDLERS: Mapping[Any, Any] = {
    TranscriptionError: _on_transcription_error,
    HTTPException: _on_http_exception,
    Exception: _on_unexpected,
}
