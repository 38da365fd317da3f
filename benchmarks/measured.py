"""The result files as they are read back: what was measured, when, how long it took.

For the tables of README and for the benchmarks that run in turn; needs neither Ray nor a plot.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """One result file."""

    path: Path
    content: Mapping[str, Any]

    @property
    def what(self) -> str:
        """Return the benchmark's name."""
        return str(self.content["what"])

    @property
    def began(self) -> datetime:
        """Return when the run began."""
        return datetime.fromisoformat(self.content["began"])

    @property
    def took_s(self) -> float:
        """Return how long the run took, in seconds."""
        return float(self.content["took_s"])

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return what the run was asked to do."""
        settings: Mapping[str, Any] = self.content["settings"]
        return settings

    @property
    def is_whole(self) -> bool:
        """Tell whether the run came to its end."""
        return bool(self.content["complete"])

    @property
    def is_quick(self) -> bool:
        """Tell whether it was a short form, whose figures mean nothing."""
        return bool(self.settings.get("quick"))

    def row(self, **where: Any) -> Mapping[str, Any]:
        """Return the first row with these figures.

        Raises:
            LookupError: there is none.
        """
        return self.rows(**where)[0]

    def rows(self, **where: Any) -> Sequence[Mapping[str, Any]]:
        """Return the rows with these figures.

        Raises:
            LookupError: there is none.
        """
        rows: Sequence[Mapping[str, Any]] = self.content["rows"]
        found = [row for row in rows if all(row.get(key) == v for key, v in where.items())]
        if not found:
            raise LookupError(f"{self.path.name} has no row with {where}")
        return found

    def bar(self, part: str) -> Mapping[str, Any]:
        """Return the one bar in whose name the part stands.

        Raises:
            LookupError: there is none, or several.
        """
        bars: Sequence[Mapping[str, Any]] = self.content["bars"]
        found = [bar for bar in bars if part in bar["name"]]
        if len(found) != 1:
            raise LookupError(f"{self.path.name} has {len(found)} bars with {part!r}")
        return found[0]


def read(folder: Path = RESULTS) -> list[Measured]:
    """Read the result files of a folder, the oldest run first."""
    files = [Measured(path=p, content=json.loads(p.read_text())) for p in folder.glob("*.json")]
    return sorted(files, key=lambda measured: measured.began)


def latest(files: Iterable[Measured], *, quick: bool = False) -> dict[str, Measured]:
    """Return the latest whole run of each benchmark, by its name.

    Args:
        files: in the order of their runs.
        quick: of the short forms, instead of the others.
    """
    return {m.what: m for m in files if m.is_whole and m.is_quick == quick}
