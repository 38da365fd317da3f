"""What stands around every route: a count, a name for each request, what it sends, who calls."""

import asyncio
import uuid
from collections.abc import Sequence
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.admission import ByteBudget, HeldBytes
from serve_app.api.errors import to_response
from serve_app.errors import (
    FileTooLargeError,
    InvalidRequestError,
    TranscriptionError,
    UploadTimeoutError,
)
from serve_app.visits import GONE, OTHER_ROUTE, Record, Visit, entered

REQUEST_ID = "x-request-id"


class RequestIds:
    """Gives every answer the `x-request-id` that the request came with, or a new one.

    For use without Serve's proxy, which does the same.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = Headers(scope=scope).get(REQUEST_ID) or uuid.uuid4().hex

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)


class Visits:
    """Tells of every request that has ended. The outermost, so that refusals count too."""

    def __init__(self, app: ASGIApp, routes: Sequence[Route], record: Record) -> None:
        self._app = app
        self._routes = routes
        self._record = record

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = Visit(route=self._route(scope), status=GONE)  # until an answer has ended
        status = GONE

        async def send_noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                visit.status = status

        with entered(visit):
            try:
                await self._app(scope, receive, send_noting_status)
            finally:
                self._record(visit)

    def _route(self, scope: Scope) -> str:
        """Return the path as its route has it: what callers make up must not become labels."""
        for route in self._routes:
            if route.matches(scope)[0] is not Match.NONE:
                return route.path.replace(":path}", "}")
        return OTHER_ROUTE


class UploadLimit:
    """Refuses a body that is too large: by its Content-Length, and else while it is read.

    And one that comes too slowly, or finds no room beside the others. Starlette's own limit answers
    in plain text.
    """

    def __init__(self, app: ASGIApp, limit_bytes: int, limit_s: float, held: ByteBudget) -> None:
        self._app = app
        self._limit_bytes = limit_bytes
        self._limit_s = limit_s
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._held.hold() as held:
            try:
                # A promise takes no room: a client that makes one may send nothing for minutes.
                self._held.check(self._promised_bytes(scope))
            except TranscriptionError as error:
                await to_response(error)(scope, receive, send)
                return
            await self._app(scope, self._limited(receive, held), send)

    def _promised_bytes(self, scope: Scope) -> int:
        """Return the Content-Length; 0: there is none. Raises FileTooLargeError."""
        promised = Headers(scope=scope).get("content-length", "")
        if not promised.isdecimal():
            return 0
        if _exceeds(promised, self._limit_bytes):
            raise FileTooLargeError(self._limit_bytes)
        return int(promised)

    def _limited(self, receive: Receive, held: HeldBytes) -> Receive:
        """Return `receive` with an error where the body passes a limit."""
        n_read = 0
        is_whole = False
        deadline_s = asyncio.get_running_loop().time() + self._limit_s

        async def receive_within_limit() -> Message:
            nonlocal n_read, is_whole
            if is_whole:  # what follows is the client's leaving
                return await receive()
            try:
                async with asyncio.timeout_at(deadline_s):
                    message = await receive()
            except TimeoutError:
                raise UploadTimeoutError(self._limit_s) from None
            is_whole = not message.get("more_body", False)
            n_read += len(message.get("body", b""))
            if n_read > self._limit_bytes:
                raise FileTooLargeError(self._limit_bytes)
            held.grow_to(n_read)
            return message

        return receive_within_limit


class Cors(CORSMiddleware):
    """Starlette's, with this project's envelope where it refuses."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer a browser that asks before it calls."""
        response = super().preflight_response(request_headers)
        if response.status_code == HTTPStatus.OK:
            return response
        refusal = to_response(InvalidRequestError(None, bytes(response.body).decode()))
        refusal.headers["vary"] = response.headers["vary"]
        return refusal


def _exceeds(digits: str, limit: int) -> bool:
    """Tell whether a number exceeds a limit, without reading thousands of digits."""
    digits = digits.lstrip("0")
    return len(digits) > len(str(limit)) or int(digits or "0") > limit
