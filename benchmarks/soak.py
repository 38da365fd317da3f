"""Half an hour at 70 % of what the graph can do, with a fault every minute and some bad input."""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import click
import numpy as np
import requests

from benchmarks import faults
from benchmarks.chaos import (
    INGRESS,
    N_UTTERANCES,
    PREPROCESSOR,
    STOCK,
    TRANSCRIBER,
    replicated,
    utterances_of,
)
from benchmarks.drift import Watch, drifts, lives, watched
from benchmarks.faults import Replicas
from benchmarks.graph import Graph, deploy, running_graph
from benchmarks.load import Load
from benchmarks.local import embedded_workpiece
from benchmarks.overload import find_peak
from benchmarks.periodic import every
from benchmarks.results import Bar, Report, say
from benchmarks.utterances import Utterance
from tests.clips import digits, encode, silence

SHARE = 0.7  # of the peak
FAULT_EVERY_S = 60.0
# As Prometheus does: Ray's exporter keeps more of every replica that ends where its page is read.
SCRAPE_EVERY_S = 15.0
BAD_EVERY = 100  # one of so many requests is no audio
N_LEAVING = 20  # clients that leave early, one after the other
# Behind so many clips comes one that is that much longer, as are those of the clients that leave
# early: what a process has seen in its first minutes is what it sees later.
LONG_EVERY, SILENCE_S = 8, 15.0
# What a process may use more late. gRPC keeps the threads that it started for calls at one time.
LIMITS = {"memory": 0.02, "n_files": 5, "n_threads": 5}
# Ray's keeps the log of every worker that ever was open, until there are so many.
LOG_MONITOR, LOG_MONITOR_FILES = "log_monitor.py", 200
# Chunks. CTranslate2 keeps the memory of the largest batch it had: one of that size must come
# early in a replica's life, or what follows looks like a leak. So another size is for a while only.
MAX_BATCH_SIZE = 4
CHANGED_S = 10.0
N_REPLICAS = 2
# All faults are planted so often before the clock starts: Ray's raylet grows by 0.3 MB with each
# of the first deaths, and by less after about ten.
N_ROUNDS_BEFORE = 2
OPTIONS = (click.Option(["--minutes"], type=float, default=30.0, show_default=True),)


Plant = Callable[[Graph, np.random.Generator], object]


def run(report: Report, *, quick: bool, minutes: float) -> None:
    """Load the graph for so long, plant the faults in turn, watch the processes; write the report.

    Args:
        report: gets a row for each fault and for each process.
        quick: two minutes, a fault every 15 s.
        minutes: how long.
    """
    soak_s, every_s = (120.0, 15.0) if quick else (minutes * 60, FAULT_EVERY_S)
    with running_graph(_args(), _deployments(MAX_BATCH_SIZE)) as graph:
        short = utterances_of(graph, {}, n=24 if quick else N_UTTERANCES)
        long = utterances_of(graph, {}, silence_s=SILENCE_S, n=len(short) // LONG_EVERY)
        good = _mixed(short, long)
        peak = find_peak(report, graph, good, took_s=10.0 if quick else 30.0)
        with every(SCRAPE_EVERY_S, lambda: _scrape(graph)):
            if not quick:
                _plant_before(graph, good, SHARE * peak)
            load = Load(graph.url, _with_bad_input(good), STOCK)  # its clock begins here
            say(f"{SHARE * peak:.1f} requests/s for {soak_s / 60:.0f} minutes")
            with watched() as watch, load.open_loop(SHARE * peak):
                _plant_in_turn(report, graph, load, soak_s=soak_s, every_s=every_s)
    figures: dict[str, Any] = load.figures()
    report.add(phase="soak", offered_per_s=SHARE * peak, **figures)
    for what in ("refused", "failed", "lost", "mixed"):
        report.hold(Bar(name=what, value=figures[what], limit=0))
    # Warm is who has met each kind of fault; judged is who was there for as long again.
    turn_s = len(FAULTS) * every_s
    at_least_s = min(2 * turn_s, soak_s / 2)
    _hold_drift(report, watch, at_least_s=at_least_s, warm_up_s=turn_s)
    _plot(report, watch, at_least_s=at_least_s)


def _scrape(graph: Graph) -> None:
    # A gap where it fails, as Prometheus would have one: an Ingress was killed.
    with suppress(requests.RequestException):
        requests.get(f"{graph.url}/metrics", timeout=SCRAPE_EVERY_S)


def _args() -> Mapping[str, Any]:
    return embedded_workpiece(threads=1).args


def _deployments(max_batch_size: int) -> list[dict[str, Any]]:
    return replicated(N_REPLICAS, max_batch_size=max_batch_size)


def _kill(deployment: str) -> Plant:
    replicas = Replicas(deployment=deployment, n=N_REPLICAS)
    return lambda _, rng: faults.kill_replica(replicas, rng)


def _hang(_: Graph, rng: np.random.Generator) -> float:
    return faults.hang_replica(Replicas(deployment=TRANSCRIBER, n=N_REPLICAS), rng, hung_s=0)


def _leave_early(graph: Graph, rng: np.random.Generator) -> None:
    clip = encode(np.concatenate([digits("735"), silence(SILENCE_S)]))
    faults.leave_early(graph.url, clip, N_LEAVING, rng)


def _change_batches(_: Graph, rng: np.random.Generator) -> None:
    deploy(_args(), _deployments(int(rng.integers(1, MAX_BATCH_SIZE))))
    time.sleep(CHANGED_S)
    deploy(_args(), _deployments(MAX_BATCH_SIZE))


FAULTS: Mapping[str, Plant] = {
    "transcriber killed": _kill(TRANSCRIBER),
    "clients left early": _leave_early,
    "preprocessor killed": _kill(PREPROCESSOR),
    "user_config changed": _change_batches,
    "ingress killed": _kill(INGRESS),
    "transcriber hung": _hang,
    "controller killed": lambda *_: faults.kill_process(faults.CONTROLLER),
}


def _plant_before(graph: Graph, good: Sequence[Utterance], per_s: float) -> None:
    """Plant all faults some times in a row, under a load that is not counted."""
    rng = np.random.default_rng(1)
    plan = list(FAULTS.items()) * N_ROUNDS_BEFORE
    with Load(graph.url, good, STOCK).open_loop(per_s):
        for i, (name, plant) in enumerate(plan, 1):
            plant(graph, rng)
            say(f"before the clock starts: {name}, {i} of {len(plan)}")


def _plant_in_turn(
    report: Report, graph: Graph, load: Load, *, soak_s: float, every_s: float
) -> None:
    """Plant a fault every so many seconds, none in the last stretch, and tell how far it is."""
    rng = np.random.default_rng(0)
    planned_s = np.arange(every_s, soak_s - every_s / 2, every_s)
    for at_s, (name, plant) in zip(planned_s, itertools.cycle(FAULTS.items()), strict=False):
        time.sleep(max(0.0, at_s - load.now_s()))
        began_s = load.now_s()
        plant(graph, rng)
        took_s = load.now_s() - began_s
        report.add(fault=name, at_s=began_s, whole_after_s=took_s, **load.counts_so_far())
        say(f"{(soak_s - load.now_s()) / 60:.1f} minutes left")
    time.sleep(max(0.0, soak_s - load.now_s()))


def _mixed(short: Sequence[Utterance], long: Sequence[Utterance]) -> list[Utterance]:
    """Put a long clip behind each LONG_EVERY short ones."""
    longs = itertools.cycle(long)
    pairs = (
        (clip, next(longs)) if n % LONG_EVERY == 0 else (clip,) for n, clip in enumerate(short, 1)
    )
    return [clip for pair in pairs for clip in pair]


def _with_bad_input(good: Sequence[Utterance]) -> list[Utterance]:
    """Return the clips over and over, with what is no audio in between."""
    rng = np.random.default_rng(0)
    bad = [b"", b"these are words, not sounds", rng.bytes(5000), good[0].audio[:200]]
    clips = itertools.cycle(good)
    return [
        Utterance(audio=bad[i // BAD_EVERY % len(bad)], text=None)
        if i % BAD_EVERY == BAD_EVERY // 2
        else next(clips)
        for i in range(len(bad) * BAD_EVERY)
    ]


def _hold_drift(report: Report, watch: Watch, *, at_least_s: float, warm_up_s: float) -> None:
    """Hold what the processes and the temporary directory grew by against the limits."""
    for drift in drifts(watch.samples, at_least_s=at_least_s, warm_up_s=warm_up_s):
        report.add(**vars(drift))
        limits = {**LIMITS, "n_files": LOG_MONITOR_FILES} if drift.name == LOG_MONITOR else LIMITS
        for what, limit in limits.items():
            value = getattr(drift, what)
            report.hold(Bar(name=f"{drift.name} {drift.pid}: {what}", value=value, limit=limit))
    n = watch.n_temporary_files
    report.hold(Bar(name="temporary files", value=n["after"] - n["before"], limit=0))


def _plot(report: Report, watch: Watch, *, at_least_s: float) -> None:
    """Draw the memory of the processes that were there for so long, over time."""
    with report.plot() as (ax,):
        for (name, pid), life in lives(watch.samples, at_least_s=at_least_s).items():
            minutes = [at_s / 60 for at_s, _ in life]
            ax.plot(minutes, [used.uss_bytes / 1e6 for _, used in life], label=f"{name} {pid}")
        ax.set(xlabel="minutes", ylabel="USS, MB", ylim=(0, None))
        ax.legend(fontsize="xx-small", ncols=2)
