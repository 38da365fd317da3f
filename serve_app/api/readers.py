"""The values of one field, as clients send them, to what they mean: the parts of field tables.

A table of `Field`s says what the fields of a route are called, mean and become: its requests are
read by it, and its part of /openapi.json is made from it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serve_app.api.forms import Fields
from serve_app.errors import InvalidRequestError

Sent = Sequence[str | dict[str, str]]
Read = Callable[[str, Sent], dict[str, Any]]  # a field's name and values -> what they set

NUMBER = {"type": "number"}
INTEGER = {"type": "integer"}
BOOLEAN = {"type": "boolean"}
# Of a list: it goes to the model with every chunk. More than all tokens of 2 digits and more need.
MAX_LIST_CHARACTERS = 50_000


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of a form."""

    read: Read
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    max_characters: int = 1_000_000  # of all its values together


def read_table(table: Mapping[str, Field], fields: Fields) -> tuple[dict[str, Any], list[str]]:
    """Read what was sent by a table.

    Returns:
        What the fields set, less those that are absent or empty; and a warning for each unknown.

    Raises:
        InvalidRequestError: a field's value is not acceptable, or two fields set the same.
    """
    given: dict[str, Any] = {}
    warnings = []
    for name, sent in fields.items():
        if name in table:
            values = [value for value in sent if value != ""]
            _check_length(name, values, table[name].max_characters)
            made = table[name].read(name, values) if values else {}
            if made.keys() & given.keys():
                raise InvalidRequestError(
                    name, f"{name} sets what another field sets as well. Send one of them."
                )
            given |= made
        elif name != "file":
            warnings.append(f"ignored_field: the field {name[:64]!r} is not known here")
    return given, warnings


def _check_length(name: str, values: Sent, limit: int) -> None:
    """Refuse what would take long to read: it is read where all requests of a process wait."""
    n = sum(len(v) if isinstance(v, str) else sum(map(len, v.values())) for v in values)
    if n > limit:
        raise InvalidRequestError(name, f"{name} takes at most {limit} characters.")


def refuse(name: str, expected: str, value: object) -> InvalidRequestError:
    """Return the error that says what a field must be and what it was."""
    return InvalidRequestError(name, f"{name} must be {expected}; got {str(value)[:100]!r}.")


def last_value(name: str, values: Sent) -> str:
    """Return the value of a field that has one; where it was sent twice, the last one counts.

    Raises:
        InvalidRequestError: an object was sent.
    """
    if isinstance(values[-1], dict):
        raise refuse(name, "one value", values[-1])
    return values[-1]


def to_number(name: str, value: object) -> float:
    """Convert to a number. Raises InvalidRequestError."""
    try:
        return float(str(value))
    except ValueError:
        raise refuse(name, "a number", value) from None


def to_integer(name: str, value: object) -> int:
    """Convert to a whole number of 32 bits, which is what the engine takes.

    Raises:
        InvalidRequestError: it is not one.
    """
    try:
        made = int(str(value))
    except ValueError:
        made = _MAX_INTEGER + 1
    if abs(made) > _MAX_INTEGER:
        raise refuse(name, "a whole number", value)
    return made


def to_flag(name: str, value: object) -> bool:
    """Convert to true or false. Raises InvalidRequestError."""
    try:
        return _FLAGS[str(value).lower()]
    except KeyError:
        raise refuse(name, "true or false", value) from None


def to_text(name: str, value: object) -> str:
    """Take the text as it is. Raises InvalidRequestError where it is half a letter of JSON's."""
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate: neither the model nor an answer can have it
        raise refuse(name, "text", value) from None
    return text


def single(convert: Callable[[str, object], Any], target: str | None = None) -> Read:
    """Read one value into the request's field of that name."""
    return lambda name, values: {target or name: convert(name, last_value(name, values))}


def listed(convert: Callable[[str, object], Any]) -> Read:
    """Read a list: repeated, separated by commas, or a JSON array."""

    def read(name: str, values: Sent) -> dict[str, Any]:
        found = [part for value in values for part in split_parts(name, value)]
        return {name: tuple(convert(name, part) for part in found)}

    return read


def split_parts(name: str, value: str | dict[str, str]) -> list[object]:
    """Return the parts of a list sent as one value. Raises InvalidRequestError."""
    if isinstance(value, dict):
        raise refuse(name, "a list", value)
    if not value.lstrip().startswith("["):
        return [part.strip() for part in value.split(",")]
    return list(parse_json(name, value, list))


def parse_json(name: str, value: str, kind: type) -> Any:
    """Parse a JSON array (`kind` is list) or object (dict). Raises InvalidRequestError."""
    try:
        made = json.loads(value)
    except (ValueError, RecursionError):  # the second: nested too deeply
        made = None
    if not isinstance(made, kind):
        raise refuse(name, f"a JSON {'array' if kind is list else 'object'}", value)
    return made


_MAX_INTEGER = 2**31 - 1
_FLAGS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}
