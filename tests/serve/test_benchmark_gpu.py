"""The GPU benchmark in its quick form: the same command and the same graph, small, on the CPU."""

import json
import subprocess
import sys
from pathlib import Path


def test_the_gpu_benchmark_runs_to_its_end_without_a_gpu(tmp_path: Path) -> None:
    parts = ["--only", "fast", "--only", "graph"]
    command = [sys.executable, "-m", "benchmarks", "gpu", "--quick", "--out", str(tmp_path), *parts]
    subprocess.run(command, check=True, timeout=280)
    [path] = tmp_path.glob("*-gpu.json")
    report = json.loads(path.read_text())
    assert report["complete"]
    assert report["notes"] == []  # nothing was left out, failed or was cut off
    assert report["bars"] == []  # they are for a GPU
    rows = report["rows"]
    assert {row["timestamps"] for row in rows if "encode_ms_per_window" in row} == {False, True}
    loads = [row for row in rows if row.get("what") in ("closed loop", "open loop")]
    assert len(loads) == 2
    assert all(row["n_answered"] and not row["n_not_answered"] for row in loads)
    [long_file] = [row for row in rows if row.get("what") == "one file"]
    assert long_file["times"] > 0
