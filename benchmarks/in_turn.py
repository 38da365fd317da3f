"""Several benchmarks, one after the other: what is done already is left out, the time left is told.

Each runs in a process of its own, so that a failure ends only that one.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measured import Measured, latest, read
from benchmarks.results import current_commit, say

Plan = Mapping[str, Mapping[str, Any]]  # what each benchmark is asked to do, by its name


def run_command(arguments: Sequence[str]) -> bool:
    """Run `python -m benchmarks` with these arguments; tell whether it came to its end."""
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, check=False).returncode == 0


def run_in_turn(
    plan: Plan,
    out: Path,
    *,
    quick: bool,
    again: bool,
    run: Callable[[Sequence[str]], bool] = run_command,
) -> list[str]:
    """Run what has no result of this commit yet; return the names of those that failed.

    Args:
        plan: in this order.
        out: where results are read from and written to.
        quick: the short forms.
        again: also what has a result of this commit.
        run: runs one, told its arguments.
    """
    files, commit = read(out), current_commit()
    took_s = {name: m.took_s for name, m in latest(files, quick=quick).items()}
    left = list(plan) if again else left_to_run(plan, files, commit)
    if done := [name for name in plan if name not in left]:
        say(f"done already at this commit: {', '.join(done)}")
    failed = []
    began_s = time.monotonic()
    for i, name in enumerate(left):
        used = minutes(time.monotonic() - began_s)
        say(f"{name} ({i + 1} of {len(left)}); {used} used, {time_left(left[i:], took_s)}")
        if not run([name, "--out", str(out), *["--quick"] * quick]):
            failed.append(name)
    say(f"{len(left)} run in {minutes(time.monotonic() - began_s)}, {len(failed)} failed")
    return failed


def left_to_run(plan: Plan, files: Iterable[Measured], commit: Mapping[str, Any]) -> list[str]:
    """Return what has no whole run with the plan's settings of the code as it stands.

    Args:
        plan: what is asked for.
        files: of any benchmarks.
        commit: that runs; see `results.current_commit`. Code that was changed has no results.
    """
    done = [(m.what, m.settings) for m in files if m.is_whole and m.content["commit"] == commit]
    return [name for name in plan if commit["dirty"] or (name, plan[name]) not in done]


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
