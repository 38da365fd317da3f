"""What timestamp tokens and word alignment cost, and how often they change the words."""

import os
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.error_rate import error_rates
from benchmarks.local import (
    LocalPipeline,
    Workpiece,
    embedded_workpiece,
    random_workpiece,
)
from benchmarks.results import Report, interleave, median_of_ratios, say, seconds, spread
from serve_app import pipeline
from tests.clips import Pcm, clip, join, references, speech

BATCHES = (1, 4)
CHUNK_S = 30.0
N_ROUNDS = 2
MODES: dict[str, dict[str, Any]] = {
    "plain": {"timestamps": False, "words": False},
    "timestamps": {"timestamps": True, "words": False},
    "timestamps and words": {"timestamps": True, "words": True},
}


def run(report: Report, *, quick: bool) -> None:
    """Measure speed with random weights, differing words on the demo model; write the report."""
    threads = os.cpu_count() or 1
    work = random_workpiece("tiny" if quick else "base", threads=threads)
    for batch in BATCHES:
        say(f"{work.name}, batch {batch}")
        _measure(report, work, batch=batch, n_rounds=1 if quick else N_ROUNDS)
    _compare_words(report, threads)
    _plot(report)


def _measure(report: Report, work: Workpiece, *, batch: int, n_rounds: int) -> None:
    local = LocalPipeline(work, max_batch_size=batch)
    chunks = [pipeline.whole_chunk(speech(CHUNK_S, seed)) for seed in range(batch)]
    modes = {name: replace(local.options, **mode) for name, mode in MODES.items()}
    n_tokens = {
        name: float(np.mean([len(made.tokens) for made in local.decode(chunks, options)]))
        for name, options in modes.items()
    }
    times = interleave(
        {
            name: partial(seconds, partial(local.decode, chunks, options))
            for name, options in modes.items()
        },
        n_rounds,
        warm_up=False,  # each mode has run once
    )
    for name, values in times.items():
        report.add(
            model=work.name,
            threads=local.model.cpu_threads,
            batch=batch,
            chunk_s=CHUNK_S,
            mode=name,
            tokens_per_chunk=n_tokens[name],
            batch_s=spread(values),
            times_plain=median_of_ratios(values, times["plain"]),
        )


def _compare_words(report: Report, threads: int) -> None:
    """Decode the same clips with and without timestamp tokens; count the words that differ."""
    local = LocalPipeline(embedded_workpiece(threads=threads))
    texts = references()
    names = list(texts)
    pairs = list(zip(names, names[1:] + names[:1], strict=True))
    groups: dict[str, tuple[list[Pcm], list[str]]] = {
        "tests/data": ([clip(name) for name in names], list(texts.values())),
        "two joined": (
            [join(*pair) for pair in pairs],
            [f"{texts[a]} {texts[b]}" for a, b in pairs],
        ),
    }
    for group, (clips, spoken) in groups.items():
        chunks = [pipeline.whole_chunk(pcm) for pcm in clips]
        made = {
            name: [
                m.text.strip() for m in local.decode(chunks, replace(local.options, **MODES[name]))
            ]
            for name in ("plain", "timestamps")
        }
        differ = [a.split() != b.split() for a, b in zip(*made.values(), strict=True)]
        report.add(
            model="embedded",
            clips=group,
            n_clips=len(chunks),
            n_clips_with_other_words=sum(differ),
            word_error_rate_plain=error_rates(spoken, made["plain"]).words,
            word_error_rate_timestamps=error_rates(spoken, made["timestamps"]).words,
        )


def _plot(report: Report) -> None:
    rows = [row for row in report.rows if "mode" in row]
    with report.plot() as (ax,):
        for mode in MODES:
            chosen = [row for row in rows if row["mode"] == mode]
            per_chunk = [row["batch_s"]["median"] / row["batch"] for row in chosen]
            ax.plot([row["batch"] for row in chosen], per_chunk, "o-", label=mode)
        ax.set(title=rows[0]["model"], xlabel="batch", ylabel="s per chunk", ylim=(0, None))
        ax.legend()
