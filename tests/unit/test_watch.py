import time

import pytest

from serve_app.watch import RunningWork


def test_work_that_runs_for_too_long_is_named() -> None:
    work = RunningWork()
    with work.of("a batch of 3"):
        work.check(limit_s=60)
        time.sleep(0.02)
        with pytest.raises(RuntimeError, match="a batch of 3 has been running for 0 s"):
            work.check(limit_s=0.01)


def test_work_that_ended_or_failed_is_forgotten() -> None:
    work = RunningWork()
    with pytest.raises(ZeroDivisionError), work.of("a slice"):
        raise ZeroDivisionError
    time.sleep(0.02)
    work.check(limit_s=0.01)
