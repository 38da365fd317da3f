"""Callers that leave, as Ray tells of it, are no fault of the server."""

import logging

import pytest
from ray.exceptions import ActorDiedError, RayError, RayTaskError, TaskCancelledError
from starlette.types import Message

from serve_app.api import create_app
from serve_app.deployments.disconnects import Disconnects
from serve_app.visits import GONE, Visit
from tests.fakes import FakeService

IN_THE_PROXY = RayTaskError("receive_asgi_messages", "", TaskCancelledError()).as_instanceof_cause()


@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=b", "audio/wav"])
@pytest.mark.parametrize("error", [TaskCancelledError(), IN_THE_PROXY, ActorDiedError()])
async def test_a_caller_that_leaves_while_it_sends_is_told_apart_from_a_fault(
    error: RayError, content_type: str, caplog: pytest.LogCaptureFixture
) -> None:
    visits: list[Visit] = []
    sent: list[Message] = []
    app = create_app(FakeService(), record=visits.append)
    app.add_middleware(Disconnects)
    body = iter([b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\nRIFF"])

    async def receive() -> Message:
        for part in body:
            return {"type": "http.request", "body": part, "more_body": True}
        raise error

    async def send(message: Message) -> None:
        sent.append(message)

    await app(
        {
            **{"type": "http", "method": "POST", "path": "/v1/audio/transcriptions"},
            **{"headers": [(b"content-type", content_type.encode())], "query_string": b""},
        },
        receive,
        send,
    )
    assert [(visit.code, visit.error) for visit in visits] == [(str(GONE), None)]
    assert sent[0]["status"] == GONE
    assert not [line for line in caplog.records if line.levelno >= logging.ERROR]
