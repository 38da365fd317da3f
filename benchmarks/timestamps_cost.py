"""What timestamp tokens and word alignment cost, and how often they change the words."""

import os
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.local import (
    LocalPipeline,
    Workpiece,
    embedded_workpiece,
    random_workpiece,
)
from benchmarks.results import Report, interleave, median_of_ratios, say, seconds, spread
from serve_app import pipeline
from tests.clips import Pcm, clip, join, references, speech

BATCHES = (1, 8, 16)
MODES: dict[str, dict[str, Any]] = {
    "plain": {"timestamps": False, "words": False},
    "timestamps": {"timestamps": True, "words": False},
    "timestamps and words": {"timestamps": True, "words": True},
}


def run(report: Report, *, quick: bool) -> None:
    """Measure speed on both models, differing words on the demo model; write the report."""
    threads = os.cpu_count() or 1
    n_rounds = 1 if quick else 5
    for work, chunk_s in (
        (random_workpiece("tiny" if quick else "base", threads=threads), 30.0),
        (embedded_workpiece(threads=threads), 5.0),
    ):
        for batch in BATCHES[:2] if quick else BATCHES:
            say(f"{work.name}, batch {batch}")
            _measure(report, work, chunk_s=chunk_s, batch=batch, n_rounds=n_rounds)
    _compare_words(report, threads)
    _plot(report)


def _measure(report: Report, work: Workpiece, *, chunk_s: float, batch: int, n_rounds: int) -> None:
    local = LocalPipeline(work, max_batch_size=batch)
    chunks = [pipeline.whole_chunk(speech(chunk_s, seed)) for seed in range(batch)]
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
            chunk_s=chunk_s,
            mode=name,
            tokens_per_chunk=n_tokens[name],
            batch_s=spread(values),
            times_plain=median_of_ratios(values, times["plain"]),
        )


def _compare_words(report: Report, threads: int) -> None:
    """Decode the same clips with and without timestamp tokens; count the words that differ."""
    import jiwer

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
            word_error_rate_plain=float(jiwer.wer(spoken, made["plain"])),
            word_error_rate_timestamps=float(jiwer.wer(spoken, made["timestamps"])),
        )


def _plot(report: Report) -> None:
    rows = [row for row in report.rows if "mode" in row]
    models = list(dict.fromkeys(row["model"] for row in rows))
    with report.plot(n_axes=len(models)) as axes:
        for ax, model in zip(axes, models, strict=True):
            for mode in MODES:
                chosen = [r for r in rows if r["model"] == model and r["mode"] == mode]
                per_chunk = [r["batch_s"]["median"] / r["batch"] for r in chosen]
                ax.plot([r["batch"] for r in chosen], per_chunk, "o-", label=mode)
            ax.set(title=model, xlabel="batch", ylabel="s per chunk", ylim=(0, None))
            ax.legend()
