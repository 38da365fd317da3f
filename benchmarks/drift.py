"""Whether processes grow: what each used early in its life and late."""

import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from benchmarks import processes
from benchmarks.periodic import every
from benchmarks.processes import Usage

SAMPLE_EVERY_S = 5.0
WARM_UP = 1 / 2  # of the time that a process was watched, at most


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What all processes used at one time."""

    at_s: float
    used: Mapping[tuple[str, int], Usage]  # by name and process id


Life = list[tuple[float, Usage]]  # when, s, and what a process used then


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How much more a process used late than early, medians of thirds after its warm-up."""

    name: str
    pid: int
    watched_s: float
    uss_mb: float  # early
    memory: float  # share of uss_mb
    n_files: float
    n_threads: float


def drifts(samples: Sequence[Sample], *, at_least_s: float, warm_up_s: float) -> list[Drift]:
    """Return the drift of every process that was there for so long, the largest first.

    Args:
        samples: in the order of time.
        at_least_s: how long a process must have been watched.
        warm_up_s: of a process, which does not count; at most WARM_UP of the time it was watched.
    """
    found = [
        _drift(*key, life, warm_up_s=warm_up_s)
        for key, life in lives(samples, at_least_s=at_least_s).items()
    ]
    return sorted(found, key=lambda drift: -drift.memory)


def lives(samples: Sequence[Sample], *, at_least_s: float) -> dict[tuple[str, int], Life]:
    """Return when each process that was there for so long used what, by name and process id."""
    found: dict[tuple[str, int], Life] = defaultdict(list)
    for sample in samples:
        for key, used in sample.used.items():
            found[key].append((sample.at_s, used))
    return {key: life for key, life in found.items() if life[-1][0] - life[0][0] >= at_least_s}


def _drift(name: str, pid: int, life: Life, *, warm_up_s: float) -> Drift:
    watched_s = life[-1][0] - life[0][0]
    warm_s = life[0][0] + min(warm_up_s, WARM_UP * watched_s)
    warm = [used for at_s, used in life if at_s >= warm_s]
    n = max(1, len(warm) // 3)
    early, late = _medians(warm[:n]), _medians(warm[-n:])
    return Drift(
        name=name,
        pid=pid,
        watched_s=watched_s,
        uss_mb=early[0] / 1e6,
        memory=late[0] / early[0] - 1,
        n_files=late[1] - early[1],
        n_threads=late[2] - early[2],
    )


def _medians(used: Sequence[Usage]) -> tuple[float, float, float]:
    figures = np.array([(one.uss_bytes, one.n_files, one.n_threads) for one in used])
    uss_bytes, n_files, n_threads = np.median(figures, axis=0)
    return float(uss_bytes), float(n_files), float(n_threads)


@dataclass(kw_only=True)
class Watch:
    """What was seen while a block ran."""

    samples: list[Sample] = field(default_factory=list)
    n_temporary_files: dict[str, int] = field(default_factory=dict)  # before, after


@contextmanager
def watched() -> Iterator[Watch]:
    """Look at all processes that this one started, from a thread, while the block runs."""
    watch = Watch(n_temporary_files={"before": _n_temporary_files()})
    began_s = time.monotonic()

    def look() -> None:
        used = {
            (name, pid): usage
            for pid, name in processes.started().items()
            if (usage := processes.usage(pid))
        }
        watch.samples.append(Sample(at_s=time.monotonic() - began_s, used=used))

    with every(SAMPLE_EVERY_S, look):
        yield watch
    watch.n_temporary_files["after"] = _n_temporary_files()


def _n_temporary_files() -> int:
    """Count what lies directly in the temporary directory."""
    return len(os.listdir(tempfile.gettempdir()))
