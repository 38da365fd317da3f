"""The soak's two-minute form: faults in turn under load, some bad input, a graph of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.soak import FAULTS

ROOT = Path(__file__).parents[2]
LIMIT_S = 480.0


@pytest.mark.timeout(LIMIT_S + 20)
def test_faults_in_turn_leave_no_request_unanswered_and_none_with_anothers_text(
    tmp_path: Path,
) -> None:
    # A process of its own: its Ray is not that of the other tests.
    command = [sys.executable, "-m", "benchmarks", "soak", "--quick", "--out", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=LIMIT_S)
    [path] = tmp_path.glob("*-soak.json")
    report = json.loads(path.read_text())
    [soak] = [row for row in report["rows"] if row.get("phase") == "soak"]
    assert {what: soak[what] for what in ("refused", "failed", "lost", "mixed")} == dict.fromkeys(
        ("refused", "failed", "lost", "mixed"), 0
    ), soak["wrong"]
    assert soak["ok"] > 100
    planted = {row["fault"] for row in report["rows"] if "fault" in row}
    assert len(planted) >= len(FAULTS) // 2  # on a busy machine each takes longer
