"""What huge pages under CTranslate2's activations gain on a CPU, in time of one core per chunk."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import click
import numpy as np

from benchmarks.local import LocalPipeline, embedded_workpiece, random_workpiece
from benchmarks.results import Bar, Report, interleave, median_of_ratios, say, spread
from serve_app import pipeline
from serve_app.resources import HUGE_PAGES
from tests.clips import speech

CASES = (("tiny", 1), ("tiny", 4))  # model and batch
N_DECODES = 2  # in a process, after one that does not count
SIDES: Mapping[str, Mapping[str, str]] = {"plain": {}, "huge": HUGE_PAGES}


def run(report: Report, *, quick: bool) -> None:
    """Decode the same chunks in processes with and without huge pages; write the report."""
    for model, batch in CASES[:1] if quick else CASES:
        say(f"{model}, batches of {batch}")
        times = interleave(
            {side: _decoder(model, batch, env) for side, env in SIDES.items()},
            1 if quick else 2,
            warm_up=False,  # every process warms itself up
        )
        ratio = median_of_ratios(times["huge"], times["plain"])
        report.add(
            model=model,
            batch=batch,
            cpu_s_per_chunk={side: spread(values) for side, values in times.items()},
            huge_over_plain=ratio,
        )
        name = f"{model}, batches of {batch}: core time per chunk, huge over plain"
        report.hold(Bar(name=name, value=ratio, limit=1.0))


def _decoder(model: str, batch: int, env: Mapping[str, str]) -> Callable[[], float]:
    """Return what decodes a batch in a process of its own and tells its core time per chunk."""

    def decode() -> float:
        # glibc reads the setting when a process starts.
        command = [sys.executable, "-m", "benchmarks.huge_pages", model, str(batch)]
        made = subprocess.run(
            command, env={**os.environ, **env}, check=True, capture_output=True, timeout=600
        )
        return float(json.loads(made.stdout.splitlines()[-1]))

    return decode


def _measure(model: str, batch: int) -> float:
    """Return the core time per chunk of one batch, on one thread, in seconds."""
    work: Any = (
        embedded_workpiece(threads=1) if model == "embedded" else random_workpiece(model, threads=1)
    )
    local = LocalPipeline(work, max_batch_size=batch)
    chunk_s = 5.0 if model == "embedded" else 30.0
    chunks = [pipeline.whole_chunk(speech(chunk_s, seed)) for seed in range(batch)]
    times_s = []
    for _ in range(1 + N_DECODES):
        began_s = time.process_time()
        local.decode(chunks)
        times_s.append((time.process_time() - began_s) / batch)
    return float(np.median(times_s[1:]))


if __name__ == "__main__":
    click.echo(json.dumps(_measure(sys.argv[1], int(sys.argv[2]))))
