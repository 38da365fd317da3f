"""The Starlette application: which path answers with what. Made by the Ingress."""

from typing import Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from serve_app.api import forms
from serve_app.api.errors import EXCEPTION_HANDLERS
from serve_app.domain import Transcript, TranscriptionRequest
from serve_app.stages.render import render


class TranscriptionService(Protocol):
    """What stands behind the routes. The Ingress deployment is one."""

    async def transcribe(self, audio: bytes, request: TranscriptionRequest) -> Transcript:
        """Transcribe a whole file. Raises a `TranscriptionError`."""
        ...

    async def waiting_for(self) -> list[str]:
        """Name the deployments that cannot serve yet; empty when all can."""
        ...


def create_app(service: TranscriptionService) -> Starlette:
    """Return the application that answers with `service`."""

    async def transcriptions(http: Request) -> Response:
        async with forms.read(http) as form:
            request = forms.to_request(form)
            audio = await forms.read_file(form)
        body = render(await service.transcribe(audio, request), request.response_format)
        return Response(body.content, media_type=body.media_type)

    async def health(_: Request) -> Response:
        return PlainTextResponse("OK")

    async def ready(_: Request) -> Response:
        waiting = await service.waiting_for()
        if waiting:
            body = {"status": "starting", "waiting_for": waiting}
            return JSONResponse(body, status_code=503, headers={"Retry-After": "2"})
        return JSONResponse({"status": "ready"})

    return Starlette(
        routes=[
            Route("/v1/audio/transcriptions", transcriptions, methods=["POST"]),
            Route("/health", health),
            Route("/ready", ready),
        ],
        exception_handlers=EXCEPTION_HANDLERS,
    )
