"""How many cases (FUZZ_CASES in the environment, 150 where it is not set), and what came of them.

`FUZZ_RECORD` names a directory: a report of the run is written there.
"""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from benchmarks.results import Bar, Report

N_CASES = int(os.environ.get("FUZZ_CASES", "150"))
ANSWERS: dict[str, Counter[int]] = {}  # statuses, by what the requests are made from


def cases(n: int) -> Callable[[Any], Any]:
    """That many examples, the same ones in every run: the seed comes from the test's source."""
    return settings(
        max_examples=n,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def count(kind: str, status: int) -> None:
    ANSWERS.setdefault(kind, Counter())[status] += 1


def pytest_sessionstart(session: pytest.Session) -> None:
    if directory := os.environ.get("FUZZ_RECORD"):
        told = {"cases": N_CASES, "seed": "from each test's source (hypothesis, derandomize)"}
        session.config.stash[REPORT] = Report("fuzz", Path(directory), told, command="make fuzz")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if report := session.config.stash.get(REPORT, None):
        for kind, statuses in ANSWERS.items():
            report.add(
                requests_from=kind, n=statuses.total(), by_status=dict(sorted(statuses.items()))
            )
        broken = sum(n for c in ANSWERS.values() for status, n in c.items() if status >= 500)
        report.hold(Bar(name="answers of 500 and above", value=broken, limit=0))
        report.hold(Bar(name="tests that failed", value=session.testsfailed, limit=0))
        report.finish()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for kind, statuses in ANSWERS.items():
        terminalreporter.write_line(f"fuzz: {statuses.total()} requests from {kind}")


REPORT: pytest.StashKey[Report] = pytest.StashKey()
