"""The processes that this one started: their names, and what each uses of the machine.

USS is what a process has for itself: the memory that ending it would give back. The pages of Ray's
object store count where they are mapped by one process alone.
"""

import time
from dataclasses import dataclass

import psutil

_RAY_TITLE = "ray::"


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a process uses at one time."""

    uss_bytes: int
    n_files: int  # open ones, sockets included
    n_threads: int


def started() -> dict[int, str]:
    """Return the processes that this one started, by process id, under a name worth printing."""
    found = {}
    for process in psutil.Process().children(recursive=True):
        try:
            words = process.cmdline()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if words:  # else it has ended and is not collected yet
            found[process.pid] = _name(words)
    return found


def started_as(name: str) -> list[int]:
    """Return the ids of the processes of that name that this one started, oldest first."""
    return sorted(pid for pid, found in started().items() if found == name)


def usage(pid: int) -> Usage | None:
    """Return what a process uses; None where it has ended or does not tell."""
    try:
        process = psutil.Process(pid)
        return Usage(
            uss_bytes=process.memory_full_info().uss,
            n_files=process.num_fds(),
            n_threads=process.num_threads(),
        )
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None


def core_seconds(pid: int) -> float | None:
    """Return how long a process was on a core so far; None where it has ended or does not tell."""
    try:
        times = psutil.Process(pid).cpu_times()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None
    return float(times.user + times.system)


def cores_used(over_s: float) -> float:
    """Wait so long; return how many cores the processes that this one started kept busy."""
    before = {pid: core_seconds(pid) for pid in started()}
    time.sleep(over_s)
    after = {pid: core_seconds(pid) for pid in before}
    return sum((after[pid] or 0) - (s or 0) for pid, s in before.items() if after[pid]) / over_s


def _name(words: list[str]) -> str:
    """Shorten a command line: a Ray actor's title, else the program or the script."""
    if words[0].startswith(_RAY_TITLE):
        return words[0].removeprefix(_RAY_TITLE).split(".")[0].strip()
    script = next((word for word in words[1:3] if word.endswith(".py")), words[0])
    return script.rsplit("/", 1)[-1]
