"""What a GPU gives, in under ten minutes: batches, types, workers, starts, HTTP, a long file.

Without a GPU the same parts run on the CPU with small shapes, to see that they run to their end.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence

import click

from benchmarks.gpu import cublas
from benchmarks.gpu.budget import PARTS, Part, choose_parts, group, share_s
from benchmarks.gpu.plan import Plan, choose_plan
from benchmarks.gpu.reading import bars, plot
from benchmarks.results import Report, say
from serve_app.cli.gpus import count_gpus

OPTIONS = (
    click.Option(["--minutes"], type=float, default=9.0, show_default=True, help="For all."),
    click.Option(
        ["--only"],
        type=click.Choice([part.name for part in PARTS]),
        multiple=True,
        help="May be given several times.",
    ),
)
TERMINATED = 143  # the exit status of a shell's command that SIGTERM ended
GRACE_S = 20.0  # for a part that is told to stop, to end what it started


def run(report: Report, *, quick: bool, minutes: float, only: Sequence[str]) -> None:
    """Run the parts, each in its time, and write the report after every row.

    Args:
        report: gets the rows, the bars and a note for whatever was left out.
        quick: one small point of each, on the CPU.
        minutes: for everything.
        only: names of parts; none: all of them.
    """
    # As an exception, so that the part that runs is ended as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    end_s = time.monotonic() + 60 * minutes
    n_gpus = 0 if quick else count_gpus()
    plan = choose_plan(n_gpus=n_gpus, n_cores=os.cpu_count() or 1, quick=quick)
    report.add(part="device", name=_device_name() if n_gpus else "CPU", plan=plan.to_dict())
    parts = choose_parts(only)
    with tempfile.TemporaryDirectory() as compiled:
        environment = {**_environment(report, n_gpus), "CUDA_CACHE_PATH": compiled}
        for some in group(parts, one_process=quick):
            limit_s = share_s(end_s - time.monotonic() - GRACE_S, parts, len(some))
            parts = parts[len(some) :]
            _run_parts(report, some, plan, limit_s, environment)
    _note_gaps(report)
    if not quick:
        plot(report)
    for bar in bars(report.rows):
        report.hold(bar)


def _environment(report: Report, n_gpus: int) -> dict[str, str]:
    """Return the parts' environment, in which CTranslate2 finds a cuBLAS, if there is one."""
    # Kernels for all of CTranslate2's modules; the default may be less than they take.
    environment = {**os.environ, "CUDA_CACHE_MAXSIZE": str(4 * 2**30)}
    if not n_gpus or cublas.has_cublas_12():
        return environment
    found = cublas.find_cublas_13(cublas.library_folders())
    if found is None:
        report.note("No cuBLAS 12 was found, nor 13: pip install 'serve_app[cuda]'.")
        return environment
    cublas.link_as_12(found)
    report.note(f"cuBLAS 12 was not found; {found}/libcublas.so.13 is used under its name.")
    return cublas.with_links(environment, found)


def _run_parts(
    report: Report,
    parts: Sequence[Part],
    plan: Plan,
    limit_s: float,
    environment: Mapping[str, str],
) -> None:
    """Run parts in a process of their own and add their rows as they come."""
    names = [part.name for part in parts]
    say(f"{', '.join(names)}: {limit_s:.0f} s at most")
    began_s = time.monotonic()
    arguments = [json.dumps(plan.to_dict()), str(limit_s), *names]
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.gpu.part", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        stop = threading.Timer(limit_s, process.send_signal, [signal.SIGINT])
        kill = threading.Timer(limit_s + GRACE_S, os.killpg, [process.pid, signal.SIGKILL])
        for timer in (stop, kill):
            timer.start()
        try:
            for line in process.stdout or ():
                if line.startswith("{"):
                    report.add(**json.loads(line))
        except BaseException:  # an interrupt, say: nothing is left running behind it
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            for timer in (stop, kill):
                timer.cancel()
    if process.returncode:
        took_s = time.monotonic() - began_s
        cause = "were cut off" if took_s >= limit_s else f"broke off ({process.returncode})"
        report.note(f"{', '.join(names)} {cause} after {took_s:.0f} s; what they gave is here.")


def _note_gaps(report: Report) -> None:
    """Name what was left out and what failed."""
    for row in report.rows:
        reason = row.get("left_out") or row.get("failed")
        if reason:
            point = ", ".join(f"{k} {v}" for k, v in row.items() if k not in ("left_out", "failed"))
            report.note(f"{point}: {reason}")


def _device_name() -> str:
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    return answer.stdout.strip().partition("\n")[0] or "unknown GPU"
