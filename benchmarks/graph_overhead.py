"""What the graph costs on top of the model: HTTP through the graph against the same in process.

Both sides decode the file, find the speech, cut it, make features, generate and assemble, with the
same number of threads. With random weights every chunk costs 64 tokens and there is no fallback.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from benchmarks.graph import Graph, running_graph
from benchmarks.local import LocalPipeline, Workpiece, random_workpiece
from benchmarks.results import (
    Bar,
    Report,
    interleave,
    median_of_ratios,
    say,
    seconds,
    spread,
)
from benchmarks.workload import speech_wav

CLIP_S = 30.0
CONCURRENCY = 16
LATENCY_RATIO = 1.15  # at concurrency 1, at most
THROUGHPUT_RATIO = 0.85  # at CONCURRENCY, at least


def run(report: Report, *, quick: bool) -> None:
    """Measure and write the report."""
    work = random_workpiece("tiny" if quick else "base", threads=os.cpu_count() or 1)
    say(f"{work.name}: starting the graph")
    with running_graph(work.args) as graph:
        _measure(report, work, graph, quick=quick)
    _plot(report)


def _measure(report: Report, work: Workpiece, graph: Graph, *, quick: bool) -> None:
    local = LocalPipeline(work, max_batch_size=CONCURRENCY)
    graph.set_batch_size(CONCURRENCY)
    clips = [speech_wav(CLIP_S, seed) for seed in range(CONCURRENCY)]
    chunks, _ = local.prepare(clips[0])
    n_tokens = [len(made.tokens) for made in local.decode(chunks)]
    expected = [made.text for made in local.transcribe(clips)]
    n_different = 0

    def post(i: int) -> None:
        nonlocal n_different
        n_different += graph.post(clips[i], work.fields)["text"] != expected[i]

    latency = interleave(
        {
            "graph": lambda: seconds(lambda: post(0)),
            "in process": lambda: seconds(lambda: local.transcribe(clips[:1])),
        },
        n_rounds=2 if quick else 5,
    )
    n_each = 1 if quick else 2
    throughput = interleave(
        {
            "graph": lambda: _requests_per_s(post, n_each),
            "in process": lambda: len(clips) / seconds(lambda: local.transcribe(clips)),
        },
        n_rounds=1 if quick else 3,
        warm_up=False,  # the latencies and the expected texts were
    )
    latency_ratio = median_of_ratios(latency["graph"], latency["in process"])
    throughput_ratio = median_of_ratios(throughput["graph"], throughput["in process"])
    report.add(
        model=work.name,
        threads=local.model.cpu_threads,
        n_chunks=len(chunks),
        tokens_per_chunk=n_tokens,
        latency_graph_s=spread(latency["graph"]),
        latency_in_process_s=spread(latency["in process"]),
        latency_ratio=latency_ratio,
        requests_per_s_graph=spread(throughput["graph"]),
        requests_per_s_in_process=spread(throughput["in process"]),
        throughput_ratio=throughput_ratio,
        answers_unlike_in_process=n_different,
    )
    report.hold(
        Bar(
            name=f"{work.name}: latency ratio at concurrency 1",
            value=latency_ratio,
            limit=LATENCY_RATIO,
        )
    )
    report.hold(
        Bar(
            name=f"{work.name}: throughput ratio at concurrency {CONCURRENCY}",
            value=throughput_ratio,
            limit=THROUGHPUT_RATIO,
            at_least=True,
        )
    )


def _requests_per_s(post: Callable[[int], None], n_each: int) -> float:
    """Let CONCURRENCY clients send so many requests each, one after the other."""

    def client(i: int) -> None:
        for _ in range(n_each):
            post(i)

    def everybody() -> None:
        with ThreadPoolExecutor(CONCURRENCY) as pool:
            list(pool.map(client, range(CONCURRENCY)))

    return CONCURRENCY * n_each / seconds(everybody)


def _plot(report: Report) -> None:
    [row] = report.rows
    with report.plot(n_axes=2) as (left, right):
        for ax, figure, unit, label in (
            (left, "latency", "_s", "latency of one 30 s clip, s"),
            (right, "requests_per_s", "", f"requests/s, concurrency {CONCURRENCY}"),
        ):
            for side in ("graph", "in_process"):
                ax.bar(side.replace("_", " "), row[f"{figure}_{side}{unit}"]["median"])
            ax.set(title=row["model"], ylabel=label)
