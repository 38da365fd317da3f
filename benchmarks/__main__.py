"""`python -m benchmarks NAME [--quick] [--out DIRECTORY]`, or a group of them; see README.md."""

import json
import signal
from collections.abc import Callable, Mapping, Sequence
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
    decode_budget,
    diarization,
    fairness,
    gate,
    graph_overhead,
    http_load,
    hub_cache,
    huge_pages,
    long_file,
    memory,
    overload,
    peers,
    random_model,
    servers,
    slow_clients,
    soak,
    tables,
    throughput,
    timestamps_cost,
    two_nodes,
    window_fit,
)
from benchmarks.gpu import run as gpu
from benchmarks.in_turn import run_in_turn
from benchmarks.measured import RESULTS
from benchmarks.results import Report
from benchmarks.stages import run as stages

LIMIT_S = 3600.0  # of one benchmark

Run = Callable[..., None]

# In the order in which a group runs them: what takes longest comes last.
BENCHMARKS: Mapping[str, tuple[Run, str | None]] = {
    "gate": (gate.run, gate.__doc__),
    "autoscaling": (autoscaling.run, autoscaling.__doc__),
    "window_fit": (window_fit.run, window_fit.__doc__),
    "throughput": (throughput.run, throughput.__doc__),
    "decode_budget": (decode_budget.run, decode_budget.__doc__),
    "huge_pages": (huge_pages.run, huge_pages.__doc__),
    "timestamps_cost": (timestamps_cost.run, timestamps_cost.__doc__),
    "stages": (stages.run, stages.__doc__),
    "graph_overhead": (graph_overhead.run, graph_overhead.__doc__),
    "http_load": (http_load.run, http_load.__doc__),
    "diarization": (diarization.run, diarization.__doc__),
    "peers": (peers.run, peers.__doc__),
    "long_file": (long_file.run, long_file.__doc__),
    "fairness": (fairness.run, fairness.__doc__),
    "slow_clients": (slow_clients.run, slow_clients.__doc__),
    "dataset": (dataset.run, dataset.__doc__),
    "overload": (overload.run, overload.__doc__),
    "containers": (containers.run, containers.__doc__),
    "memory": (memory.run, memory.__doc__),
    "servers": (servers.run, servers.__doc__),
    "two_nodes": (two_nodes.run, two_nodes.__doc__),
    "chaos": (chaos.run, chaos.__doc__),
    "soak": (soak.run, soak.__doc__),
    "gpu": (gpu.run, gpu.__doc__),
}
RELIABILITY = frozenset(
    {
        *("autoscaling", "chaos", "containers", "dataset", "fairness"),
        *("memory", "overload", "slow_clients", "soak"),
    }
)
APART = frozenset(
    {"gpu", "servers", "two_nodes"}
)  # in no group: they need what not every machine has
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
    "throughput": throughput.OPTIONS,
    "http_load": http_load.OPTIONS,
    "servers": servers.OPTIONS,
    "diarization": diarization.OPTIONS,
    "peers": peers.OPTIONS,
    "long_file": long_file.OPTIONS,
    "fairness": fairness.OPTIONS,
    "overload": overload.OPTIONS,
    "containers": containers.OPTIONS,
    "memory": memory.OPTIONS,
    "two_nodes": two_nodes.OPTIONS,
    "chaos": chaos.OPTIONS,
    "soak": soak.OPTIONS,
    "gpu": gpu.OPTIONS,
}
GROUPS = {
    "all": (
        [name for name in BENCHMARKS if name not in RELIABILITY | APART],
        "Run what measures speed, where there is no result of this commit; go on after failures.",
    ),
    "reliability": (
        [name for name in BENCHMARKS if name in RELIABILITY],
        "Run the long ones about changing load, faults, memory and hostile input, as `all` does.",
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


def _run_group(names: Sequence[str], *, quick: bool, again: bool, out: Path) -> None:
    plan = {name: {**_default_settings(name), "quick": quick} for name in names}
    if failed := run_in_turn(plan, out, quick=quick, again=again):
        raise click.ClickException(f"Failed: {', '.join(failed)}")


def _default_settings(name: str) -> dict[str, Any]:
    """Return what a benchmark is asked to do where nothing is said, as its result file has it."""
    settings = main.commands[name].make_context(name, []).params
    for of_the_run in ("out", "limit_s"):
        del settings[of_the_run]
    plain: dict[str, Any] = json.loads(json.dumps(settings, default=str))
    return plain


for _name, (_names, _help) in GROUPS.items():
    main.add_command(
        click.Command(
            _name,
            callback=partial(_run_group, _names),
            params=[
                OPTIONS[0],
                click.Option(["--again"], is_flag=True, help="Also what has a result already."),
                OPTIONS[1],
            ],
            help=_help,
        )
    )


main.add_command(tables.command)


@main.command("hub_cache")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def _hub_cache(directory: Path) -> None:
    """Write the demo model as Hugging Face's cache has it, and print its id and where it lies."""
    click.echo(f"{hub_cache.MODEL_ID} {hub_cache.write_hub_cache(directory)}")


@main.command("random_model")
@click.argument("shape", type=click.Choice(list(random_model.SHAPES)))
@click.option("--quantization", default="int8", show_default=True)
def _random_model(shape: str, quantization: str) -> None:
    """Write a model of that shape with random weights, and print where it lies."""
    click.echo(random_model.random_model(shape, quantization=quantization))


if __name__ == "__main__":
    main()
