"""Processes side by side: what a second of audio costs where several share the machine.

`python -m benchmarks.stages.replicas WORK` is one of them: it says that it is ready, waits for a
line, works, and prints the seconds of a core that it took.
"""

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

import click

from benchmarks.local import LocalPipeline, embedded_workpiece
from benchmarks.results import Report, seconds
from benchmarks.stages.cost import Point, add_cost, core_seconds
from benchmarks.workload import speech_opus

CLIP_S = 30.0
TIMES: Mapping[str, int] = {"prepare": 30, "model": 4}  # clips: some seconds of a core


def measure_replicas(report: Report, counts: Sequence[int]) -> None:
    """Run so many processes at once, one thread each, for each kind of work."""
    for work, n_clips in TIMES.items():
        for count in counts:
            costs, took_s = _run(work, count)
            add_cost(
                report,
                Point(stage="replicas", of=work, axis="processes", at=count),
                costs,
                audio_s_per_s=count * n_clips * CLIP_S / took_s,
            )


def _run(work: str, count: int) -> tuple[list[float], float]:
    """Return each process's cost per second of audio, and how long all of them took."""
    command = [sys.executable, "-m", "benchmarks.stages.replicas", work]
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(count)
        ]
        for process in started:
            _read_line(process)

        costs: list[float] = []

        def work_side_by_side() -> None:
            for process in started:
                print("go", file=process.stdin, flush=True)
            costs.extend(float(_read_line(process)) for process in started)

        took_s = seconds(work_side_by_side)
    audio_s = TIMES[work] * CLIP_S
    return [cost / audio_s for cost in costs], took_s


def _read_line(process: "subprocess.Popen[str]") -> str:
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise RuntimeError(f"{process.args!r} ended early")
    return line


def _work(name: str) -> Callable[[], object]:
    """Return one clip's work: prepare it as an AudioPreprocessor does, or decode its chunks."""
    local = LocalPipeline(embedded_workpiece(threads=1), max_batch_size=4)
    file = speech_opus(CLIP_S)
    if name == "prepare":
        return partial(local.prepare, file)
    return partial(local.decode, local.prepare(file)[0])


def _main(name: str) -> None:
    work = _work(name)
    work()
    click.echo("ready")
    input()
    click.echo(core_seconds(lambda: [work() for _ in range(TIMES[name])]))


if __name__ == "__main__":
    _main(sys.argv[1])
