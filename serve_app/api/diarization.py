"""What a caller may say about the speakers of a file, and the route that tells who speaks when."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from serve_app.api.endpoint import Answer, Endpoint, object_of
from serve_app.api.forms import MAX_FIELD_BYTES, UPLOAD_ERRORS, Fields, read_upload
from serve_app.api.readers import (
    MAX_LIST_CHARACTERS,
    NUMBER,
    Field,
    Sent,
    last_value,
    parse_json,
    read_table,
    refuse,
    single,
    to_integer,
)
from serve_app.api.service import SERVICE_ERRORS, DiarizationService
from serve_app.contexts import make_aside
from serve_app.domain import KnownSpeaker, SpeakerOptions
from serve_app.domain.speakers import MAX_KNOWN, MAX_NAME, MAX_SPEAKERS
from serve_app.errors import InvalidRequestError, TooLongToDiarizeError
from serve_app.stages.render import render_rttm, render_turns

_NAMES, _REFERENCES = "known_speaker_names", "known_speaker_references"
_FORMATS = ("json", "rttm")
_COUNTS = ("num_speakers", "min_speakers", "max_speakers")
_ERRORS = (*UPLOAD_ERRORS, *SERVICE_ERRORS, TooLongToDiarizeError)


def _parts(name: str, values: Sent) -> list[str]:
    """Return a list sent repeatedly or as JSON: names and data URLs may hold commas."""
    parts: list[str] = []
    for value in values:
        if isinstance(value, dict):
            raise refuse(name, "a list", value)
        is_json = value.lstrip().startswith("[")
        parts += map(str, parse_json(name, value, list)) if is_json else [value]
    return parts


def _read_names(name: str, values: Sent) -> dict[str, Any]:
    return {name: _parts(name, values)}


def _read_references(name: str, values: Sent) -> dict[str, Any]:
    return {name: [_decode(name, url) for url in _parts(name, values)]}


def _read_format(name: str, values: Sent) -> dict[str, Any]:
    if (value := last_value(name, values)) not in _FORMATS:
        raise refuse(name, f"one of {', '.join(_FORMATS)}", value)
    return {name: value}


def _decode(name: str, url: str) -> bytes:
    head, comma, encoded = url.partition(",")
    if not (head.startswith("data:") and head.endswith(";base64") and comma):
        raise refuse(name, "data URLs such as data:audio/wav;base64,...", url[:40])
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError:  # binascii.Error is one; what is not ASCII is another
        raise refuse(name, "data URLs of base64", url[:40]) from None


def _count(description: str) -> Field:
    schema = {"type": "integer", "minimum": 1, "maximum": MAX_SPEAKERS}
    return Field(read=single(to_integer), description=description, schema=schema)


SPEAKER_FIELDS: Mapping[str, Field] = {
    "num_speakers": _count("How many speakers there are; absent: found out."),
    "min_speakers": _count("The fewest there may be."),
    "max_speakers": _count("The most there may be."),
    _NAMES: Field(
        read=_read_names,
        description="Names of speakers whose voices are known, in the order of their clips.",
        schema={
            "type": "array",
            "maxItems": MAX_KNOWN,
            "items": {"type": "string", "maxLength": MAX_NAME},
        },
        max_characters=MAX_LIST_CHARACTERS,
    ),
    _REFERENCES: Field(
        read=_read_references,
        description="A clip of each, as a data URL: one voice alone, best 2 to 10 s of it.",
        max_characters=MAX_KNOWN * MAX_FIELD_BYTES,
        schema={"type": "array", "maxItems": MAX_KNOWN, "items": {"type": "string"}},
    ),
}


_FIELDS: Mapping[str, Field] = {
    **SPEAKER_FIELDS,
    "response_format": Field(
        read=_read_format,
        description="The form of the answer.",
        schema={"type": "string", "enum": list(_FORMATS)},
    ),
}


def take_speakers(given: dict[str, Any]) -> SpeakerOptions:
    """Take what SPEAKER_FIELDS set out of a table's result.

    Raises:
        InvalidRequestError: they are not acceptable together.
    """
    names, clips = given.pop(_NAMES, []), given.pop(_REFERENCES, [])
    if len(names) != len(clips):
        raise InvalidRequestError(
            _REFERENCES, f"{len(names)} names and {len(clips)} clips of known speakers were sent."
        )
    known = tuple(KnownSpeaker(name=n, audio=c) for n, c in zip(names, clips, strict=True))
    counts = {name: given.pop(name) for name in _COUNTS if name in given}
    return SpeakerOptions(known=known, **counts)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What the fields of one HTTP request ask for."""

    speakers: SpeakerOptions
    is_rttm: bool
    warnings: Sequence[str]


def _read_fields(fields: Fields) -> _Asked:
    given, warnings = read_table(_FIELDS, fields)
    is_rttm = given.get("response_format") == "rttm"
    return _Asked(speakers=take_speakers(given), is_rttm=is_rttm, warnings=warnings)


_TURN = object_of(start=NUMBER, end=NUMBER, speaker={"type": "string"})
_ANSWER = Answer(
    description="The turns by their start, in seconds; turns of different speakers may overlap.",
    content={
        "application/json": object_of(duration=NUMBER, segments={"type": "array", "items": _TURN}),
        "text/plain": {"type": "string"},
    },
)


def endpoints(service: DiarizationService) -> list[Endpoint]:
    """Return the route of this group."""

    async def diarize(http: Request) -> Response:
        upload = await read_upload(http)
        asked = await make_aside(_read_fields, upload.fields)
        found = await service.diarize(upload.audio, asked.speakers)
        body = render_rttm(found) if asked.is_rttm else render_turns(found, asked.warnings)
        return Response(body.content, media_type=body.media_type)

    return [
        Endpoint(
            method="POST",
            path="/v1/audio/diarization",
            answer=diarize,
            summary="Tell who speaks when in a file.",
            description="Where the profile has a diarization deployment.",
            fields=_FIELDS,
            answers={200: _ANSWER},
            errors=_ERRORS,
        )
    ]
