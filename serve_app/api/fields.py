"""The fields of a transcription: one table of what each is called, means and becomes.

The request is read by this table, and the schema at /openapi.json is made from it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serve_app.api.forms import Fields
from serve_app.domain import ResponseFormat, Task, TranscriptionRequest, VadOptions
from serve_app.errors import InvalidRequestError

Sent = Sequence[str | dict[str, str]]
Read = Callable[[str, Sent], dict[str, Any]]  # a field's name and values -> fields of the request


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of the form."""

    read: Read
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the fields of one HTTP request ask for."""

    request: TranscriptionRequest
    stream: bool
    warnings: tuple[str, ...]


def read_fields(fields: Fields, task: Task) -> Asked:
    """Read what was sent. An absent or empty field has its default; an unknown one is a warning.

    Raises:
        InvalidRequestError: a field's value is not acceptable.
    """
    given: dict[str, Any] = {"task": task}
    warnings = []
    for name, values in fields.items():
        if name in FIELDS:
            if values[-1] != "":
                given.update(FIELDS[name].read(name, values))
        elif name != "file":
            warnings.append(f"ignored_field: the field {name[:64]!r} is not known here")
    stream = given.pop("stream", False)
    return Asked(request=TranscriptionRequest(**given), stream=stream, warnings=tuple(warnings))


def _refuse(name: str, expected: str, value: object) -> InvalidRequestError:
    return InvalidRequestError(name, f"{name} must be {expected}; got {str(value)[:100]!r}.")


def _last(name: str, values: Sent) -> str:
    """Return the value of a field that has one; where it was sent twice, the last one counts."""
    if isinstance(values[-1], dict):
        raise _refuse(name, "one value", values[-1])
    return values[-1]


def _number(name: str, value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        raise _refuse(name, "a number", value) from None


def _integer(name: str, value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        raise _refuse(name, "a whole number", value) from None


def _flag(name: str, value: object) -> bool:
    try:
        return _FLAGS[str(value).lower()]
    except KeyError:
        raise _refuse(name, "true or false", value) from None


def _text(_: str, value: object) -> str:
    return str(value)


def _one(convert: Callable[[str, object], Any], target: str | None = None) -> Read:
    """Read one value into the request's field of that name."""
    return lambda name, values: {target or name: convert(name, _last(name, values))}


def _many(convert: Callable[[str, object], Any]) -> Read:
    """Read a list: repeated, separated by commas, or a JSON array."""

    def read(name: str, values: Sent) -> dict[str, Any]:
        parts = [part for value in values for part in _parts(name, value)]
        return {name: tuple(convert(name, part) for part in parts)}

    return read


def _parts(name: str, value: str | dict[str, str]) -> list[object]:
    if isinstance(value, dict):
        raise _refuse(name, "a list", value)
    if not value.lstrip().startswith("["):
        return [part.strip() for part in value.split(",")]
    return list(_from_json(name, value, list))


def _from_json(name: str, value: str, kind: type) -> Any:
    try:
        made = json.loads(value)
    except ValueError:
        made = None
    if not isinstance(made, kind):
        raise _refuse(name, f"a JSON {'array' if kind is list else 'object'}", value)
    return made


def _read_keywords(name: str, values: Sent) -> dict[str, Any]:
    words = [str(part) for value in values for part in _parts(name, value)]
    return {"hotwords": ", ".join(words)}


def _read_format(name: str, values: Sent) -> dict[str, Any]:
    value = _last(name, values)
    try:
        return {name: ResponseFormat(value)}
    except ValueError:
        raise _refuse(name, f"one of {', '.join(ResponseFormat)}", value) from None


def _read_granularities(name: str, values: Sent) -> dict[str, Any]:
    wanted = [str(part) for value in values for part in _parts(name, value)]
    if bad := [one for one in wanted if one not in _GRANULARITIES]:
        raise _refuse(name, f"of {', '.join(_GRANULARITIES)}", bad[0])
    return {_GRANULARITIES[one]: True for one in wanted}


def _read_vad(names: Mapping[str, tuple[str, float]]) -> Read:
    """Read an object with those names and milliseconds, as JSON or by bracket keys."""

    def read(name: str, values: Sent) -> dict[str, Any]:
        value = values[-1]
        if value == "auto":
            return {}
        sent = value if isinstance(value, dict) else _from_json(name, value, dict)
        given = {key: v for key, v in sent.items() if key != "type"}
        if unknown := set(given) - set(names):
            raise _refuse(name, f"an object of {', '.join(names)}", unknown.pop())
        ours = {names[key][0]: _number(name, v) * names[key][1] for key, v in given.items()}
        return {"vad": VadOptions(**ours)}

    return read


def _refused(reason: str) -> Read:
    """Refuse a field that other servers have, whatever it holds."""

    def read(name: str, _: Sent) -> dict[str, Any]:
        raise InvalidRequestError(name, f"{name} is not available: {reason}")

    return read


_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_GRANULARITIES = {"segment": "segments", "word": "words"}  # the field of the request each sets
_SILERO = {  # Silero's name: ours, and the factor
    "threshold": ("threshold", 1.0),
    "min_speech_duration_ms": ("min_speech_s", 0.001),
    "min_silence_duration_ms": ("min_silence_s", 0.001),
    "speech_pad_ms": ("speech_pad_s", 0.001),
}
_SERVER_VAD = {  # OpenAI's `server_vad`
    "threshold": ("threshold", 1.0),
    "prefix_padding_ms": ("speech_pad_s", 0.001),
    "silence_duration_ms": ("min_silence_s", 0.001),
}
_NUMBER = {"type": "number"}
_INTEGER = {"type": "integer"}
_BOOLEAN = {"type": "boolean"}
_NO_DIARIZATION = "this app has no diarization deployment."

FIELDS: Mapping[str, Field] = {
    "model": Field(read=_one(_text), description="Name, alias or source of a declared model."),
    "language": Field(
        read=_one(_text), description="Code, English name or BCP-47 tag; absent or auto: detect."
    ),
    "languages": Field(
        read=_many(_text),
        description="Detect among these only.",
        schema={"type": "array", "items": {"type": "string"}},
    ),
    "multilingual": Field(
        read=_one(_flag), description="Detect the language of every chunk.", schema=_BOOLEAN
    ),
    "prompt": Field(read=_one(_text), description="Text that steers spelling and style."),
    "hotwords": Field(read=_one(_text), description="Words to expect."),
    "keywords": Field(
        read=_read_keywords,
        description="Words to expect, as OpenAI names them.",
        schema={"type": "array", "items": {"type": "string"}},
    ),
    "temperature": Field(
        read=_one(_number),
        description="0: the profile's temperatures in turn; above: that one only.",
        schema={"type": "number", "minimum": 0, "maximum": 1},
    ),
    "response_format": Field(
        read=_read_format,
        description="The form of the answer.",
        schema={"type": "string", "enum": list(ResponseFormat)},
    ),
    "timestamp_granularities": Field(
        read=_read_granularities,
        description="Times in verbose_json: of segments, words or both.",
        schema={"type": "array", "items": {"type": "string", "enum": list(_GRANULARITIES)}},
    ),
    "stream": Field(
        read=_one(_flag), description="Answer with server-sent events.", schema=_BOOLEAN
    ),
    "without_timestamps": Field(
        read=_one(_flag),
        description="Decode timestamp tokens or not, instead of where they are needed.",
        schema=_BOOLEAN,
    ),
    "max_line_width": Field(
        read=_one(_integer), description="Characters in a line of srt and vtt.", schema=_INTEGER
    ),
    "max_line_count": Field(
        read=_one(_integer), description="Lines in a cue of srt and vtt.", schema=_INTEGER
    ),
    "beam_size": Field(read=_one(_integer), description="Beams at temperature 0.", schema=_INTEGER),
    "best_of": Field(
        read=_one(_integer), description="Candidates at temperatures above 0.", schema=_INTEGER
    ),
    "patience": Field(read=_one(_number), description="Of beam search.", schema=_NUMBER),
    "length_penalty": Field(read=_one(_number), description="Of beam search.", schema=_NUMBER),
    "repetition_penalty": Field(
        read=_one(_number), description="Above 1 discourages repetition.", schema=_NUMBER
    ),
    "no_repeat_ngram_size": Field(
        read=_one(_integer), description="Forbid repeated n-grams of this size.", schema=_INTEGER
    ),
    "max_new_tokens": Field(
        read=_one(_integer), description="Most tokens of one chunk.", schema=_INTEGER
    ),
    "suppress_tokens": Field(
        read=_many(_integer),
        description="Token ids never to write; -1: those of non-speech symbols.",
        schema={"type": "array", "items": _INTEGER},
    ),
    "condition_on_previous_text": Field(
        read=_one(_flag),
        description="false only: chunks are decoded side by side.",
        schema=_BOOLEAN,
    ),
    "vad_filter": Field(
        read=_one(_flag), description="Leave out what is not speech.", schema=_BOOLEAN
    ),
    "vad_parameters": Field(
        read=_read_vad(_SILERO), description=f"JSON object of {', '.join(_SILERO)}."
    ),
    "chunking_strategy": Field(
        read=_read_vad(_SERVER_VAD),
        description=f"auto, or an object of type server_vad and {', '.join(_SERVER_VAD)}.",
    ),
    "clip_timestamps": Field(
        read=_many(_number),
        description="start,end,start,end in seconds, instead of the VAD.",
        schema={"type": "array", "items": _NUMBER},
    ),
    "include": Field(
        read=_refused("log probabilities of single tokens are not known exactly."),
        description="Refused.",
    ),
    "url": Field(read=_refused("send the file itself."), description="Refused."),
    **{
        name: Field(read=_refused(_NO_DIARIZATION), description="Refused.")
        for name in (
            *("diarize", "multichannel", "num_speakers", "min_speakers", "max_speakers"),
            *("known_speaker_names", "known_speaker_references"),
        )
    },
}
