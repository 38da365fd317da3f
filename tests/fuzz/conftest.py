"""How many cases: FUZZ_CASES in the environment, 150 where it is not set."""

import os

import pytest

N_CASES = int(os.environ.get("FUZZ_CASES", "150"))
COUNTS: dict[str, int] = {}  # requests sent, by what they are made from


def count(kind: str) -> None:
    COUNTS[kind] = COUNTS.get(kind, 0) + 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for kind, n in COUNTS.items():
        terminalreporter.write_line(f"fuzz: {n} requests from {kind}")
