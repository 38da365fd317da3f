"""Tables in Markdown whose figures come from result files, and their places in a text.

A table's place is between `<!-- table:NAME -->` and `<!-- /table -->`. Needs no Ray.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.measured import Measured

Latest = Mapping[str, Measured]  # the latest run of each benchmark, by its name

_PLACE = re.compile(r"(<!-- table:(\w+) -->\n).*?(<!-- /table -->)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A figure of a result file, and what it is.

    `figure` is a template of `str.format`, or a function of the file. A template sees the figures
    of the first row with those of `where`, and beside them `bar` and `settings` of the file.
    """

    what: str  # for readers who have not seen the benchmark
    source: str  # the benchmark's name
    figure: str | Callable[[Measured], str]
    where: Mapping[str, Any] = field(default_factory=dict)
    bar: str = ""  # a part of the name of the bar that the figure is held against
    unit: str = ""  # of the bar; %: the bar is a share
    command: str = ""  # what measures it; empty: `python -m benchmarks SOURCE`

    def read(self, measured: Measured) -> str:
        """Return the figure as it stands in a file.

        Raises:
            LookupError: the file has no such row, figure or bar.
        """
        if callable(self.figure):
            return self.figure(measured)
        return self.figure.format_map(
            {
                **measured.row(**self.where),
                "bar": measured.bar(self.bar) if self.bar else None,
                "settings": measured.settings,
            }
        )


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """A published figure of another system, and this project's of the same work."""

    system: str
    work: str
    hardware: str
    published: str
    source: str  # where it was published, a link
    ours: Row | None = None  # None: no benchmark of this project measured the same yet


def figures_table(rows: Sequence[Row], files: Latest) -> str:
    """Return a table of this project's figures, and the links to their files."""
    lines = ["| What | Figure | Aim | Measured on |", "|---|---|---|---|"]
    lines += [
        f"| {row.what} | {_figure(row, files)} | {_aim(row, files)} | {_hardware(row, files)} |"
        for row in rows
    ]
    return "\n".join([*lines, *_links(rows, files)]) + "\n"


def anchors_table(anchors: Sequence[Anchor], files: Latest) -> str:
    """Return a table of other systems' figures with this project's beside them."""
    lines = ["| System | Work | Hardware | Published | serve_app |", "|---|---|---|---|---|"]
    lines += [
        f"| {a.system} | {a.work} | {a.hardware} | [{a.published}]({a.source}) "
        f"| {_figure(a.ours, files) if a.ours and a.ours.source in files else 'not measured'} |"
        for a in anchors
    ]
    rows = [anchor.ours for anchor in anchors if anchor.ours]
    return "\n".join([*lines, *_links(rows, files)]) + "\n"


def fill(text: str, tables: Mapping[str, str]) -> str:
    """Put the tables into their places in a text.

    Raises:
        LookupError: a table has no place in the text, or a place no table.
    """
    places = [found[2] for found in _PLACE.finditer(text)]
    if sorted(places) != sorted(tables):
        raise LookupError(f"the text has places for {places}, and the tables are {list(tables)}")
    return _PLACE.sub(lambda found: found[1] + tables[found[2]] + found[3], text)


def _figure(row: Row, files: Latest) -> str:
    if row.source not in files:
        return f"not measured: `{row.command or f'python -m benchmarks {row.source}'}`"
    try:
        return f"[{row.read(files[row.source])}][{row.source}]"
    except LookupError as error:
        raise LookupError(f"the row '{row.what or row.source}': {error}") from error


def _aim(row: Row, files: Latest) -> str:
    if not row.bar or row.source not in files:
        return ""
    bar = files[row.source].bar(row.bar)
    sign = "at least " if bar["at_least"] else "at most " if bar["limit"] else ""
    share = row.unit == "%"
    limit = f"{bar['limit']:.0%}" if share else f"{bar['limit']:.4g} {row.unit}".rstrip()
    return f"{sign}{limit}" + ("" if bar["met"] else ": missed")


def _hardware(row: Row, files: Latest) -> str:
    if row.source not in files:
        return ""
    machine = files[row.source].content["machine"]
    if machine.get("gpu"):
        return str(machine["gpu"])
    parts = (machine["cpu"], f"{machine['cores']} cores", machine.get("instructions"))
    return ", ".join(part for part in parts if part)


def _links(rows: Iterable[Row], files: Latest) -> list[str]:
    """Return what the links of a table stand for, once for each file."""
    sources = dict.fromkeys(row.source for row in rows if row.source in files)
    links = [f"[{s}]: benchmarks/results/{files[s].path.name}" for s in sources]
    return ["", *links] if links else []
