"""What short clips wait while a long file runs: the embedded model, over HTTP."""

import os
import threading
import time
from collections.abc import Callable, Sequence

import click
import numpy as np

from benchmarks.graph import Graph, running_graph
from benchmarks.local import Workpiece, embedded_workpiece
from benchmarks.results import Bar, Report, percentiles, say, seconds
from benchmarks.workload import speech_opus, speech_wav

N_CLIPS = 20
CLIP_S = 5.0
EVERY_S = 0.5  # a clip is sent, whether or not the last one was answered
HEAD_START_S = 1.0  # of the long file
P95_RATIO = 3.0  # with over without the long file, at most

OPTIONS = (
    click.Option(
        ["--max-batch-size"],
        type=int,
        multiple=True,
        default=[1],
        show_default=True,
        help="Chunks; may be given several times.",
    ),
    click.Option(
        ["--slice-s"],
        type=float,
        default=60.0,  # as in configs/demo.yaml
        show_default=True,
        help="How much of the long file is decoded at a time.",
    ),
    # As short as lets it run until the last clip is answered.
    click.Option(
        ["--minutes"], type=float, default=10.0, show_default=True, help="Of the long file."
    ),
)


def run(
    report: Report, *, quick: bool, max_batch_size: Sequence[int], slice_s: float, minutes: float
) -> None:
    """Measure rounds of clips alone and beside the long file; write the report.

    Args:
        report: gets the rows.
        quick: one round.
        max_batch_size: the batch sizes to try.
        slice_s: how much of the long file is decoded at a time.
        minutes: the length of the long file.
    """
    threads = max(1, (os.cpu_count() or 1) - 1)  # one core stays for decoding and VAD
    work = embedded_workpiece(threads=threads)
    long_s = 60.0 * minutes
    long_file = speech_opus(long_s)
    with running_graph({**work.args, "audio": {"slice_s": slice_s}}) as graph:
        _send_clips(graph, work)  # warm-up
        for size in max_batch_size:
            graph.set_batch_size(size)
            for i in range(1 if quick else 2):
                head = {"max_batch_size": size, "round": i}
                say(f"batches of {size}, round {i + 1}: clips alone")
                alone = _send_clips(graph, work)
                report.add(**head, side="alone", **percentiles(alone), latencies_s=alone)
                say(f"batches of {size}, round {i + 1}: beside {long_s / 60:.0f} minutes")
                beside, long_took_s, n_during = _send_beside(graph, work, long_file)
                report.add(
                    **head,
                    side="beside",
                    **percentiles(beside),
                    latencies_s=beside,
                    long_file_s=long_s,
                    long_file_took_s=long_took_s,
                    n_answered_while_it_ran=n_during,
                )
            _hold(report, size)
    _plot(report)


def _hold(report: Report, size: int) -> None:
    rows = [row for row in report.rows if row["max_batch_size"] == size]
    p95 = {
        side: float(np.median([row["p95_s"] for row in rows if row["side"] == side]))
        for side in ("alone", "beside")
    }
    n_during = min(row["n_answered_while_it_ran"] for row in rows if row["side"] == "beside")
    if n_during < N_CLIPS:
        report.note(f"Only {n_during} of {N_CLIPS} clips were answered before the long file was.")
    report.hold(
        Bar(
            name=f"batches of {size}: p95 of short clips, beside a long file over alone",
            value=p95["beside"] / p95["alone"],
            limit=P95_RATIO,
        )
    )


def _send_clips(
    graph: Graph, work: Workpiece, on_answer: Callable[[], None] = lambda: None
) -> list[float]:
    """Send the clips at their times; return their latencies."""
    latencies: list[float] = []
    errors: list[BaseException] = []

    def send(seed: int, clip: bytes) -> None:
        try:
            latencies.append(seconds(lambda: graph.post(clip, work.fields)))
            on_answer()
        except Exception as error:  # noqa: BLE001 - raised below, in the thread that waits
            errors.append(error)

    clips = [speech_wav(CLIP_S, seed) for seed in range(N_CLIPS)]
    threads = []
    began_s = time.monotonic()
    for i, clip in enumerate(clips):
        time.sleep(max(0.0, began_s + i * EVERY_S - time.monotonic()))
        threads.append(threading.Thread(target=send, args=(i, clip)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return latencies


def _send_beside(graph: Graph, work: Workpiece, long_file: bytes) -> tuple[list[float], float, int]:
    """Post the long file, then the clips; return latencies, its time, clips answered meanwhile."""
    took_s: list[float] = []
    n_during = 0

    def on_answer() -> None:
        nonlocal n_during
        n_during += not took_s

    def post_long() -> None:
        took_s.append(seconds(lambda: graph.post(long_file, work.fields, limit_s=3000)))

    long = threading.Thread(target=post_long)
    long.start()
    time.sleep(HEAD_START_S)
    latencies = _send_clips(graph, work, on_answer)
    long.join()
    if not took_s:
        raise RuntimeError("the long file failed")
    return latencies, took_s[0], n_during


def _plot(report: Report) -> None:
    with report.plot() as (ax,):
        for size in dict.fromkeys(row["max_batch_size"] for row in report.rows):
            for side, where in (("alone", "alone"), ("beside", "beside a long file")):
                rows = [r for r in report.rows if (r["max_batch_size"], r["side"]) == (size, side)]
                values = np.sort([v for row in rows for v in row["latencies_s"]])
                shares = np.arange(1, len(values) + 1) / len(values)
                ax.plot(values, shares, label=f"batches of {size}, {where}")
        ax.set(xlabel="latency of a 5 s clip, s", ylabel="share of clips", xscale="log")
        ax.legend()
