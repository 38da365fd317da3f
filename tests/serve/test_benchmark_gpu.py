"""The GPU benchmark in its quick form, without the parts that need a graph or torch."""

import json
import subprocess
import sys
from pathlib import Path


def test_the_gpu_benchmark_runs_to_its_end_without_a_gpu(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "gpu", "--quick", "--out", str(tmp_path)]
    subprocess.run([*command, "--only", "fast"], check=True, timeout=170)
    [path] = tmp_path.glob("*-gpu.json")
    report = json.loads(path.read_text())
    assert report["complete"]
    assert report["notes"] == []  # nothing was left out, failed or was cut off
    assert report["bars"] == []  # they are for a GPU
    measured = [row for row in report["rows"] if "encode_ms_per_window" in row]
    assert {row["timestamps"] for row in measured} == {False, True}
    assert all(row["windows_per_s"] > 0 for row in measured)
