"""What every benchmark ends with: statistics, bars, a table, a JSON file and a plot.

A `Report` is written after each point, so that a run that is cut short keeps what it measured;
`complete` in the file says whether it came to its end.
"""

import itertools
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

ROOT = Path(__file__).parent.parent
PACKAGES = ("ray", "ctranslate2", "faster-whisper", "av", "numpy", "onnxruntime")
EXTRAS = ("torch", "transformers", "openai-whisper")  # that some benchmarks need

# By the flag in /proc/cpuinfo, the widest first: machines of one name differ in them.
INSTRUCTIONS = {
    "amx_int8": "AMX",
    "avx512_vnni": "AVX-512 with VNNI",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX2 with VNNI",
    "avx2": "AVX2",
}

Figures = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A figure and the limit it is held against."""

    name: str
    value: float
    limit: float
    at_least: bool = False  # else: at most

    @property
    def met(self) -> bool:
        """Tell whether the figure is on the right side of its limit."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        verdict = "ok" if self.met else "MISSED"
        return f"{verdict:6} {self.name}: {self.value:.4g} {sign} {self.limit:.4g}"


class Report:
    """The result file of one run."""

    def __init__(
        self, what: str, out: Path, settings: Figures, *, command: str | None = None
    ) -> None:
        """Make a report.

        Args:
            what: the benchmark's name.
            out: the directory for the file and its plots.
            settings: what the run was asked to do.
            command: what repeats it; None: the command line of `python -m benchmarks`.
        """
        name = f"{datetime.now(UTC):%Y-%m-%d}-{machine_slug()}-{what}"
        self.path = out / f"{name}.json"
        self._head: dict[str, Any] = {
            "what": what,
            "began": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": command or _command(sys.argv[1:]),
            "commit": current_commit(),
            "machine": _machine(),
            "versions": {"python": platform.python_version(), **_versions()},
            "settings": dict(settings),
        }
        self._began_s = time.monotonic()
        self.rows: list[dict[str, Any]] = []
        self.bars: list[Bar] = []
        self.notes: list[str] = []

    def go_on(self) -> None:
        """Keep what the last run's file has; say in this one's which run that was."""
        files = sorted(self.path.parent.glob(f"*-{machine_slug()}-{self._head['what']}.json"))
        if not files:
            return
        earlier = json.loads(files[-1].read_text())
        self.rows = earlier["rows"]
        self.bars = [Bar(**{k: v for k, v in b.items() if k != "met"}) for b in earlier["bars"]]
        self.notes = earlier["notes"]
        kept = {key: earlier[key] for key in ("began", "took_s", "command", "commit", "settings")}
        self._head["earlier"] = [*earlier.get("earlier", []), kept]

    def add(self, **figures: Any) -> None:
        """Add a row, print it and write the file."""
        self.rows.append(figures)
        say("  " + "  ".join(f"{key}={_short(value)}" for key, value in figures.items()))
        self._write(complete=False)

    def hold(self, bar: Bar) -> None:
        """Add a bar and print whether it is met."""
        self.bars.append(bar)
        say(str(bar))

    def note(self, text: str) -> None:
        """Add a sentence that a reader of the figures must know."""
        self.notes.append(text)
        say(f"note: {text}")

    def finish(self) -> None:
        """Write the file for the last time."""
        self._write(complete=True)
        n_missed = sum(not bar.met for bar in self.bars)
        say(f"{len(self.bars) - n_missed} of {len(self.bars)} bars met; {self.path}")

    @contextmanager
    def plot(self, suffix: str = "", *, n_axes: int = 1) -> "Iterator[Sequence[Axes]]":
        """Draw on axes side by side; the picture lies beside the JSON file."""
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt

        figure, axes = plt.subplots(1, n_axes, figsize=(5.5 * n_axes, 4.2), squeeze=False)
        yield list(axes[0])
        for ax in axes[0]:
            ax.grid(alpha=0.3)
        figure.tight_layout()
        figure.savefig(self.path.with_name(f"{self.path.stem}{suffix}.png"), dpi=110)
        plt.close(figure)

    def _write(self, *, complete: bool) -> None:
        content = {
            **self._head,
            "took_s": round(time.monotonic() - self._began_s, 1),
            "complete": complete,
            "bars": [{**asdict(bar), "met": bar.met} for bar in self.bars],
            "notes": self.notes,
            "rows": self.rows,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".tmp")
        unfinished.write_text(json.dumps(content, indent=1, default=_plain) + "\n")
        unfinished.rename(self.path)


def say(text: str) -> None:
    """Print a line of progress with the time of day."""
    click.echo(f"[{datetime.now(UTC):%H:%M:%S}] {text}")


def percentiles(values_s: Sequence[float]) -> dict[str, float]:
    """Return p50, p95 and p99 in seconds; NaN where there are no values."""
    if not len(values_s):
        return dict.fromkeys(("p50_s", "p95_s", "p99_s"), float("nan"))
    found = np.percentile(values_s, [50, 95, 99])
    return {key: float(v) for key, v in zip(("p50_s", "p95_s", "p99_s"), found, strict=True)}


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return the median, the extremes and the values themselves."""
    return {
        "median": float(np.median(values)),
        "min": min(values),
        "max": max(values),
        "values": list(values),
    }


def interleave(
    sides: Mapping[str, Callable[[], float]], n_rounds: int, *, warm_up: bool = True
) -> dict[str, list[float]]:
    """Run the sides in turn, A B A B ..., and return what each gave per round.

    Args:
        sides: each returns its figure of one round, such as the seconds it took.
        n_rounds: rounds that count.
        warm_up: run each side once before, uncounted.
    """
    if warm_up:
        for side in sides.values():
            side()
    values: dict[str, list[float]] = {name: [] for name in sides}
    for i in range(n_rounds):
        for name, side in sides.items():
            values[name].append(side())
        latest = "  ".join(f"{name} {v[-1]:.3f}" for name, v in values.items())
        say(f"round {i + 1} of {n_rounds}: {latest}")
    return values


def median_of_ratios(numerators: Iterable[float], denominators: Iterable[float]) -> float:
    """Return the median of the ratios of values measured next to each other."""
    return float(np.median([a / b for a, b in zip(numerators, denominators, strict=True)]))


def seconds(work: Callable[[], object]) -> float:
    """Do the work and return how long it took."""
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def _command(words: Sequence[str]) -> str:
    """Return the command line, less where it writes to: that is the place of one run."""
    kept = [
        word
        for before, word in itertools.pairwise(["", *words])
        if "--out" not in (before, word) and not word.startswith("--out=")
    ]
    return " ".join(["python -m benchmarks", *kept])


def machine_slug() -> str:
    """Return a short name of this machine for file names: its CPU and cores."""
    cpu = re.sub(r"\(.*?\)|CPU|Processor|@.*", "", _cpu_model())
    slug = re.sub(r"[^a-z0-9]+", "-", cpu.lower()).strip("-")
    return f"{slug[:30].strip('-') or 'cpu'}-{os.cpu_count()}c"


def _machine() -> dict[str, Any]:
    return {
        "cpu": _cpu_model(),
        "instructions": _instructions(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_before": os.getloadavg()[0],
        "system": platform.platform(),
    }


def _cpu_model() -> str:
    return _of_cpu("model name") or platform.machine()


def _instructions() -> str | None:
    """Return the widest instructions of a CPU that its int8 products may use; None: not known."""
    flags = _of_cpu("flags").split()
    return next((name for flag, name in INSTRUCTIONS.items() if flag in flags), None)


def _of_cpu(key: str) -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
    found = re.search(rf"^{key}\s*:\s*(.+)", text, re.MULTILINE)
    return found[1].strip() if found else ""


def _versions() -> dict[str, str]:
    found = {name: metadata.version(name) for name in PACKAGES}
    for name in EXTRAS:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def current_commit() -> dict[str, Any]:
    """Return the commit that runs, and whether its code was changed since."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError:  # there is no git here
            return ""
        return answer.stdout.strip()

    code = ("serve_app", "tests", "benchmarks", ":!benchmarks/results")
    return {
        # A copy without history is told by who brought it (gpu_offline.sh).
        "id": git("rev-parse", "HEAD") or os.environ.get("BENCHMARKS_COMMIT", ""),
        "dirty": bool(git("status", "--porcelain", "--", *code)),
    }


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping) and "median" in value:
        return f"{value['median']:.4g} ({value['min']:.4g}..{value['max']:.4g})"
    if isinstance(value, (list, Mapping)):
        return f"<{len(value)} values>"
    return str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value)} cannot be written as JSON")
