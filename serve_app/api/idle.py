"""The fields of a request that change nothing in its answer, and why. Called by `fields`."""

from collections.abc import Mapping
from typing import Any

from serve_app.api.forms import Fields
from serve_app.domain import ResponseFormat

_SUBTITLES = (ResponseFormat.SRT, ResponseFormat.VTT)
_FORMATS = {  # in which a field can be seen
    "timestamp_granularities": (ResponseFormat.VERBOSE_JSON, *_SUBTITLES),
    "max_line_width": _SUBTITLES,
    "max_line_count": _SUBTITLES,
}
_VAD = ("vad_parameters", "chunking_strategy")


def find_idle(fields: Fields, given: Mapping[str, Any], *, stream: bool) -> dict[str, str]:
    """Return the fields that change nothing, and what is the reason for each.

    Args:
        fields: what was sent.
        given: what that sets, by the names of `TranscriptionRequest`.
        stream: whether the answer is to be a stream.
    """
    return _beside_others(fields, given) | _in_that_form(fields, given, stream=stream)


def _in_that_form(fields: Fields, given: Mapping[str, Any], *, stream: bool) -> dict[str, str]:
    """Return the fields of which an answer of that form shows nothing."""
    asked: ResponseFormat = given.get("response_format", ResponseFormat.JSON)
    idle = {
        name: f"response_format {asked}"
        for name, formats in _FORMATS.items()
        if name in fields and asked not in formats
    }
    if stream:  # its events hold the text, and with diarized_json who said it
        idle |= {name: "stream" for name in _FORMATS if name in fields}
        if asked.has_times and asked is not ResponseFormat.DIARIZED_JSON:
            idle["response_format"] = "stream"
    return idle


def _beside_others(fields: Fields, given: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields that are idle because of what other fields say."""
    idle = {}
    if "max_line_count" in fields and not given.get("max_line_width"):
        idle["max_line_count"] = "no max_line_width"
    if given.get("multilingual") and given.get("language", "auto").lower() != "auto":
        idle["multilingual"] = "language"
    if "vad" in given and given.get("clip_timestamps"):
        idle |= {name: "clip_timestamps" for name in _VAD if name in fields}
    elif "vad" in given and not given.get("vad_filter", True):
        idle |= {name: "vad_filter=false" for name in _VAD if name in fields}
    return idle
