import os
import subprocess
import sys

import pytest

from benchmarks import processes
from benchmarks.drift import Sample, drifts
from benchmarks.processes import Usage


def usage(mb: float, n_files: int = 10) -> Usage:
    return Usage(uss_bytes=round(mb * 1e6), n_files=n_files, n_threads=4)


def test_growth_after_the_warm_up_is_told_and_growth_within_it_is_not() -> None:
    samples = [
        Sample(
            at_s=float(at_s),
            used={
                ("flat", 1): usage(50 if at_s < 100 else 100),
                ("leaks", 2): usage(100 + at_s / 100, n_files=at_s // 100),
                **({("short", 3): usage(1)} if at_s < 200 else {}),
            },
        )
        for at_s in range(0, 1000, 10)
    ]
    leaks, flat = drifts(samples, at_least_s=300, warm_up_s=120)
    assert (flat.name, flat.memory, flat.n_files, flat.n_threads) == ("flat", 0.0, 0.0, 0.0)
    assert leaks.name == "leaks"
    assert leaks.memory == pytest.approx(0.06, abs=0.01)
    assert leaks.n_files >= 5


def test_a_process_that_was_started_is_seen_with_what_it_uses() -> None:
    sleeper = subprocess.Popen(
        [sys.executable, "-c", "input('started\\n')"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert sleeper.stdout
    sleeper.stdout.readline()
    try:
        assert sleeper.pid in processes.started()
        assert os.getpid() not in processes.started()
        used = processes.usage(sleeper.pid)
        assert used is not None
        assert used.uss_bytes > 1e6
        assert used.n_threads == 1
    finally:
        sleeper.kill()
        sleeper.wait()
    assert processes.usage(sleeper.pid) is None


def test_what_a_started_process_computes_is_counted_in_cores() -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        while processes.cores_used(0.2) == 0:
            pass  # the process starts
    finally:
        busy.kill()
        busy.wait()
    assert processes.cores_used(0.1) == 0
