"""What a stream adds in, server-sent events out, by OpenAI's names."""

import json
from collections.abc import Mapping

from serve_app.domain import Transcript, TranscriptDelta
from serve_app.stages.render.bodies import (
    logprobs_key,
    speaker_segments,
    text_and_languages,
    with_warnings,
)

DONE = "data: [DONE]\n\n"  # OpenAI's last event
PING = ": ping\n\n"  # a comment, which keeps idle connections open


def render_delta(delta: TranscriptDelta) -> str:
    """Render what one more chunk adds, as a server-sent event."""
    body: dict[str, object] = {"type": "transcript.text.delta", "delta": delta.text}
    return event({**body, **logprobs_key(delta.logprobs)})


def render_done(transcript: Transcript) -> str:
    """Render the end of a stream: who said what, the whole text, and OpenAI's last event."""
    body = {"type": "transcript.text.done", **text_and_languages(transcript)}
    said = speaker_segments(transcript) if transcript.turns is not None else []
    return "".join(map(event, [*said, with_warnings(body, transcript)])) + DONE


def event(body: Mapping[str, object]) -> str:
    """Render a JSON object as a server-sent event."""
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"
