"""A transcript in, the JSON and plain text of an answer out, by OpenAI's keys."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from serve_app.domain import Segment, Task, TokenLogprob, Transcript, TranscriptionRequest, Word
from serve_app.languages import LANGUAGES

UNKNOWN = "unknown"  # the speaker of what was said in nobody's turn


@dataclass(frozen=True, kw_only=True)
class Body:
    """What goes over the wire."""

    content: str
    media_type: str


def render_json(transcript: Transcript, _: TranscriptionRequest) -> Body:
    """Render OpenAI's `json`; with speakers, who said what as well."""
    body = text_and_languages(transcript)
    if transcript.turns is not None:
        body["segments"] = speaker_segments(transcript)
    return _json_body({**body, "usage": _usage(transcript)}, transcript)


def render_diarized_json(transcript: Transcript, _: TranscriptionRequest) -> Body:
    """Render OpenAI's `diarized_json`."""
    body: dict[str, object] = {
        "task": transcript.task.value,
        "duration": transcript.duration_s,
        "text": transcript.text,
        "segments": speaker_segments(transcript),
        "usage": _usage(transcript),
    }
    return _json_body(body, transcript)


def render_verbose_json(transcript: Transcript, request: TranscriptionRequest) -> Body:
    """Render OpenAI's `verbose_json`."""
    body: dict[str, object] = {
        "task": transcript.task.value,
        "language": _text_language(transcript),
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


def render_text(transcript: Transcript, _: TranscriptionRequest) -> Body:
    """Render the plain text; with speakers, a line for each segment."""
    lines = [transcript.text]
    if transcript.turns is not None:
        lines = [f"{s.speaker or UNKNOWN}: {one_line(s.text)}" for s in transcript.segments]
    return Body(content="\n".join([*lines, ""]), media_type="text/plain; charset=utf-8")


def text_and_languages(transcript: Transcript) -> dict[str, object]:
    """Return what OpenAI's `json` and the end of its streams share."""
    code = transcript.language
    return {
        "text": transcript.text,
        "languages": [{"code": code}] if code else [],
        **logprobs_key(transcript.logprobs),
    }


def speaker_segments(transcript: Transcript) -> list[dict[str, object]]:
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


def logprobs_key(logprobs: Sequence[TokenLogprob]) -> dict[str, object]:
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


def with_warnings(body: dict[str, object], transcript: Transcript) -> dict[str, object]:
    """Return a body with the transcript's warnings, where there are any."""
    return {**body, "warnings": list(transcript.warnings)} if transcript.warnings else body


def one_line(text: str) -> str:
    """Return a text without line breaks of any kind: an empty line would end a cue."""
    return " ".join(text.splitlines()).strip()


def _text_language(transcript: Transcript) -> str:
    """Return the name of the language that the text is in: a translation is English."""
    spoken = transcript.language or ""
    return LANGUAGES.get("en" if transcript.task is Task.TRANSLATE else spoken, "")


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


def _usage(transcript: Transcript) -> dict[str, object]:
    # OpenAI bills whole seconds, rounded up.
    return {"type": "duration", "seconds": math.ceil(transcript.duration_s)}


def _json_body(body: dict[str, object], transcript: Transcript) -> Body:
    content = json.dumps(with_warnings(body, transcript), ensure_ascii=False)
    return Body(content=content, media_type="application/json")
