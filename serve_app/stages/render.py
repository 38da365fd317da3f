"""A transcript in, the body of an answer out. Pure: text and a media type, no HTTP objects.

Called by `api`; Python callers use `to_srt`, `to_vtt` and `to_dict`. The bodies are OpenAI's; where
a key of ours is added, it is named in README.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from serve_app.domain import (
    ResponseFormat,
    Segment,
    TokenLogprob,
    Transcript,
    TranscriptDelta,
    TranscriptionRequest,
    Word,
)
from serve_app.languages import LANGUAGES

DONE = "data: [DONE]\n\n"  # OpenAI's last event
UNKNOWN = "unknown"  # the speaker of what was said in nobody's turn
PING = ": ping\n\n"  # a comment, which keeps idle connections open


@dataclass(frozen=True, kw_only=True)
class Body:
    """What goes over the wire."""

    content: str
    media_type: str


@dataclass(frozen=True, kw_only=True)
class Cue:
    """One subtitle: its lines, and when they are shown."""

    start_s: float
    end_s: float
    lines: tuple[str, ...]
    speaker: str | None = None


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
        max_line_count: lines in a cue; None: no limit.
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


def render_delta(delta: TranscriptDelta) -> str:
    """Render what one more chunk adds, as a server-sent event."""
    body: dict[str, object] = {"type": "transcript.text.delta", "delta": delta.text}
    return event({**body, **_logprobs(delta.logprobs)})


def render_done(transcript: Transcript) -> str:
    """Render the end of a stream: who said what, the whole text, and OpenAI's last event."""
    body: dict[str, object] = {"type": "transcript.text.done", "text": transcript.text}
    body = {**body, **_logprobs(transcript.logprobs)}
    said = _said(transcript) if transcript.turns is not None else []
    return "".join(map(event, [*said, _with_warnings(body, transcript)])) + DONE


def event(body: Mapping[str, object]) -> str:
    """Render a JSON object as a server-sent event."""
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"


def make_cues(transcript: Transcript, request: TranscriptionRequest) -> list[Cue]:
    """Return the subtitles of a transcript.

    A segment is one cue; where its words are known, its lines are filled up to `max_line_width`
    and it is parted into cues of `max_line_count` lines.
    """
    return [cue for s in transcript.segments for cue in _cues_of(s, request) if any(cue.lines)]


def _cues_of(segment: Segment, request: TranscriptionRequest) -> Iterator[Cue]:
    lines = list(_fill_lines(segment.words or (), request.max_line_width or math.inf))
    if not lines:
        text = _one_line(segment.text)
        yield Cue(
            start_s=segment.start_s, end_s=segment.end_s, lines=(text,), speaker=segment.speaker
        )
        return
    n_lines = request.max_line_count or len(lines)
    for first in range(0, len(lines), n_lines):
        shown = lines[first : first + n_lines]
        yield Cue(
            start_s=shown[0][0].start_s,
            end_s=shown[-1][-1].end_s,
            lines=tuple(_join(words) for words in shown),
            speaker=segment.speaker,
        )


def _fill_lines(words: Sequence[Word], width: float) -> Iterator[list[Word]]:
    """Yield lines of whole words; a word longer than a line stands alone."""
    line: list[Word] = []
    for word in words:
        if line and len(_join([*line, word])) > width:
            yield line
            line = []
        line.append(word)
    if line:
        yield line


def _join(words: Sequence[Word]) -> str:
    return _one_line("".join(word.text for word in words))


def _one_line(text: str) -> str:
    """Return a text without line breaks of any kind: an empty line would end a cue."""
    return " ".join(text.splitlines()).strip()


def _json(transcript: Transcript, _: TranscriptionRequest) -> Body:
    body: dict[str, object] = {"text": transcript.text, **_logprobs(transcript.logprobs)}
    if transcript.turns is not None:
        body["segments"] = _said(transcript)
    return _json_body({**body, "usage": _usage(transcript)}, transcript)


def _diarized_json(transcript: Transcript, _: TranscriptionRequest) -> Body:
    body: dict[str, object] = {
        "task": transcript.task.value,
        "duration": transcript.duration_s,
        "text": transcript.text,
        "segments": _said(transcript),
        "usage": _usage(transcript),
    }
    return _json_body(body, transcript)


def _said(transcript: Transcript) -> list[dict[str, object]]:
    """Return who said what, each segment as OpenAI's event of the same name."""
    return [
        {
            "type": "transcript.text.segment",
            "id": f"seg_{segment.id:03d}",
            "start": segment.start_s,
            "end": segment.end_s,
            "text": segment.text.strip(),
            "speaker": segment.speaker or UNKNOWN,
        }
        for segment in transcript.segments
    ]


def _verbose_json(transcript: Transcript, request: TranscriptionRequest) -> Body:
    body: dict[str, object] = {
        "task": transcript.task.value,
        "language": LANGUAGES.get(transcript.language or "", ""),
        "language_code": transcript.language,
        "language_probability": transcript.language_probability,
        "duration": transcript.duration_s,
        "text": transcript.text,
    }
    if request.segments or not request.words:
        body["segments"] = [
            _segment(segment) | _speaker(segment, transcript) for segment in transcript.segments
        ]
    if request.words:
        body["words"] = [_word(word) | _speaker(word, transcript) for word in transcript.words]
    return _json_body({**body, "usage": _usage(transcript)}, transcript)


def _segment(segment: Segment) -> dict[str, object]:
    return {
        "id": segment.id,
        "seek": segment.seek,
        "start": segment.start_s,
        "end": segment.end_s,
        "text": segment.text,
        "tokens": list(segment.tokens),
        "temperature": segment.temperature,
        "avg_logprob": segment.avg_logprob,
        "compression_ratio": segment.compression_ratio,
        "no_speech_prob": segment.no_speech_prob,
    }


def _word(word: Word) -> dict[str, object]:
    return {
        "word": word.text.strip(),
        "start": word.start_s,
        "end": word.end_s,
        "probability": word.probability,
    }


def _speaker(part: Segment | Word, transcript: Transcript) -> dict[str, object]:
    return {} if transcript.turns is None else {"speaker": part.speaker}


def _text(transcript: Transcript, _: TranscriptionRequest) -> Body:
    lines = [transcript.text]
    if transcript.turns is not None:
        lines = [f"{s.speaker or UNKNOWN}: {_one_line(s.text)}" for s in transcript.segments]
    return Body(content="\n".join([*lines, ""]), media_type="text/plain; charset=utf-8")


def _srt(transcript: Transcript, request: TranscriptionRequest) -> Body:
    blocks = []
    for i, cue in enumerate(make_cues(transcript, request), 1):
        label = f"{cue.speaker}: " if cue.speaker else ""
        text = _arrowless(label + "\n".join(cue.lines))
        blocks.append(f"{i}\n{_clock(cue.start_s, ',')} --> {_clock(cue.end_s, ',')}\n{text}\n")
    return Body(content="\n".join(blocks), media_type="text/plain; charset=utf-8")


def _vtt(transcript: Transcript, request: TranscriptionRequest) -> Body:
    blocks = ["WEBVTT\n"]
    for cue in make_cues(transcript, request):
        voice = f"<v {escape(cue.speaker, quote=False)}>" if cue.speaker else ""
        text = _arrowless("\n".join(cue.lines)).replace("&", "&amp;").replace("<", "&lt;")
        times = f"{_clock(cue.start_s, '.')} --> {_clock(cue.end_s, '.')}"
        blocks.append(f"{times}\n{voice}{text}\n")
    return Body(content="\n".join(blocks), media_type="text/vtt; charset=utf-8")


def _arrowless(text: str) -> str:
    """Return a cue's text; the arrow that parts two times must not stand in it."""
    return re.sub("-{2,}>", "->", text)


def _clock(time_s: float, decimal_mark: str) -> str:
    """Return HH:MM:SS and milliseconds."""
    total_ms = round(time_s * 1000)
    seconds, ms = divmod(total_ms, 1000)
    minutes, s = divmod(seconds, 60)
    h, m = divmod(minutes, 60)
    return f"{h:02d}:{m:02d}:{s:02d}{decimal_mark}{ms:03d}"


def _logprobs(logprobs: Sequence[TokenLogprob]) -> dict[str, object]:
    """Return OpenAI's key of log-probabilities; nothing where there are none."""
    found = [
        {
            "token": one.text.decode(errors="replace"),
            "bytes": list(one.text),
            "logprob": one.logprob,
        }
        for one in logprobs
    ]
    return {"logprobs": found} if found else {}


def _usage(transcript: Transcript) -> dict[str, object]:
    # OpenAI bills whole seconds, rounded up.
    return {"type": "duration", "seconds": math.ceil(transcript.duration_s)}


def _json_body(body: dict[str, object], transcript: Transcript) -> Body:
    content = json.dumps(_with_warnings(body, transcript), ensure_ascii=False)
    return Body(content=content, media_type="application/json")


def _with_warnings(body: dict[str, object], transcript: Transcript) -> dict[str, object]:
    return {**body, "warnings": list(transcript.warnings)} if transcript.warnings else body


_RENDERERS: Mapping[ResponseFormat, Callable[[Transcript, TranscriptionRequest], Body]] = {
    ResponseFormat.JSON: _json,
    ResponseFormat.TEXT: _text,
    ResponseFormat.SRT: _srt,
    ResponseFormat.VTT: _vtt,
    ResponseFormat.VERBOSE_JSON: _verbose_json,
    ResponseFormat.DIARIZED_JSON: _diarized_json,
}
