"""The texts of environment variables and flags, to values. Each parser says what it expects."""

import json
import re
from collections.abc import Callable
from typing import Any

import yaml

Parser = Callable[[str], Any]

TRUE = ("true", "1", "yes", "on", "t", "y")
FALSE = ("false", "0", "no", "off", "f", "n")


def whole(low: int, high: int | None = None) -> Parser:
    """Return a parser of whole numbers in a range."""
    expected = f"a whole number of at least {low}"
    if high is not None:
        expected = f"a whole number from {low} to {high}"

    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?\d{1,9}", text):
            raise ValueError(expected)
        value = int(text)
        if value < low or (high is not None and value > high):
            raise ValueError(expected)
        return value

    return parse


def one_of(*words: str) -> Parser:
    """Return a parser of one of these words, in whatever case."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return text.lower()

    return parse


def truth(text: str) -> bool:
    """Parse a truth value."""
    if text.lower() not in (*TRUE, *FALSE):
        raise ValueError("true or false")
    return text.lower() in TRUE


def milliseconds(low: int, high: int) -> Parser:
    """Return a parser of whole milliseconds in a range, to seconds."""
    parse_ms = whole(low, high)
    return lambda text: parse_ms(text) / 1000


def indices(text: str) -> tuple[int, ...]:
    """Parse a device index, or a JSON list of them."""
    expected = "a GPU's index such as 0, or a list such as [0, 1]"
    try:
        value = json.loads(text)
    except ValueError:
        raise ValueError(expected) from None
    found = value if isinstance(value, list) else [value]
    if not found or any(type(index) is not int or index < 0 for index in found):
        raise ValueError(expected)
    return tuple(dict.fromkeys(found))


def origins(text: str) -> list[str]:
    """Parse a JSON list of origins."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, list) or not all(isinstance(origin, str) for origin in value):
        raise ValueError('a JSON list such as ["http://localhost:3000"] or ["*"]')
    return value


def one_key(text: str) -> str:
    """Parse an API key, with or without its role."""
    # `api.keys_env` parts keys at commas and takes # for the start of a comment.
    if not re.fullmatch(r"[!-~]+", text) or "," in text or "#" in text:
        raise ValueError("one key of printable ASCII without spaces, commas and #")
    return text


def address(text: str) -> str:
    """Parse a host name or an IP address."""
    if not re.fullmatch(r"[A-Za-z0-9.:_-]+", text):
        raise ValueError("a host name or an IP address")
    return text


def assignment(text: str) -> tuple[tuple[str, ...], Any]:
    """Parse PATH=VALUE, the path's parts between dots, the value as in YAML."""
    path, equals, value = text.partition("=")
    parts = tuple(path.split("."))
    if not equals or not re.fullmatch(r"[^.\s]+(\.[^.\s]+)+", path):
        raise ValueError("PATH=VALUE, such as args.vad.min_silence_s=0.3")
    try:
        return parts, yaml.safe_load(value)
    except yaml.YAMLError:
        raise ValueError("a value as in YAML after the =") from None


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return the value at the end of a path of mappings."""
    for part in reversed(path):
        value = {part: value}
    return dict(value)
