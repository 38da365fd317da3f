"""`python -m benchmarks NAME [--quick] [--out DIRECTORY]`, or `all`, or `random_model SHAPE`."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import click

from benchmarks import (
    autoscaling,
    chaos,
    containers,
    dataset,
    diarization,
    fairness,
    gate,
    graph_overhead,
    huge_pages,
    long_file,
    memory,
    overload,
    random_model,
    slow_clients,
    soak,
    timestamps_cost,
    window_fit,
)
from benchmarks.results import Report, current_commit, say
from serve_app.settings import AudioSettings

RESULTS = Path(__file__).parent / "results"
LIMIT_S = 3600.0  # of one benchmark

Run = Callable[..., None]

# In the order of `all`: what takes longest comes last.
BENCHMARKS: Mapping[str, tuple[Run, str | None]] = {
    "containers": (containers.run, containers.__doc__),
    "gate": (gate.run, gate.__doc__),
    "autoscaling": (autoscaling.run, autoscaling.__doc__),
    "window_fit": (window_fit.run, window_fit.__doc__),
    "huge_pages": (huge_pages.run, huge_pages.__doc__),
    "timestamps_cost": (timestamps_cost.run, timestamps_cost.__doc__),
    "graph_overhead": (graph_overhead.run, graph_overhead.__doc__),
    "diarization": (diarization.run, diarization.__doc__),
    "dataset": (dataset.run, dataset.__doc__),
    "long_file": (long_file.run, long_file.__doc__),
    "fairness": (fairness.run, fairness.__doc__),
    "memory": (memory.run, memory.__doc__),
    "slow_clients": (slow_clients.run, slow_clients.__doc__),
    "overload": (overload.run, overload.__doc__),
    "chaos": (chaos.run, chaos.__doc__),
    "soak": (soak.run, soak.__doc__),
}
APART = frozenset({"chaos", "soak"})  # half an hour each: not among `all`
OPTIONS = (
    click.Option(["--quick"], is_flag=True, help="A short form, to see that it runs."),
    click.Option(
        ["--out"],
        type=click.Path(path_type=Path, file_okay=False),
        default=RESULTS,
        show_default=True,
    ),
    click.Option(["--limit-s"], type=float, default=LIMIT_S, help="Give up after so long."),
)
OWN_OPTIONS = {
    "containers": (
        click.Option(["--cases"], type=int, default=40_000, show_default=True),
        click.Option(["--first"], type=int, default=0, help="Number of the first mutant."),
    ),
    "overload": (click.Option(["--minutes"], type=float, default=2.0, show_default=True),),
    "soak": (click.Option(["--minutes"], type=float, default=30.0, show_default=True),),
    "chaos": (
        click.Option(["--times"], type=int, default=20, show_default=True, help="Of each fault."),
        click.Option(
            ["--only"],
            type=click.Choice([trial.name for trial in chaos.TRIALS]),
            multiple=True,
            help="May be given several times.",
        ),
    ),
    "memory": (
        click.Option(["--hours"], type=float, default=10.0, show_default=True, help="Of the file."),
    ),
    "fairness": (
        click.Option(
            ["--max-batch-size"],
            type=int,
            multiple=True,
            default=[1],
            show_default=True,
            help="Chunks; may be given several times.",
        ),
        click.Option(
            ["--slice-s"],
            type=float,
            default=AudioSettings().slice_s,
            show_default=True,
            help="How much of the long file is decoded at a time.",
        ),
    ),
}


@click.group()
def main() -> None:
    """Measure serve_app; results/ gets a JSON file per run. README.md says what figures mean."""


def _measure(what: str, run: Run, *, out: Path, limit_s: float, **settings: Any) -> None:
    """Run one benchmark within its time limit and write its report."""

    def give_up(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"{what} took longer than {limit_s:.0f} s")

    report = Report(what, out, settings)
    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        run(report, **settings)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    report.finish()


for _name, (_run, _help) in BENCHMARKS.items():
    main.add_command(
        click.Command(
            _name,
            callback=partial(_measure, _name, _run),
            params=[*OPTIONS, *OWN_OPTIONS.get(_name, ())],
            help=_help,
        )
    )


@main.command("all")
@click.option("--quick", is_flag=True, help="The short forms.")
@click.option("--again", is_flag=True, help="Also what has a result of this commit already.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=RESULTS,
    show_default=True,
)
def _all(quick: bool, again: bool, out: Path) -> None:
    """Run all but chaos and soak, where there is no result of this commit; go on after failures."""
    failed = []
    for name in BENCHMARKS:
        if name in APART:
            continue
        if not again and _is_done(name, out, quick=quick):
            say(f"{name}: done already")
            continue
        say(f"{name}: begins")
        command = [sys.executable, "-m", "benchmarks", name, "--out", str(out)]
        ended = subprocess.run(command + ["--quick"] * quick, check=False)
        if ended.returncode:
            failed.append(name)
    if failed:
        raise click.ClickException(f"Failed: {', '.join(failed)}")


@main.command("random_model")
@click.argument("shape", type=click.Choice(list(random_model.SHAPES)))
@click.option("--quantization", default="int8", show_default=True)
def _random_model(shape: str, quantization: str) -> None:
    """Write a model of that shape with random weights, and print where it lies."""
    click.echo(random_model.random_model(shape, quantization=quantization))


def _is_done(name: str, out: Path, *, quick: bool) -> bool:
    """Tell whether there is a complete result of the code as it stands."""
    for path in out.glob(f"*-{name}.json"):
        content = json.loads(path.read_text())
        same = content["commit"] == current_commit() and not content["commit"]["dirty"]
        if content["complete"] and same and content["settings"]["quick"] == quick:
            return True
    return False


if __name__ == "__main__":
    main()
