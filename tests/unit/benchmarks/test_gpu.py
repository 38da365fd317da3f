import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.budget import PARTS, Deadline, Part, choose_parts, group, share_s
from benchmarks.gpu.cublas import find_cublas_13, link_as_12, with_links
from benchmarks.gpu.engine import expected_s
from benchmarks.gpu.part import MEASURES, run_parts
from benchmarks.gpu.plan import Plan, choose_plan
from benchmarks.gpu.reading import bars, best_rate, tell
from benchmarks.random_model import SHAPES
from benchmarks.verdicts import Answer, Row, Verdict

A = Part(name="a", weight=1, needs_s=5, process="one")
B = Part(name="b", weight=3, needs_s=5, process="two")


def request(request_id: int, sent_s: float, verdict: Verdict = Verdict.OK) -> Row:
    return Row(request_id=request_id, sent_s=sent_s, took_s=0.5, answer=Answer(), verdict=verdict)


def test_what_a_part_does_not_use_the_next_ones_have() -> None:
    assert share_s(100.0, [A, B]) == 25.0
    assert share_s(95.0, [B]) == 95.0
    assert share_s(100.0, [A, B, A], 2) == 80.0


def test_parts_of_one_process_run_together_and_in_their_order() -> None:
    assert group([A, A, B], one_process=False) == [[A, A], [B]]
    assert group([A, A, B], one_process=True) == [[A, A, B]]
    assert [p.name for p in choose_parts(["types", "fast"])] == ["fast", "types"]
    assert choose_parts([]) == list(PARTS)
    # Else a group's share would not be that of the parts it runs.
    assert [part for parts in group(PARTS, one_process=False) for part in parts] == list(PARTS)


def test_every_part_has_its_measure() -> None:
    assert set(MEASURES) == {part.name for part in PARTS}


def test_parts_that_fail_are_rows_and_the_others_go_on() -> None:
    plan = choose_plan(n_gpus=0, n_cores=2, quick=True)
    broken = replace(plan, compute_type="no such type")
    rows = list(run_parts(broken, 60.0, ["workers", "features"]))
    assert [row["part"] for row in rows if "failed" in row] == ["workers"]
    assert any(row.get("by") == "numpy" and row["ms_per_window"] > 0 for row in rows)


def test_a_deadline_tells_whether_another_point_fits() -> None:
    now_s = 0.0
    deadline = Deadline(10.0, clock=lambda: now_s)
    assert deadline.has(10.0)
    now_s = 8.0
    assert deadline.left_s == 2.0
    assert not deadline.has(3.0)


def test_a_long_batch_is_expected_to_be_measured_once() -> None:
    assert expected_s(1.0, n_rounds=3) == 4.0
    assert expected_s(5.0, n_rounds=3) == 5.0


@pytest.mark.parametrize("n_gpus", [0, 1])
@pytest.mark.parametrize("quick", [False, True])
def test_a_plan_survives_the_way_to_its_process(n_gpus: int, quick: bool) -> None:
    plan = choose_plan(n_gpus=n_gpus, n_cores=16, quick=quick)
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    assert {plan.fast, plan.large} <= set(SHAPES)
    assert plan.device == ("cuda" if n_gpus and not quick else "cpu")


def test_cublas_13_is_found_whole_and_linked_under_the_name_of_12(tmp_path: Path) -> None:
    half, whole, links = tmp_path / "half", tmp_path / "whole", tmp_path / "links"
    for folder, names in ((half, ["libcublas"]), (whole, ["libcublas", "libcublasLt"])):
        folder.mkdir()
        for name in names:
            (folder / f"{name}.so.13").write_text(name)
    assert find_cublas_13([half]) is None
    assert find_cublas_13([half, whole]) == whole
    for _ in range(2):  # again over the links of the last run
        link_as_12(whole, links)
    assert (links / "libcublas.so.12").read_text() == "libcublas"
    assert (links / "libcublasLt.so.12").read_text() == "libcublasLt"
    found = with_links({"LD_LIBRARY_PATH": "/before", "HOME": "/root"}, whole, links)
    assert found == {"LD_LIBRARY_PATH": f"{links}:{whole}:/before", "HOME": "/root"}


ROWS: list[dict[str, Any]] = [
    {"part": "device", "name": "NVIDIA H200, 580.1"},
    {"part": "fast", "model": "large-v3-turbo", "timestamps": False, "windows_per_s": 90.0},
    {"part": "fast", "model": "large-v3-turbo", "timestamps": True, "windows_per_s": 150.0},
    {"part": "workers", "model": "large-v3-turbo", "n_workers": 2, "windows_per_s": 120.0},
    {"part": "large", "model": "large-v3", "left_out": "no time"},
    {"part": "graph", "what": "closed loop", "concurrency": 1, "p50_s": 0.2},
    {"part": "graph", "what": "closed loop", "concurrency": 64, "p50_s": 0.6},
    {"part": "graph", "what": "open loop", "requests_per_s": 80.0, "p95_s": 0.4},
    {"part": "graph", "what": "one file", "audio_s": 9000.0, "took_s": 5.0},
]


def test_the_bars_are_of_what_was_measured_and_without_timestamps() -> None:
    assert best_rate(ROWS, "large-v3-turbo") == 120.0
    assert best_rate(ROWS, "large-v3") is None
    assert [bar.met for bar in bars(ROWS)] == [True, False, True, True]


@pytest.mark.parametrize(
    ("device", "has_bars"),
    [
        ("NVIDIA H100 80GB HBM3", True),
        ("NVIDIA GH200 480GB", True),
        ("NVIDIA L4", False),
        ("CPU", False),
    ],
)
def test_the_bars_are_for_the_devices_that_they_were_set_for(device: str, has_bars: bool) -> None:
    rows = [{"part": "device", "name": device}, *ROWS[1:]]
    assert bool(list(bars(rows))) == has_bars


def test_the_begin_of_a_load_is_not_counted_and_noise_is_told() -> None:
    rows = [request(i, sent_s=float(i)) for i in range(8)]
    rows += [request(8, 5.0, Verdict.MIXED), request(9, 6.0, Verdict.FAILED)]
    made = tell(rows, load_s=8.0)
    assert made["answered_per_s"] == pytest.approx(7 / 6)
    assert made["p50_s"] == 0.5
    assert (made["n_answered"], made["n_unlike_alone"], made["n_not_answered"]) == (9, 1, 1)
