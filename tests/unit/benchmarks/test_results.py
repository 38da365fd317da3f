"""The result file of a run, and of the run that goes on with it."""

import json
from pathlib import Path

from benchmarks.results import Bar, Report


def begun(out: Path) -> Report:
    report = Report("faults", out, {"times": 2}, command="first")
    report.hold(Bar(name="lost", value=0, limit=0))
    report.add(trial="one", ok=3)
    return report


def test_a_run_goes_on_with_what_one_of_another_day_has(tmp_path: Path) -> None:
    first = begun(tmp_path).path
    first.rename(first.with_name(f"2026-01-01{first.name.removeprefix(first.name[:10])}"))
    again = Report("faults", tmp_path, {"times": 2}, command="second")
    again.go_on()
    again.add(trial="two", ok=4)
    again.finish()
    content = json.loads(again.path.read_text())
    assert content["complete"]
    assert [row["trial"] for row in content["rows"]] == ["one", "two"]
    assert [(bar["name"], bar["met"]) for bar in content["bars"]] == [("lost", True)]
    assert [earlier["command"] for earlier in content["earlier"]] == ["first"]


def test_a_first_run_has_nothing_to_go_on_with(tmp_path: Path) -> None:
    report = Report("faults", tmp_path, {"times": 2})
    report.go_on()
    assert report.rows == []
