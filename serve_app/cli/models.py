"""`serve-app models`: which models there are, and those on this machine."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from serve_app import conversion
from serve_app import models as registry
from serve_app.errors import TranscriptionError
from serve_app.settings import EMBEDDED

# OpenAI published Whisper's weights under it, and Hugging Face the distilled ones; a conversion to
# CTranslate2 is a copy of them.
LICENCE_OF_SIZES = "MIT"
UNKNOWN = "not told; see its card"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the list."""

    name: str
    source: str
    size: str  # on this machine; - where it is not
    licence: str


@click.group()
def models() -> None:
    """List, download, remove and convert models."""


@models.command("list")
def list_models() -> None:
    """List the sizes that have a short name, and whatever else is in the cache."""
    rows = [Row(name="NAME", source="SOURCE", size="HERE", licence="LICENCE"), *_rows()]
    widths = [
        max(len(value) for value in column) for column in zip(*map(_values, rows), strict=True)
    ]
    for row in rows:
        cells = [value.ljust(width) for value, width in zip(_values(row), widths, strict=True)]
        click.echo("  ".join(cells).rstrip())


@models.command()
@click.argument("source")
@click.option("--revision", help="Branch, tag or commit.")
def download(source: str, revision: str | None) -> None:
    """Download SOURCE, a size or a Hugging Face id, into the Hugging Face cache."""
    try:
        directory = registry.locate_model(source, revision)
    except TranscriptionError as error:
        raise click.ClickException(error.message) from None
    click.echo(directory)


@models.command()
@click.argument("source")
def remove(source: str) -> None:
    """Delete SOURCE, a size or a Hugging Face id, from the Hugging Face cache."""
    try:
        registry.delete_cached(source, ())
    except TranscriptionError as error:
        raise click.ClickException(error.message) from None
    except OSError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{source} is deleted.")


@models.command()
@click.argument("source")
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--quantization",
    type=click.Choice(conversion.QUANTIZATIONS),
    default="float16",
    help="The type in which the weights are stored; absent: float16.",
)
@click.option(
    "--lora",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Merge this PEFT adapter first.",
)
def convert(source: str, output: Path, quantization: str, lora: Path | None) -> None:
    """Convert SOURCE, a Whisper checkpoint of transformers (directory or id), into OUTPUT.

    Needs the extra: pip install 'serve_app[convert]'. OUTPUT can then be served: name it as the
    `source` of a model in a profile.
    """
    checkpoint = conversion.Checkpoint(source=source, lora=lora)
    try:
        made = conversion.convert(checkpoint, output, quantization=quantization)
    except TranscriptionError as error:
        raise click.ClickException(error.message) from None
    click.echo(made)


def _values(row: Row) -> tuple[str, str, str, str]:
    return row.name, row.source, row.size, row.licence


def _rows() -> Iterator[Row]:
    embedded = registry.locate_model(EMBEDDED)
    n_bytes = sum(path.stat().st_size for path in embedded.iterdir())
    yield Row(
        name=EMBEDDED,
        source="this package",
        size=_size(n_bytes),
        licence=licence(embedded, EMBEDDED),
    )
    cached = {model.source: model for model in registry.cached_models()}
    for name, repo_id in registry.SIZES.items():
        yield _row(name, repo_id, cached.get(repo_id))
    for repo_id, model in cached.items():
        if repo_id not in registry.SIZES.values():
            yield _row("-", repo_id, model)


def _row(name: str, source: str, cached: registry.CachedModel | None) -> Row:
    size = "-"
    if cached:
        size = _size(cached.n_bytes) if cached.is_whole else f"{_size(cached.n_bytes)}, incomplete"
    directory = cached.directory if cached else None
    return Row(name=name, source=source, size=size, licence=licence(directory, source))


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.0f} MB"


def licence(directory: Path | None, source: str) -> str:
    """Return a model's licence: as its card says, or of the weights it was made from.

    Args:
        directory: of its files; None: they are not here.
        source: its Hugging Face id, or `embedded`.
    """
    card = directory / "README.md" if directory else None
    if card and card.is_file():
        text = card.read_text(encoding="utf-8", errors="replace")
        head = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
        told = head and re.search(r"^license(?:_name)?: *(\S+)", head[1], re.MULTILINE)
        if told:
            return told[1].strip("'\"")
    return LICENCE_OF_SIZES if source in (EMBEDDED, *registry.SIZES.values()) else UNKNOWN
