"""Peak memory of every process of the graph while a ten-hour file runs, against a minute's."""

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import click

from benchmarks import processes
from benchmarks.graph import Graph, running_graph
from benchmarks.local import Workpiece, embedded_workpiece
from benchmarks.periodic import every
from benchmarks.results import Bar, Report, say, seconds
from benchmarks.workload import speech_opus

SAMPLE_EVERY_S = 0.5
TELL_EVERY_S = 30.0
ALLOWED_BYTES = 300e6  # beyond what a minute needs
RECEIVERS = ("ProxyActor", "Ingress")  # the upload passes through these
STORE = "raylet"  # the upload lies in its object store, once
CALIBRATION_S = 600.0
SETTLE_S = 5.0  # after a run, so that its last memory does not count for the next

OPTIONS = (
    click.Option(["--hours"], type=float, default=10.0, show_default=True, help="Of the file."),
)


@dataclass(kw_only=True)
class Peaks:
    """What a stretch of time needed, by process name."""

    uss: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # bytes
    trace: list[tuple[float, dict[str, int]]] = field(default_factory=list)  # s, bytes


def run(report: Report, *, quick: bool, hours: float) -> None:
    """Measure a minute, ten minutes for the estimate, then the long file; write the report."""
    hours = 0.25 if quick else hours
    threads = max(1, (os.cpu_count() or 1) - 1)
    work = embedded_workpiece(threads=threads, max_chunk_s=30.0)
    long_file = speech_opus(hours * 3600)
    say(f"{hours:g} hours of speech are {len(long_file) / 1e6:.1f} MB of Opus")
    with running_graph(work.args) as graph:
        with _sampled() as minute:
            for _ in range(3):
                graph.post(speech_opus(60.0), work.fields)
        time.sleep(SETTLE_S)
        per_s, chunks_per_s = _calibrate(graph, work)
        say(f"estimate for the long file: {hours * 3600 * per_s / 60:.1f} minutes")
        with (
            _sampled() as peaks,
            _progress(graph, n_expected=hours * 3600 * chunks_per_s),
        ):
            took_s = seconds(lambda: graph.post(long_file, work.fields, limit_s=24 * 3600))
    report.add(
        hours=hours,
        upload_mb=len(long_file) / 1e6,
        took_s=took_s,
        times_real_time=hours * 3600 / took_s,
    )
    _hold(report, minute, peaks, upload=len(long_file))
    _plot(report, peaks)


def _calibrate(graph: Graph, work: Workpiece) -> tuple[float, float]:
    """Return seconds and chunks per second of audio, from ten minutes of it."""
    audio = speech_opus(CALIBRATION_S)
    before = graph.n_chunks_sent()
    took_s = seconds(lambda: graph.post(audio, work.fields))
    return took_s / CALIBRATION_S, (graph.n_chunks_sent() - before) / CALIBRATION_S


def _hold(report: Report, minute: Peaks, peaks: Peaks, *, upload: int) -> None:
    report.note(
        f"The upload may lie once in each process that it passes through "
        f"({', '.join(RECEIVERS)}) and once in the object store ({STORE})."
    )
    for name in sorted(peaks.uss, key=lambda n: -peaks.uss[n]):
        grown = peaks.uss[name] - minute.uss.get(name, 0)
        receives = any(part in name for part in (*RECEIVERS, STORE))
        report.add(
            process=name,
            minute_mb=minute.uss.get(name, 0) / 1e6,
            long_mb=peaks.uss[name] / 1e6,
            grown_mb=grown / 1e6,
            upload_passes=receives,
        )
        report.hold(
            Bar(
                name=f"{name}: growth, MB{', upload included' if receives else ''}",
                value=grown / 1e6,
                limit=(ALLOWED_BYTES + (upload if receives else 0)) / 1e6,
            )
        )


@contextmanager
def _sampled() -> Iterator[Peaks]:
    """Watch the memory of all processes that this one started."""
    peaks = Peaks()
    began_s = time.monotonic()

    def look() -> None:
        now = _uss_by_name()
        peaks.trace.append((time.monotonic() - began_s, now))
        for name, uss in now.items():
            peaks.uss[name] = max(peaks.uss[name], uss)

    with every(SAMPLE_EVERY_S, look):
        yield peaks


def _uss_by_name() -> dict[str, int]:
    """Return each process's USS in bytes; of several with one name, the largest."""
    found: dict[str, int] = defaultdict(int)
    for pid, name in processes.started().items():
        if used := processes.usage(pid):
            found[name] = max(found[name], used.uss_bytes)
    return found


@contextmanager
def _progress(graph: Graph, *, n_expected: float) -> Iterator[None]:
    """Print every while how far the graph is, and the time left."""
    began_s = time.monotonic()
    before = graph.n_chunks_sent()

    def tell() -> None:
        share = min(0.999, (graph.n_chunks_sent() - before) / n_expected)
        elapsed_s = time.monotonic() - began_s
        left_s = elapsed_s * (1 - share) / share if share else float("nan")
        say(f"{share:.0%} after {elapsed_s:.0f} s, {left_s:.0f} s left")

    with every(TELL_EVERY_S, tell):
        yield


def _plot(report: Report, peaks: Peaks) -> None:
    names = sorted(peaks.uss, key=lambda n: -peaks.uss[n])[:7]
    with report.plot() as (ax,):
        for name in names:
            times = [at for at, _ in peaks.trace]
            ax.plot(times, [now.get(name, 0) / 1e6 for _, now in peaks.trace], label=name)
        ax.set(xlabel="s", ylabel="USS, MB", ylim=(0, None))
        ax.legend(fontsize="small")
