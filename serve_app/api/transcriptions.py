"""The two routes that write down what is said."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from serve_app.api.endpoint import Answer, Endpoint, object_of
from serve_app.api.fields import FIELDS, read_fields
from serve_app.api.forms import UPLOAD_ERRORS, read_upload
from serve_app.api.service import SERVICE_ERRORS, TranscriptionService
from serve_app.api.streaming import stream_events
from serve_app.contexts import make_aside
from serve_app.domain import Task
from serve_app.errors import (
    ModelLoadingError,
    ModelNotFoundError,
    OutOfDeviceMemoryError,
    TooLongToDiarizeError,
)
from serve_app.stages.render import render

_TEXT = {"type": "string"}
_ANSWER = Answer(
    description="The transcript, in the form that response_format and stream ask for.",
    content={
        "application/json": object_of(text=_TEXT),
        "text/plain": _TEXT,
        "text/vtt": _TEXT,
        "text/event-stream": _TEXT,
    },
)
_ERRORS = (
    *UPLOAD_ERRORS,
    *SERVICE_ERRORS,
    TooLongToDiarizeError,
    ModelNotFoundError,
    ModelLoadingError,
    OutOfDeviceMemoryError,
)


def endpoints(service: TranscriptionService) -> list[Endpoint]:
    """Return the routes of this group."""
    return [
        Endpoint(
            method="POST",
            path="/v1/audio/transcriptions",
            answer=_answer(service, Task.TRANSCRIBE),
            summary="Transcribe a file.",
            fields=FIELDS,
            answers={200: _ANSWER},
            errors=_ERRORS,
        ),
        Endpoint(
            method="POST",
            path="/v1/audio/translations",
            answer=_answer(service, Task.TRANSLATE),
            summary="Translate a file into English.",
            description="With a model that was trained to: multilingual, neither turbo nor distil.",
            fields=FIELDS,
            answers={200: _ANSWER},
            errors=_ERRORS,
        ),
    ]


def _answer(service: TranscriptionService, task: Task) -> Callable[[Request], Awaitable[Response]]:
    async def answer(http: Request) -> Response:
        service.check_room()  # a refusal costs least while the file is unread
        upload = await read_upload(http)
        asked = await make_aside(read_fields, upload.fields, task)  # clips of speakers are long
        if asked.stream:
            events = service.transcribe_stream(upload.audio, asked.request)
            return await stream_events(events, asked.warnings)
        made = await service.transcribe(upload.audio, asked.request)
        made = made.warn(asked.warnings)
        body = await make_aside(render, made, asked.request)
        return Response(body.content, media_type=body.media_type)

    return answer
