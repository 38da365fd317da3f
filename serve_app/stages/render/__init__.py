"""A transcript in, the body of an answer out. Pure: text and a media type, no HTTP objects.

Called by `api`; Python callers use `to_srt`, `to_vtt` and `to_dict`. The bodies are OpenAI's; where
a key of ours is added, it is named in README.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from serve_app.domain import ResponseFormat, Transcript, TranscriptionRequest
from serve_app.stages.render.bodies import (
    Body,
    render_diarized_json,
    render_json,
    render_text,
    render_verbose_json,
)
from serve_app.stages.render.events import PING, event, render_delta, render_done
from serve_app.stages.render.subtitles import make_cues, render_srt, render_vtt
from serve_app.stages.render.turns import render_rttm, render_turns

__all__ = [
    "PING",
    "Body",
    "event",
    "make_cues",
    "render",
    "render_delta",
    "render_done",
    "render_rttm",
    "render_turns",
    "to_dict",
    "to_srt",
    "to_vtt",
]


def render(transcript: Transcript, request: TranscriptionRequest) -> Body:
    """Render a transcript in the format the caller asked for."""
    return _RENDERERS[request.response_format](transcript, request)


def to_srt(
    transcript: Transcript, *, max_line_width: int | None = None, max_line_count: int | None = None
) -> str:
    """Return a transcript as SubRip subtitles.

    Args:
        transcript: asked for with `segments=True`, or `words=True` where lines have a width.
        max_line_width: in characters; None: no limit.
        max_line_count: lines of that width in a cue; None: no limit.
    """
    lines = TranscriptionRequest(
        response_format=ResponseFormat.SRT,
        max_line_width=max_line_width,
        max_line_count=max_line_count,
    )
    return render(transcript, lines).content


def to_vtt(
    transcript: Transcript, *, max_line_width: int | None = None, max_line_count: int | None = None
) -> str:
    """Return a transcript as WebVTT subtitles. The arguments are those of `to_srt`."""
    lines = TranscriptionRequest(
        response_format=ResponseFormat.VTT,
        max_line_width=max_line_width,
        max_line_count=max_line_count,
    )
    return render(transcript, lines).content


def to_dict(transcript: Transcript) -> dict[str, Any]:
    """Return a transcript as OpenAI's verbose_json has it, with words where they are known."""
    everything = TranscriptionRequest(
        response_format=ResponseFormat.VERBOSE_JSON, segments=True, words=bool(transcript.words)
    )
    made: dict[str, Any] = json.loads(render(transcript, everything).content)
    return made


_RENDERERS: Mapping[ResponseFormat, Callable[[Transcript, TranscriptionRequest], Body]] = {
    ResponseFormat.JSON: render_json,
    ResponseFormat.TEXT: render_text,
    ResponseFormat.SRT: render_srt,
    ResponseFormat.VTT: render_vtt,
    ResponseFormat.VERBOSE_JSON: render_verbose_json,
    ResponseFormat.DIARIZED_JSON: render_diarized_json,
}
