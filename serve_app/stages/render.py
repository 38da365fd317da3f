"""A transcript in, the body of an answer out. Pure: text and a media type, no HTTP objects.

Called by `api`. The bodies are OpenAI's; where a key of ours is added, it is named in README.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from serve_app.domain import ResponseFormat, Transcript


@dataclass(frozen=True, kw_only=True)
class Body:
    """What goes over the wire."""

    content: str
    media_type: str


def render(transcript: Transcript, response_format: ResponseFormat) -> Body:
    """Render a transcript in the format the caller asked for."""
    return _RENDERERS[response_format](transcript)


def _json(transcript: Transcript) -> Body:
    body: dict[str, object] = {
        "text": transcript.text,
        # OpenAI bills whole seconds, rounded up.
        "usage": {"type": "duration", "seconds": math.ceil(transcript.duration_s)},
    }
    if transcript.warnings:
        body["warnings"] = list(transcript.warnings)
    return Body(content=json.dumps(body, ensure_ascii=False), media_type="application/json")


def _text(transcript: Transcript) -> Body:
    return Body(content=f"{transcript.text}\n", media_type="text/plain; charset=utf-8")


_RENDERERS: Mapping[ResponseFormat, Callable[[Transcript], Body]] = {
    ResponseFormat.JSON: _json,
    ResponseFormat.TEXT: _text,
}
