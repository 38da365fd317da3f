"""Damaged audio and video files: how many are decoded, refused, given up; none may do more.

Every file is decoded in slices in a process of its own, which is watched from outside.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable

import click

from benchmarks.results import Bar, Report, say
from tests.isolated import (
    ACCEPTED,
    DIED,
    HANG_S,
    HUNG,
    LIMITS,
    MEMORY_BYTES,
    REFUSED,
    TIMED_OUT,
    UNTYPED,
    Verdict,
    judge_mutants,
)
from tests.mutants import STRUCTURAL

OUTCOMES = (ACCEPTED, REFUSED, TIMED_OUT, UNTYPED, DIED, HUNG)
# The containers that clients send. Each may be several formats of `tests.mutants`.
COMMON = ("wav", "mp3", "flac", "ogg", "opus", "m4a", "webm", "amr", "mp4")
N_COMMON = 20_000  # of these at least
SAY_EVERY_S = 30.0

OPTIONS = (
    click.Option(["--cases"], type=int, default=40_000, show_default=True),
    click.Option(["--first"], type=int, default=0, help="Number of the first mutant."),
)


def run(report: Report, *, quick: bool, cases: int, first: int) -> None:
    """Decode the mutants from number `first` on; write the report."""
    n_cases = 500 if quick else cases
    numbers = range(first, first + n_cases)
    verdicts = list(_told(judge_mutants(numbers, n_processes=os.cpu_count() or 1), n_cases))
    _add(report, "format", verdicts, lambda verdict: verdict.format)
    _add(report, "damage", verdicts, lambda verdict: verdict.kind)
    counts = Counter(verdict.outcome for verdict in verdicts)
    report.add(all="all", n=len(verdicts), **{outcome: counts[outcome] for outcome in OUTCOMES})
    for verdict in verdicts:
        if verdict.outcome in (TIMED_OUT, UNTYPED, DIED, HUNG):
            report.add(number=verdict.number, outcome=verdict.outcome, told=verdict.told)
    _hold(report, verdicts, counts)
    report.note(
        f"Limits: {LIMITS.timeout_s:g} s for a slice, {LIMITS.max_audio_s:g} s of audio, "
        f"{MEMORY_BYTES / 1e6:.0f} MB of memory; a process that is silent for {HANG_S:g} s is "
        "killed and counted as hung, one that a file ends as died."
    )


def _told(verdicts: Iterable[Verdict], n_cases: int) -> Iterable[Verdict]:
    """Print every while how far it is."""
    told_s = time.monotonic()
    for n_done, verdict in enumerate(verdicts, start=1):
        if time.monotonic() - told_s > SAY_EVERY_S:
            told_s = time.monotonic()
            say(f"{n_done} of {n_cases}")
        yield verdict


def _add(
    report: Report, title: str, verdicts: list[Verdict], key: Callable[[Verdict], str]
) -> None:
    """Add a row for each format, or for each kind of damage."""
    counts: dict[str, Counter[str]] = {}
    for verdict in verdicts:
        counts.setdefault(key(verdict), Counter())[verdict.outcome] += 1
    for name, found in sorted(counts.items()):
        figures = {outcome: found[outcome] for outcome in OUTCOMES}
        report.add(**{title: name}, n=found.total(), **figures)


def _hold(report: Report, verdicts: list[Verdict], counts: Counter[str]) -> None:
    n_common = sum(verdict.format.split("_")[0] in COMMON for verdict in verdicts)
    n_structural = sum(verdict.kind in STRUCTURAL for verdict in verdicts)
    for outcome in (UNTYPED, DIED, HUNG):
        report.hold(Bar(name=f"files that {outcome}", value=counts[outcome], limit=0))
    report.hold(Bar(name=f"of {', '.join(COMMON)}", value=n_common, limit=N_COMMON, at_least=True))
    share = n_structural / len(verdicts)
    report.hold(Bar(name="damage in the structure, share", value=share, limit=0.5, at_least=True))
    slowest_s = max(verdict.took_s for verdict in verdicts)
    report.hold(Bar(name="the slowest file, s", value=slowest_s, limit=HANG_S))
    grown_mb = max(verdict.grown_bytes for verdict in verdicts) / 1e6
    report.hold(Bar(name="growth of a process, MB", value=grown_mb, limit=MEMORY_BYTES / 1e6))
