"""HAProxy in the place of Ray's own proxy, in a graph of its own: Ray starts with it or without."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.graph import HAPROXY_VARIABLE

ROOT = Path(__file__).parents[2]
TRIAL = "ingress behind HAProxy"
LIMIT_S = 300.0


@pytest.mark.skipif(
    os.environ.get(HAPROXY_VARIABLE) != "1",
    reason=f"takes 2 minutes; with {HAPROXY_VARIABLE}=1 all of tests/serve runs behind HAProxy",
)
@pytest.mark.timeout(LIMIT_S + 20)
def test_an_ingress_that_is_killed_behind_haproxy_costs_no_client_an_answer(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-m", "benchmarks", "chaos", "--quick", "--only", TRIAL]
    subprocess.run([*command, "--out", str(tmp_path)], cwd=ROOT, check=True, timeout=LIMIT_S)
    [path] = tmp_path.glob("*-chaos.json")
    [trial] = json.loads(path.read_text())["rows"]
    wrong = ("refused", "failed", "lost", "mixed")
    assert {what: trial[what] for what in wrong} == dict.fromkeys(wrong, 0), trial["wrong"]
    assert trial["n_faults"] == 2
    assert trial["ok"] > 20
