"""Several benchmarks, one after the other: what is done already is left out, the time left is told.

Each runs in a process of its own, so that a failure ends only that one.
"""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measured import Measured, latest, read
from benchmarks.results import current_commit, say

Plan = Mapping[str, Mapping[str, Any]]  # what each benchmark is asked to do, by its name


def run_in_turn(plan: Plan, out: Path, *, quick: bool, again: bool) -> list[str]:
    """Run what has no result of this commit yet; return the names of those that failed.

    Args:
        plan: in this order.
        out: where results are read from and written to.
        quick: the short forms.
        again: also what has a result of this commit.
    """
    files = read(out)
    done = [] if again else [name for name in plan if is_done(plan[name], of(files, name))]
    took_s = {name: m.took_s for name, m in latest(files, quick=quick).items()}
    left = [name for name in plan if name not in done]
    if done:
        say(f"done already at this commit: {', '.join(done)}")
    failed = []
    began_s = time.monotonic()
    for i, name in enumerate(left):
        used = minutes(time.monotonic() - began_s)
        say(f"{name} ({i + 1} of {len(left)}); {used} used, {time_left(left[i:], took_s)}")
        command = [sys.executable, "-m", "benchmarks", name, "--out", str(out)]
        ended = subprocess.run(command + ["--quick"] * quick, check=False)
        if ended.returncode:
            failed.append(name)
    say(f"{len(left)} run in {minutes(time.monotonic() - began_s)}, {len(failed)} failed")
    return failed


def of(files: Sequence[Measured], name: str) -> list[Measured]:
    """Return the files of one benchmark."""
    return [measured for measured in files if measured.what == name]


def is_done(settings: Mapping[str, Any], files: Sequence[Measured]) -> bool:
    """Tell whether a file is a whole run with these settings of the code as it stands."""
    return any(
        measured.is_whole and dict(measured.settings) == dict(settings) and _is_current(measured)
        for measured in files
    )


def time_left(names: Sequence[str], took_s: Mapping[str, float]) -> str:
    """Say how long these benchmarks will take, by how long each took the last time."""
    known = minutes(sum(took_s.get(name, 0.0) for name in names))
    unknown = [name for name in names if name not in took_s]
    if unknown:
        return f"{known} left and what has never run here: {', '.join(unknown)}"
    return f"about {known} left"


def minutes(duration_s: float) -> str:
    """Return a time in words."""
    return f"{duration_s / 60:.1f} min"


def _is_current(measured: Measured) -> bool:
    commit = measured.content["commit"]
    return not commit["dirty"] and commit == current_commit()
