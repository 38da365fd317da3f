"""The events of a running transcription in, server-sent events out."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence

from starlette.responses import Response, StreamingResponse

from serve_app.api.errors import to_body
from serve_app.contexts import make_aside
from serve_app.domain import Transcript, TranscriptDelta
from serve_app.errors import TranscriptionError
from serve_app.stages.render import PING, event, render_delta, render_done
from serve_app.visits import note_error

logger = logging.getLogger(__name__)

Events = AsyncGenerator[TranscriptDelta | Transcript]

PING_S = 15.0  # proxies close connections that are silent for 30 to 60 s
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # the second is nginx's


async def stream_events(
    events: Events, warnings: Sequence[str] = (), *, ping_s: float = PING_S
) -> Response:
    """Answer with the events as they come, and a comment in every silence of `ping_s` seconds.

    The warnings are added to the transcript's own, in the last event.

    The status is sent with the first event, so that what fails before it is an ordinary error;
    after `ping_s` seconds it is sent all the same, and an error becomes an event.

    Raises:
        TranscriptionError: the transcription failed before its first event.
    """
    first = asyncio.ensure_future(anext(events))
    try:
        await asyncio.wait({first}, timeout=ping_s)
        if first.done():
            first.result()
    except BaseException:
        await _close(first, events)
        raise
    return StreamingResponse(
        _body(first, events, warnings, ping_s), media_type="text/event-stream", headers=HEADERS
    )


async def _body(
    upcoming: "asyncio.Future[TranscriptDelta | Transcript]",
    events: Events,
    warnings: Sequence[str],
    ping_s: float,
) -> AsyncGenerator[str]:
    try:
        while True:
            done, _ = await asyncio.wait({upcoming}, timeout=ping_s)
            if not done:
                yield PING
                continue
            made = upcoming.result()
            if isinstance(made, Transcript):
                yield await make_aside(render_done, made.warn(warnings))
                return
            if made.text:
                yield render_delta(made)
            upcoming = asyncio.ensure_future(anext(events))
    except TranscriptionError as error:
        yield _failure(error)
    except Exception:
        logger.exception("unexpected error in a stream")
        yield _failure(TranscriptionError())
    finally:
        await _close(upcoming, events)


def _failure(error: TranscriptionError) -> str:
    note_error(error)
    return event(to_body(error))


async def _close(upcoming: "asyncio.Future[TranscriptDelta | Transcript]", events: Events) -> None:
    """End the transcription, wherever it is."""
    upcoming.cancel()
    await asyncio.gather(upcoming, return_exceptions=True)
    await events.aclose()
