"""How many cases: FUZZ_CASES requests (150) and FUZZ_CONTAINERS damaged files (300)."""

import os

import pytest

N_CASES = int(os.environ.get("FUZZ_CASES", "150"))
N_CONTAINERS = int(os.environ.get("FUZZ_CONTAINERS", "300"))
COUNTS: dict[str, int] = {}  # cases, by what they are made from


def count(kind: str) -> None:
    COUNTS[kind] = COUNTS.get(kind, 0) + 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for kind, n in COUNTS.items():
        terminalreporter.write_line(f"fuzz: {n} from {kind}")
