"""A caller that leaves, as ASGI has it."""

from ray.exceptions import RayError
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Disconnects:
    """Tells the app by a message that its caller left, where Serve does so by an error.

    The Ingress reads a body by calls to the proxy. They are cancelled with the request, some of
    them before it is, and fail where the proxy, and every connection with it, is gone.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def receive_or_disconnect() -> Message:
            try:
                return await receive()
            except RayError:
                return {"type": "http.disconnect"}

        await self._app(scope, receive_or_disconnect, send)
