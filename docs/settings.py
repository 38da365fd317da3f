"""Write README's table of every setting: `python -m docs.settings`.

Names, values and defaults are read from the settings themselves, meanings from their comments.
"""

import ast
import inspect
import io
import json
import re
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import click
from pydantic import TypeAdapter

from serve_app.domain import VadOptions
from serve_app.settings import (
    ApiSettings,
    AppSettings,
    AudioSettings,
    DiarizationSettings,
    ModelSettings,
    RetrySettings,
    TranscriberUserConfig,
)

README = Path(__file__).parents[1] / "README.md"
HEAD = "| Setting | Values | Default | Meaning |\n|---|---|---|---|\n"
# Where each part stands: in a profile's `args:`, and the last in a WhisperTranscriber's options.
PARTS: Mapping[str, type[Any]] = {
    "": AppSettings,
    "models[].": ModelSettings,
    "audio.": AudioSettings,
    "vad.": VadOptions,
    "api.": ApiSettings,
    "retry.": RetrySettings,
    "diarization.": DiarizationSettings,
    "user_config.": TranscriberUserConfig,
}
_KINDS = {"number": "number", "integer": "whole number", "string": "text", "boolean": "true, false"}
_BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most"}


@click.command()
def main() -> None:
    """Write the table into README in the place of the one that is there."""
    before, _, rest = README.read_text(encoding="utf-8").partition(HEAD)
    after = rest[re.match(r"(\|.*\n)*", rest).end() :]  # type: ignore[union-attr] # may be empty
    README.write_text(before + settings_table() + after, encoding="utf-8")


def settings_table() -> str:
    """Return the table, in Markdown."""
    return HEAD + "".join(row for prefix, part in PARTS.items() for row in _rows(prefix, part))


def read_comments(part: type[Any]) -> dict[str, str]:
    """Return the comments above and beside each annotated name of a class, by that name."""
    source = dedent(inspect.getsource(part))
    lines = source.splitlines()
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {t.start[0]: t.string.strip("# ") for t in tokens if t.type == tokenize.COMMENT}
    found = {}
    [definition] = ast.parse(source).body
    for node in definition.body:  # type: ignore[attr-defined] # a class
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            first = last = node.lineno
            while lines[first - 2].lstrip().startswith("#"):
                first -= 1
            last = node.end_lineno or last
            told = [comments[line] for line in range(first, last + 1) if line in comments]
            found[node.target.id] = " ".join(told)
    return found


def _rows(prefix: str, part: type[Any]) -> Iterator[str]:
    comments = read_comments(part)
    for name, field in TypeAdapter(part).json_schema()["properties"].items():
        if "$ref" in json.dumps(field):  # a part of its own
            continue
        default = f"`{json.dumps(field['default'])}`" if "default" in field else "required"
        yield f"| `{prefix}{name}` | {_values(field)} | {default} | {comments[name]} |\n"


def _values(field: Mapping[str, Any]) -> str:
    """Return what a JSON Schema lets a setting be."""
    if "anyOf" in field:
        return " or ".join(_values(one) for one in field["anyOf"])
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field["type"] == "null":
        return "`null`"
    if field["type"] == "array":
        return f"list of {_KINDS[field['items']['type']]}s".replace("texts", "text")
    bounds = [f"{words} {field[key]:g}" for key, words in _BOUNDS.items() if key in field]
    return ", ".join([_KINDS[field["type"]], *bounds])


if __name__ == "__main__":
    main()
