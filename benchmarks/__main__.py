"""`python -m benchmarks NAME [--quick] [--out DIRECTORY]`."""

import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import click

from benchmarks import gate
from benchmarks.results import Report

RESULTS = Path(__file__).parent / "results"


@click.group()
def main() -> None:
    """Measure serve_app; results/ gets a JSON file per run. README.md says what figures mean."""


def _common(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that all benchmarks share."""
    options = [
        click.option("--quick", is_flag=True, help="A form of seconds, to see that it runs."),
        click.option(
            "--out",
            type=click.Path(path_type=Path, file_okay=False),
            default=RESULTS,
            show_default=True,
        ),
        click.option("--limit-s", type=float, default=3600, help="Give up after so long."),
    ]
    for option in options:
        command = option(command)
    return command


def _measure(what: str, run: Callable[..., None], *, limit_s: float, **settings: Any) -> None:
    """Run one benchmark within its time limit and write its report."""

    def give_up(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"{what} took longer than {limit_s:.0f} s")

    out = settings.pop("out")
    report = Report(what, out, settings)
    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        run(report, **settings)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    report.finish()


@main.command("gate")
@_common
def _gate(**options: Any) -> None:
    """Batch sizes and latencies of the gate, with an engine that sleeps."""
    _measure("gate", gate.run, **options)


if __name__ == "__main__":
    main()
