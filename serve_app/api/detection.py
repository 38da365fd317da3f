"""The two routes that tell about a file without transcribing it: where speech is, which language.

Both are what other servers call them: the first one's fields and defaults are HalkSpeech's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serve_app.api.endpoint import Answer, Endpoint, object_of
from serve_app.api.forms import UPLOAD_ERRORS, read_upload
from serve_app.api.readers import (
    NUMBER,
    Field,
    Sent,
    last_value,
    read_table,
    refuse,
    single,
    to_number,
    to_text,
)
from serve_app.api.service import SERVICE_ERRORS, DetectionService
from serve_app.contexts import make_aside
from serve_app.domain import DetectedLanguage, Span, SpeechRequest
from serve_app.domain.requests import MAX_THRESHOLD, MIN_THRESHOLD
from serve_app.errors import ModelLoadingError, ModelNotFoundError
from serve_app.languages import LANGUAGES
from serve_app.stages.assemble import NO_SPEECH

MAX_MS = 60_000.0  # of a pause or of padding: more than any means nothing

_DEFAULTS = SpeechRequest()
_DETECTORS = ("silero_vad_v5", "silero_vad_v6")
_ERRORS = (*UPLOAD_ERRORS, *SERVICE_ERRORS)


def _read_detector(name: str, values: Sent) -> dict[str, Any]:
    value = last_value(name, values)
    if value not in _DETECTORS:
        raise refuse(name, f"one of {', '.join(_DETECTORS)}", value)
    return {}


def _within(low: float, high: float, unit: float = 1.0) -> Callable[[str, object], float]:
    """Return what reads a number within limits, in the client's unit, into ours."""

    def convert(name: str, value: object) -> float:
        made = to_number(name, value)
        if not low <= made <= high:
            raise refuse(name, f"between {low:g} and {high:g}", value)
        return made * unit

    return convert


def _ms(target: str, description: str) -> Field:
    default = round(getattr(_DEFAULTS.vad, target) * 1000)
    schema = {"type": "number", "minimum": 0, "maximum": MAX_MS, "default": default}
    read = single(_within(0, MAX_MS, unit=0.001), target)
    return Field(read=read, description=description, schema=schema)


SPEECH_FIELDS: Mapping[str, Field] = {
    "model": Field(
        read=_read_detector,
        description="Accepted for other servers' clients; Silero VAD v6 answers in either case.",
        schema={"type": "string", "enum": list(_DETECTORS)},
    ),
    "threshold": Field(
        read=single(_within(MIN_THRESHOLD, MAX_THRESHOLD)),
        description="Silero's speech probability.",
        schema={
            **NUMBER,
            **{"minimum": MIN_THRESHOLD, "maximum": MAX_THRESHOLD},
            "default": _DEFAULTS.vad.threshold,
        },
    ),
    "neg_threshold": Field(
        read=single(_within(0, MAX_THRESHOLD)),
        description="Speech ends where the probability falls below; absent: threshold - 0.15.",
        schema={**NUMBER, "minimum": 0, "maximum": MAX_THRESHOLD},
    ),
    "min_speech_duration_ms": _ms("min_speech_s", "Shorter speech is left out."),
    "max_speech_duration_s": Field(
        read=single(to_number, "max_speech_s"),
        description="A longer span is cut, in a pause where there is one; absent or inf: never.",
        schema={**NUMBER, "exclusiveMinimum": 0},
    ),
    "min_silence_duration_ms": _ms("min_silence_s", "A shorter pause does not end a span."),
    "speech_pad_ms": _ms("speech_pad_s", "Added on both sides of a span."),
}
LANGUAGE_FIELDS: Mapping[str, Field] = {
    "model": Field(
        read=single(to_text), description="Name, alias or source of the declared model that tells."
    ),
}

_PLACE = {"type": "integer", "minimum": 0}
_SPEECH = Answer(
    description="The spans of speech, in order, in milliseconds.",
    content={
        "application/json": {"type": "array", "items": object_of(start=_PLACE, end=_PLACE)},
    },
)
_LANGUAGE = Answer(
    description="The likeliest language and all others; null and empty where there is no speech.",
    content={
        "application/json": object_of(
            language={"type": ["string", "null"]},
            language_code={"type": ["string", "null"]},
            language_probability=NUMBER,
            probabilities={"type": "object", "additionalProperties": NUMBER},
        )
    },
)


def endpoints(service: DetectionService) -> list[Endpoint]:
    """Return the routes of this group."""

    async def detect_speech(http: Request) -> Response:
        upload = await read_upload(http)
        # A bare list has no place for warnings, so unknown fields are only ignored.
        given, _ = read_table(SPEECH_FIELDS, upload.fields)
        spans = await service.detect_speech(upload.audio, _speech_request(given))
        return await make_aside(_speech_answer, spans)

    async def detect_language(http: Request) -> Response:
        service.check_room()
        upload = await read_upload(http)
        given, warnings = read_table(LANGUAGE_FIELDS, upload.fields)
        found = await service.detect_language(upload.audio, given.get("model"))
        return JSONResponse(_language_body(found, warnings))

    return [
        Endpoint(
            method="POST",
            path="/v1/audio/speech/timestamps",
            answer=detect_speech,
            summary="Find the speech in a file.",
            fields=SPEECH_FIELDS,
            answers={200: _SPEECH},
            errors=_ERRORS,
        ),
        Endpoint(
            method="POST",
            path="/v1/audio/language",
            answer=detect_language,
            summary="Tell the language of a file, by its first chunk with speech.",
            fields=LANGUAGE_FIELDS,
            answers={200: _LANGUAGE},
            errors=(*_ERRORS, ModelNotFoundError, ModelLoadingError),
        ),
    ]


def _speech_answer(spans: Sequence[Span]) -> Response:
    found = [{"start": round(s.start_s * 1000), "end": round(s.end_s * 1000)} for s in spans]
    return JSONResponse(found)


def _speech_request(given: dict[str, Any]) -> SpeechRequest:
    max_speech_s = given.pop("max_speech_s", _DEFAULTS.max_speech_s)
    return SpeechRequest(vad=replace(_DEFAULTS.vad, **given), max_speech_s=max_speech_s)


def _language_body(found: DetectedLanguage, warnings: list[str]) -> dict[str, object]:
    code, probability = found.probabilities[0] if found.probabilities else (None, 0.0)
    warnings = warnings if code else [NO_SPEECH, *warnings]
    body: dict[str, object] = {
        "language": LANGUAGES.get(code or ""),
        "language_code": code,
        "language_probability": probability,
        "probabilities": dict(found.probabilities),
    }
    return {**body, "warnings": warnings} if warnings else body
