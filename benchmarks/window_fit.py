"""What `encoder_window: fit` gains on short chunks, and what it costs in accuracy."""

import os
from collections.abc import Sequence
from functools import partial

from benchmarks.error_rate import error_rates
from benchmarks.local import LocalPipeline, embedded_workpiece, random_workpiece
from benchmarks.results import Bar, Report, interleave, median_of_ratios, seconds, spread
from serve_app import pipeline
from serve_app.domain import Chunk
from tests.clips import clip, references, speech

CHUNK_S = 5.0
BATCH = 8
GAIN = 2.5  # times the throughput, at least
WINDOWS = ("full", "fit")


def run(report: Report, *, quick: bool) -> None:
    """Measure speed with random weights, accuracy with the demo model; write the report."""
    threads = os.cpu_count() or 1
    shape = "tiny" if quick else "base"
    sides = {
        window: LocalPipeline(random_workpiece(shape, threads=threads, encoder_window=window))
        for window in WINDOWS
    }
    chunks = [pipeline.whole_chunk(speech(CHUNK_S, seed)) for seed in range(BATCH)]
    n_tokens = {w: [len(m.tokens) for m in side.decode(chunks)] for w, side in sides.items()}
    rates = interleave(
        {window: partial(_chunks_per_s, side, chunks) for window, side in sides.items()},
        n_rounds=2,
    )
    gain = median_of_ratios(rates["fit"], rates["full"])
    report.add(
        model=f"random {shape}",
        threads=threads,
        batch=BATCH,
        chunk_s=CHUNK_S,
        tokens_per_chunk=n_tokens,
        chunks_per_s_full=spread(rates["full"]),
        chunks_per_s_fit=spread(rates["fit"]),
        gain=gain,
    )
    if not quick:
        report.hold(Bar(name="throughput, fit over full", value=gain, limit=GAIN, at_least=True))
    _measure_accuracy(report, threads)


def _chunks_per_s(side: LocalPipeline, chunks: Sequence[Chunk]) -> float:
    return len(chunks) / seconds(lambda: side.decode(chunks))


def _measure_accuracy(report: Report, threads: int) -> None:
    texts = references()
    chunks = [pipeline.whole_chunk(clip(name)) for name in texts]
    figures = {}
    for window in WINDOWS:
        side = LocalPipeline(embedded_workpiece(threads=threads, encoder_window=window))
        made = [m.text for m in side.decode(chunks)]
        figures[f"word_error_rate_{window}"] = error_rates(list(texts.values()), made).words
    report.add(model="embedded", n_clips=len(chunks), **figures)
    report.note(
        "The demo model was trained on short utterances in full windows; its error rate says "
        "nothing about that of published weights with a fitted window."
    )
