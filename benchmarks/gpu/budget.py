"""Whose turn it is, and for how long: a run's time is shared among its parts. Pure but for a clock.

A part's share is by weight, of the time that is left: what one part does not use, the next ones
have. Inside a part the points go on while there is time for the next one.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Part:
    """Figures that belong together."""

    name: str
    weight: float
    needs_s: float  # on a GPU: with less it would tell nothing
    process: str  # parts of the same one run in one process, which imports and compiles once


# In the order of their worth, but for what a later one needs. The first start finds CUDA's cache of
# compiled kernels empty, and all others find it filled.
PARTS = (
    Part(name="weights", weight=5, needs_s=20, process="weights"),
    Part(name="cold start", weight=2, needs_s=20, process="cold"),
    Part(name="warm start", weight=1, needs_s=10, process="warm"),
    Part(name="fast", weight=3, needs_s=20, process="engine"),
    Part(name="workers", weight=2, needs_s=20, process="engine"),
    Part(name="graph", weight=6, needs_s=90, process="graph"),
    Part(name="large", weight=4, needs_s=25, process="large"),
    Part(name="features", weight=1, needs_s=10, process="large"),
    Part(name="types", weight=2, needs_s=15, process="large"),
    Part(name="transformers", weight=2, needs_s=25, process="transformers"),
)


def choose_parts(names: Sequence[str]) -> list[Part]:
    """Return the parts of these names in their order; without names, all."""
    return [part for part in PARTS if not names or part.name in names]


def group(parts: Sequence[Part], *, one_process: bool) -> list[list[Part]]:
    """Return the parts by process, in their order."""
    groups: dict[str, list[Part]] = {}
    for part in parts:
        groups.setdefault("" if one_process else part.process, []).append(part)
    return list(groups.values())


def share_s(left_s: float, parts: Sequence[Part], n: int = 1) -> float:
    """Return how many seconds the first `n` of the parts that are still to come may take."""
    return left_s * sum(part.weight for part in parts[:n]) / sum(part.weight for part in parts)


class Deadline:
    """The end of a part's time."""

    def __init__(self, limit_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end_s = clock() + limit_s

    @property
    def left_s(self) -> float:
        """Return how many seconds are left."""
        return self._end_s - self._clock()

    def has(self, needed_s: float) -> bool:
        """Tell whether so much time is left."""
        return self.left_s >= needed_s
