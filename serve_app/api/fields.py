"""The fields of a transcription: one table of what each is called, means and becomes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from serve_app.api.diarization import SPEAKER_FIELDS, take_speakers
from serve_app.api.forms import Fields
from serve_app.api.idle import find_idle
from serve_app.api.readers import (
    BOOLEAN,
    INTEGER,
    MAX_LIST_CHARACTERS,
    NUMBER,
    Field,
    Read,
    Sent,
    last_value,
    listed,
    parse_json,
    read_table,
    refuse,
    single,
    split_parts,
    to_flag,
    to_integer,
    to_number,
    to_text,
)
from serve_app.domain import ResponseFormat, Task, TranscriptionRequest, VadChanges
from serve_app.domain.requests import MAX_THRESHOLD, MIN_THRESHOLD
from serve_app.errors import InvalidRequestError


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
    given, warnings = read_table(FIELDS, fields)
    stream = given.pop("stream", False)
    idle = find_idle(fields, given, stream=stream)
    speakers = take_speakers(given)
    request = TranscriptionRequest(task=task, speakers=speakers, **given)
    if idle:  # nonsense in them is refused above; they are to cost nothing: neither times nor words
        hidden, _ = read_table(FIELDS, {name: fields[name] for name in idle})
        seen = {name: value for name, value in given.items() if name not in hidden}
        request = TranscriptionRequest(task=task, speakers=speakers, **seen)
        warnings += [f"no_effect: {name} changes nothing with {why}" for name, why in idle.items()]
    return Asked(request=request, stream=stream, warnings=tuple(warnings))


def _read_keywords(name: str, values: Sent) -> dict[str, Any]:
    words = [to_text(name, part) for value in values for part in split_parts(name, value)]
    return {"hotwords": ", ".join(words)}


def _read_format(name: str, values: Sent) -> dict[str, Any]:
    value = last_value(name, values)
    try:
        return {name: ResponseFormat(value)}
    except ValueError:
        raise refuse(name, f"one of {', '.join(ResponseFormat)}", value) from None


def _read_granularities(name: str, values: Sent) -> dict[str, Any]:
    wanted = [str(part) for value in values for part in split_parts(name, value)]
    if bad := [one for one in wanted if one not in _GRANULARITIES]:
        raise refuse(name, f"of {', '.join(_GRANULARITIES)}", bad[0])
    return {_GRANULARITIES[one]: True for one in wanted}


def _read_include(name: str, values: Sent) -> dict[str, Any]:
    wanted = [part for value in values for part in split_parts(name, value)]
    if bad := [one for one in wanted if one != "logprobs"]:
        raise refuse(name, "logprobs", bad[0])
    return {"logprobs": True}


# A client's name: ours, and what makes our unit of its number.
_VadNames = Mapping[str, tuple[str, Callable[[float], float]]]


def _read_vad(names: _VadNames) -> Read:
    """Read an object with those names, as JSON or by bracket keys; null is as good as absent."""

    def read(name: str, values: Sent) -> dict[str, Any]:
        value = values[-1]
        if value == "auto":
            return {}
        sent = value if isinstance(value, dict) else parse_json(name, value, dict)
        given = {key: own for key, own in sent.items() if own is not None}
        if names is _SERVER_VAD and given.pop("type", "server_vad") != "server_vad":
            raise refuse(name, "auto or of the type server_vad", value)
        if unknown := set(given) - set(names):
            raise refuse(name, f"an object of {', '.join(names)}", unknown.pop())
        ours = {names[key][0]: names[key][1](to_number(name, v)) for key, v in given.items()}
        try:
            return {"vad": VadChanges(**ours)} if ours else {}
        except InvalidRequestError as error:
            wrong = next(key for key in given if names[key][0] == error.param)
            raise InvalidRequestError(name, f"{wrong}: {error}") from None

    return read


def _seconds(ms: float) -> float:
    return ms / 1000


def _probability(value: float) -> float:
    """Return OpenAI's 0 and 1 as the nearest that Silero takes; what is neither, as it is."""
    return min(max(value, MIN_THRESHOLD), MAX_THRESHOLD) if 0 <= value <= 1 else value


def _refused(reason: str) -> Read:
    """Refuse a field that other servers have, whatever it holds."""

    def read(name: str, _: Sent) -> dict[str, Any]:
        raise InvalidRequestError(name, f"{name} is not available: {reason}")

    return read


_GRANULARITIES = {"segment": "segments", "word": "words"}  # the field of the request each sets
_SILERO: _VadNames = {
    "threshold": ("threshold", float),
    "neg_threshold": ("neg_threshold", float),
    "min_speech_duration_ms": ("min_speech_s", _seconds),
    "min_silence_duration_ms": ("min_silence_s", _seconds),
    "speech_pad_ms": ("speech_pad_s", _seconds),
}
_SERVER_VAD: _VadNames = {  # OpenAI's `server_vad`
    "threshold": ("threshold", _probability),
    "prefix_padding_ms": ("speech_pad_s", _seconds),
    "silence_duration_ms": ("min_silence_s", _seconds),
}

FIELDS: Mapping[str, Field] = {
    "model": Field(read=single(to_text), description="Name, alias or source of a declared model."),
    "language": Field(
        read=single(to_text),
        description="Code, English name or BCP-47 tag; absent or auto: detect.",
    ),
    "languages": Field(
        read=listed(to_text),
        description="Detect among these only.",
        schema={"type": "array", "items": {"type": "string"}},
        max_characters=MAX_LIST_CHARACTERS,
    ),
    "multilingual": Field(
        read=single(to_flag), description="Detect the language of every chunk.", schema=BOOLEAN
    ),
    "prompt": Field(read=single(to_text), description="Text that steers spelling and style."),
    "hotwords": Field(read=single(to_text), description="Words to expect."),
    "keywords": Field(
        read=_read_keywords,
        description="Words to expect, as OpenAI names them.",
        schema={"type": "array", "items": {"type": "string"}},
        max_characters=MAX_LIST_CHARACTERS,
    ),
    "temperature": Field(
        read=single(to_number),
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
        max_characters=MAX_LIST_CHARACTERS,
    ),
    "stream": Field(
        read=single(to_flag), description="Answer with server-sent events.", schema=BOOLEAN
    ),
    "without_timestamps": Field(
        read=single(to_flag),
        description="Decode timestamp tokens or not, instead of where they are needed.",
        schema=BOOLEAN,
    ),
    "max_line_width": Field(
        read=single(to_integer), description="Characters in a line of srt and vtt.", schema=INTEGER
    ),
    "max_line_count": Field(
        read=single(to_integer), description="Such lines in a cue of srt and vtt.", schema=INTEGER
    ),
    "beam_size": Field(
        read=single(to_integer), description="Beams at temperature 0.", schema=INTEGER
    ),
    "best_of": Field(
        read=single(to_integer), description="Candidates at temperatures above 0.", schema=INTEGER
    ),
    "patience": Field(read=single(to_number), description="Of beam search.", schema=NUMBER),
    "length_penalty": Field(read=single(to_number), description="Of beam search.", schema=NUMBER),
    "repetition_penalty": Field(
        read=single(to_number), description="Above 1 discourages repetition.", schema=NUMBER
    ),
    "no_repeat_ngram_size": Field(
        read=single(to_integer), description="Forbid repeated n-grams of this size.", schema=INTEGER
    ),
    "max_new_tokens": Field(
        read=single(to_integer), description="Most tokens of one chunk.", schema=INTEGER
    ),
    "suppress_tokens": Field(
        read=listed(to_integer),
        description="Token ids never to write; -1: those of non-speech symbols.",
        schema={"type": "array", "items": INTEGER},
        max_characters=MAX_LIST_CHARACTERS,
    ),
    "condition_on_previous_text": Field(
        read=single(to_flag),
        description="false only: chunks are decoded side by side.",
        schema=BOOLEAN,
    ),
    "vad_filter": Field(
        read=single(to_flag), description="Leave out what is not speech.", schema=BOOLEAN
    ),
    "vad_parameters": Field(
        read=_read_vad(_SILERO), description=f"JSON object of {', '.join(_SILERO)}."
    ),
    "chunking_strategy": Field(
        read=_read_vad(_SERVER_VAD),
        description=f"auto, or an object of type server_vad and {', '.join(_SERVER_VAD)}.",
    ),
    "clip_timestamps": Field(
        read=listed(to_number),
        description="start,end,start,end in seconds, instead of the VAD.",
        schema={"type": "array", "items": NUMBER},
        max_characters=MAX_LIST_CHARACTERS,
    ),
    "include": Field(
        read=_read_include,
        description="logprobs: of each token, with response_format json and beam_size 1.",
        schema={"type": "array", "items": {"type": "string", "enum": ["logprobs"]}},
        max_characters=MAX_LIST_CHARACTERS,
    ),
    "url": Field(read=_refused("send the file itself."), description="Refused."),
    "diarize": Field(
        read=single(to_flag), description="Tell the speakers apart by a model.", schema=BOOLEAN
    ),
    "multichannel": Field(
        read=single(to_flag),
        description="Each channel is a speaker, the first one A; needs no model.",
        schema=BOOLEAN,
    ),
    **SPEAKER_FIELDS,
}
