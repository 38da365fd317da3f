import time
from typing import Any

import pytest

from benchmarks.stages.cost import StageClock, cores_needed, find_cost, meaning, table


def row(stage: str, cost: float, *, of: str = "opus", **at: float) -> dict[str, Any]:
    [(axis, value)] = at.items()
    spread = {"median": cost, "min": cost, "max": cost, "values": [cost]}
    return {"stage": stage, "of": of, "axis": axis, "at": value, "core_s_per_audio_s": spread}


ROWS = [
    row("AudioPreprocessor", 0.004, clip_s=30.0),
    row("AudioPreprocessor", 0.009, clip_s=5.0),
    row("transport", 0.0006, clip_s=30.0),
]


@pytest.mark.parametrize(
    ("audio_s_per_s", "core_s_per_audio_s", "n"),
    [(3000.0, 0.004, 12), (3000.0, 0.0041, 13), (1000.0, 0.003, 3), (1.0, 0.0001, 1)],
)
def test_cores_are_counted_whole_and_there_is_at_least_one(
    audio_s_per_s: float, core_s_per_audio_s: float, n: int
) -> None:
    assert cores_needed(audio_s_per_s, core_s_per_audio_s) == n


def test_a_cost_is_found_by_what_was_varied() -> None:
    assert find_cost(ROWS, "AudioPreprocessor", "opus", clip_s=5.0) == 0.009
    assert find_cost(ROWS, "AudioPreprocessor", "opus", file_s=5.0) is None
    assert find_cost(ROWS, "AudioPreprocessor", "wav", clip_s=5.0) is None


def test_the_last_line_tells_the_cores_beside_one_gpu() -> None:
    said = meaning(ROWS, "opus")
    assert "3000 audio-seconds/s" in said
    assert "needs 12 AudioPreprocessor cores, and 2 for HTTP and Ray" in said
    assert "prepares 250 audio-seconds/s" in said
    assert "not measured" in meaning(ROWS, "wav")


def test_the_table_has_a_line_for_each_thing_that_was_varied() -> None:
    lines = table(ROWS).splitlines()
    assert len(lines) == 3
    assert lines[1].split() == ["AudioPreprocessor", "opus", "clip_s", "30:", "4", "5:", "9"]


def test_the_clock_parts_a_batch_into_its_stages_by_the_time_on_a_core() -> None:
    clock = StageClock()
    clock.begin()
    end_s = time.process_time() + 0.05
    while time.process_time() < end_s:
        pass
    clock("encode", 99.0)
    time.sleep(0.05)
    clock("generate", 99.0)
    assert clock.spent_s["encode"] == pytest.approx(0.05, abs=0.04)
    assert clock.spent_s["generate"] < clock.spent_s["encode"]
    clock.begin()
    assert clock.spent_s == {}
