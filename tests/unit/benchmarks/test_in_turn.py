"""Benchmarks in turn: which are done, what is said of the time left, what a failure does."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.in_turn import left_to_run, run_in_turn, time_left
from benchmarks.measured import Measured, latest, read
from benchmarks.results import current_commit

COMMIT = {"id": "abc", "dirty": False}
PLAN = {"first": {"quick": False}, "second": {"quick": False}}


def content(**differs: Any) -> dict[str, Any]:
    return {
        "what": "first",
        "began": "2026-01-01T00:00:00+00:00",
        "took_s": 90.0,
        "complete": True,
        "commit": COMMIT,
        "settings": {"quick": False},
    } | differs


@pytest.mark.parametrize(
    ("differs", "done"),
    [
        ({}, True),
        ({"what": "a third"}, False),
        ({"complete": False}, False),
        ({"settings": {"quick": True}}, False),
        ({"settings": {"quick": False, "minutes": 1.0}}, False),
        ({"commit": {"id": "of another", "dirty": False}}, False),
        ({"commit": {"id": "abc", "dirty": True}}, False),
    ],
)
def test_only_a_whole_run_of_the_same_code_and_settings_is_done(
    differs: dict[str, Any], done: bool
) -> None:
    files = [Measured(path=Path(), content=content(**differs))]
    assert left_to_run(PLAN, files, COMMIT) == (["second"] if done else ["first", "second"])


def test_nothing_is_done_where_the_code_was_changed() -> None:
    changed = {"id": "abc", "dirty": True}
    files = [Measured(path=Path(), content=content(commit=changed))]
    assert left_to_run(PLAN, files, changed) == ["first", "second"]


def test_what_is_done_runs_again_where_it_is_asked_for(tmp_path: Path) -> None:
    asked: list[str] = []

    def run(arguments: Sequence[str]) -> bool:
        asked.append(arguments[0])
        return True

    commit = current_commit()
    (tmp_path / "done.json").write_text(json.dumps(content(commit=commit)))
    for again in (False, True):
        assert run_in_turn(PLAN, tmp_path, quick=False, again=again, run=run) == []
    changed = commit["dirty"]  # then nothing counts as done
    assert asked == [*(["first"] if changed else []), "second", "first", "second"]


def test_the_time_left_is_what_the_last_runs_took() -> None:
    assert time_left(["a", "b"], {"a": 60.0, "b": 30.0}) == "about 1.5 min left"
    assert "1.0 min left and what has never run here: b" in time_left(["a", "b"], {"a": 60.0})


def test_a_failure_ends_only_that_benchmark(tmp_path: Path) -> None:
    asked: list[Sequence[str]] = []

    def run(arguments: Sequence[str]) -> bool:
        asked.append(arguments)
        return arguments[0] != "first"

    failed = run_in_turn(PLAN, tmp_path, quick=True, again=False, run=run)
    assert failed == ["first"]
    out = ["--out", str(tmp_path), "--quick"]
    assert asked == [["first", *out], ["second", *out]]


def test_the_latest_whole_run_is_shown(tmp_path: Path) -> None:
    for name, differs in {
        "old": {"took_s": 1.0},
        "new": {"took_s": 2.0, "began": "2026-01-02T00:00:00+00:00"},
        "short": {"settings": {"quick": True}, "began": "2026-01-03T00:00:00+00:00"},
        "broken_off": {"complete": False, "began": "2026-01-04T00:00:00+00:00"},
    }.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content(**differs)))
    assert latest(read(tmp_path))["first"].path.stem == "new"
    assert latest(read(tmp_path), quick=True)["first"].path.stem == "short"
