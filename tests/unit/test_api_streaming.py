import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
from starlette.responses import StreamingResponse
from starlette.testclient import TestClient

from serve_app.api.streaming import PING_S, stream_events
from serve_app.domain import Transcript, TranscriptDelta
from serve_app.errors import InvalidAudioError, QueueFullError
from tests.fakes import FakeService

PATH = "/v1/audio/transcriptions"


def test_the_warnings_of_a_stream_stand_in_its_end(client: TestClient) -> None:
    answer = client.post(PATH, files={"file": b"x"}, data={"priority": "1", "stream": "true"})
    done = json.loads(answer.text.split("\n\n")[-3][6:])
    assert done["type"] == "transcript.text.done"
    assert any("'priority'" in warning for warning in done["warnings"])


def stream(client: TestClient) -> Any:
    return client.post(PATH, files={"file": b"abc"}, data={"stream": "true"})


def test_a_stream_is_typed_events_and_ends_with_done(
    client: TestClient, service: FakeService
) -> None:
    answer = stream(client)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    *events, last = [line[6:] for line in answer.text.split("\n\n") if line]
    assert [json.loads(event) for event in events] == [
        {"type": "transcript.text.delta", "delta": "one"},
        {"type": "transcript.text.delta", "delta": " two"},
        {"type": "transcript.text.done", "text": "3 bytes", "languages": [{"code": "en"}]},
    ]
    assert last == "[DONE]"
    assert service.closed


def test_an_error_before_the_first_event_is_an_ordinary_error(
    client: TestClient, service: FakeService
) -> None:
    service.error = InvalidAudioError()
    answer = stream(client)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_audio")


@pytest.mark.parametrize(
    ("error", "code"),
    [(QueueFullError(), "queue_full"), (ZeroDivisionError("x"), "internal_error")],
)
def test_an_error_in_a_stream_is_its_last_event(
    error: Exception, code: str, client: TestClient, service: FakeService
) -> None:
    service.error, service.fails_after = error, 1
    answer = stream(client)
    first, last = [json.loads(line[6:]) for line in answer.text.split("\n\n") if line]
    assert first["delta"] == "one"
    assert last["error"]["code"] == code
    assert service.closed


async def test_silence_is_filled_with_comments() -> None:
    async def slow() -> AsyncGenerator[TranscriptDelta | Transcript]:
        await asyncio.sleep(0.1)
        yield TranscriptDelta(text="late")
        yield Transcript(text="late", language="en", duration_s=1.0, model="m")

    assert PING_S == 15
    response = await stream_events(slow(), ping_s=0.02)
    assert isinstance(response, StreamingResponse)
    sent = [part async for part in response.body_iterator]
    assert sent[0] == ": ping\n\n"
    assert json.loads(str(sent[-1]).split("\n\n")[0][6:])["text"] == "late"


async def test_a_reader_that_goes_away_ends_the_transcription() -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncGenerator[TranscriptDelta | Transcript]:
        try:
            while True:
                yield TranscriptDelta(text="on")
                await asyncio.sleep(0.001)
        finally:
            closed.set()

    response = await stream_events(endless())
    assert isinstance(response, StreamingResponse)
    async with aclosing(response.body_iterator) as body:  # type: ignore[type-var]
        await anext(body)
    assert closed.is_set()
