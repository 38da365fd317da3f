"""The Starlette application: which path answers with what. Made by the Ingress."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from typing import Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from serve_app.api.errors import EXCEPTION_HANDLERS
from serve_app.api.fields import read_fields
from serve_app.api.forms import read_upload
from serve_app.api.streaming import stream_events
from serve_app.domain import Task, Transcript, TranscriptDelta, TranscriptionRequest
from serve_app.stages.render import render


class TranscriptionService(Protocol):
    """What stands behind the routes. The Ingress deployment is one."""

    async def transcribe(self, audio: bytes, request: TranscriptionRequest) -> Transcript:
        """Transcribe a whole file. Raises a `TranscriptionError`."""
        ...

    def transcribe_stream(
        self, audio: bytes, request: TranscriptionRequest
    ) -> AsyncGenerator[TranscriptDelta | Transcript]:
        """Yield what each chunk adds, in the order of the audio, and last the whole transcript."""
        ...

    async def waiting_for(self) -> list[str]:
        """Name the deployments that cannot serve yet; empty when all can."""
        ...


def create_app(service: TranscriptionService) -> Starlette:
    """Return the application that answers with `service`."""

    def answer(task: Task) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(http: Request) -> Response:
            upload = await read_upload(http)
            asked = read_fields(upload.fields, task)
            if asked.stream:
                events = service.transcribe_stream(upload.audio, asked.request)
                return await stream_events(events)
            made = await service.transcribe(upload.audio, asked.request)
            made = replace(made, warnings=(*made.warnings, *asked.warnings))
            body = render(made, asked.request)
            return Response(body.content, media_type=body.media_type)

        return endpoint

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
            Route("/v1/audio/transcriptions", answer(Task.TRANSCRIBE), methods=["POST"]),
            Route("/v1/audio/translations", answer(Task.TRANSLATE), methods=["POST"]),
            Route("/health", health),
            Route("/ready", ready),
        ],
        exception_handlers=EXCEPTION_HANDLERS,
    )
