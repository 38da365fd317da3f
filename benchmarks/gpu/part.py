"""Parts in a process of their own: `python -m benchmarks.gpu.part PLAN LIMIT_S NAME ...`.

Prints one line of JSON per row. It may be stopped at any time with SIGINT: what it started ends.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import click

from benchmarks.gpu import engine
from benchmarks.gpu.budget import Deadline, choose_parts, share_s
from benchmarks.gpu.plan import Plan

STOPPED = 130  # the exit status of a shell's command that SIGINT ended

Measure = Callable[[Plan, Deadline], Iterator[dict[str, Any]]]


def _features(plan: Plan, deadline: Deadline) -> Iterator[dict[str, Any]]:
    from benchmarks.gpu.features import features

    return features(plan, deadline)


def _graph(plan: Plan, deadline: Deadline) -> Iterator[dict[str, Any]]:
    from benchmarks.gpu.graph import graph

    return graph(plan, deadline)


def _transformers(plan: Plan, deadline: Deadline) -> Iterator[dict[str, Any]]:
    from benchmarks.gpu.peer import transformers_batches

    return transformers_batches(plan, deadline)


# Ray and torch are imported by the parts that need them: a start is measured here as well.
MEASURES: Mapping[str, Measure] = {
    "weights": engine.write_weights,
    "cold start": engine.start,
    "warm start": engine.start,
    "fast": engine.fast_batches,
    "large": engine.large_batches,
    "types": engine.types,
    "workers": engine.workers,
    "features": _features,
    "graph": _graph,
    "transformers": _transformers,
}


def run_parts(plan: Plan, limit_s: float, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of these parts, each of which has its share of the time.

    A part that fails is a row as well, and the others go on.
    """
    whole = Deadline(limit_s)
    parts = choose_parts(names)
    for i, part in enumerate(parts):
        began_s = time.monotonic()
        share = share_s(whole.left_s, parts[i:])
        if plan.device == "cuda" and share < part.needs_s:
            yield {"part": part.name, "left_out": f"{share:.0f} s were left for it"}
            continue
        try:
            for row in MEASURES[part.name](plan, Deadline(share)):
                yield {"part": part.name, **row}
        except Exception as error:  # noqa: BLE001 - whatever a device and its libraries throw
            yield {"part": part.name, "failed": f"{type(error).__name__}: {error}"[:500]}
        yield {"part": part.name, "part_took_s": time.monotonic() - began_s}


def _main(plan: str, limit_s: str, *names: str) -> None:
    try:
        for row in run_parts(Plan.from_dict(json.loads(plan)), float(limit_s), names):
            click.echo(json.dumps(row))
    except KeyboardInterrupt:
        raise SystemExit(STOPPED) from None


if __name__ == "__main__":
    _main(*sys.argv[1:])
