"""Faults planted in a running graph. Only processes that this one started are touched.

A fault is planted, and then waited for until the graph is whole again: as many replicas as before,
in Serve's view and in the machine's.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np
import requests
from ray import serve

from benchmarks import processes
from benchmarks.graph import APP
from benchmarks.results import seconds

WHOLE_LIMIT_S = 120.0  # a graph that is not whole again after this never will be
LOOK_EVERY_S = 0.1
HUNG_S = 60.0
CONTROLLER = "ServeController"
PROXY = "ProxyActor"
HAPROXY = "haproxy"


@dataclass(frozen=True, kw_only=True)
class Replicas:
    """A deployment and how many replicas it is meant to have."""

    deployment: str
    n: int
    app: str = APP

    @property
    def process_name(self) -> str:
        """Return the name of their processes."""
        return f"ServeReplica:{self.app}:{self.deployment}"

    def pids(self) -> list[int]:
        """Return their process ids."""
        return processes.started_as(self.process_name)

    def n_running(self) -> int:
        """Return how many Serve counts as running."""
        deployment = serve.status().applications[self.app].deployments[self.deployment]
        return sum(n for state, n in deployment.replica_states.items() if state == "RUNNING")

    def are_whole(self, without: int) -> bool:
        """Tell whether all run, and the process `without` is none of them."""
        alive = [pid for pid in self.pids() if pid != without]
        return len(alive) == self.n and self.n_running() == self.n


def kill_replica(replicas: Replicas, rng: np.random.Generator) -> float:
    """Kill one replica with SIGKILL; return the seconds until another had taken its place."""
    pid = int(rng.choice(replicas.pids()))
    os.kill(pid, signal.SIGKILL)
    return seconds(lambda: wait_until(lambda: replicas.are_whole(without=pid)))


def hang_replica(replicas: Replicas, rng: np.random.Generator, *, hung_s: float = HUNG_S) -> float:
    """Stop one replica as if it hung; return the seconds until it was replaced.

    It goes on when it was replaced and `hung_s` are over, unless it was killed.
    """
    pid = int(rng.choice(replicas.pids()))
    began_s = time.monotonic()
    with stopped(pid):
        took_s = seconds(lambda: wait_until(lambda: replicas.are_whole(without=pid)))
        time.sleep(max(0.0, began_s + hung_s - time.monotonic()))
    return took_s


def kill_process(name: str) -> float:
    """Kill the process of that name; return the seconds until there was another one."""
    [pid] = processes.started_as(name)
    os.kill(pid, signal.SIGKILL)
    return seconds(
        lambda: wait_until(lambda: any(other != pid for other in processes.started_as(name)))
    )


def kill_proxy(url: str) -> float:
    """Kill the HTTP proxy; return the seconds until it answered again."""
    started_s = kill_process(PROXY)
    return started_s + seconds(lambda: wait_until(lambda: _answers(url)))


def kill_haproxy(url: str) -> float:
    """Kill HAProxy, and those of before a reload; return the seconds until it answered again.

    Raises:
        RuntimeError: there is none.
    """
    killed = set(processes.started_as(HAPROXY))
    if not killed:
        raise RuntimeError("HAProxy does not run")
    for pid in killed:
        os.kill(pid, signal.SIGKILL)

    def is_back() -> bool:
        return bool(set(processes.started_as(HAPROXY)) - killed) and _answers(url)

    return seconds(lambda: wait_until(is_back))


def leave_early(url: str, audio: bytes, n: int, rng: np.random.Generator) -> None:
    """Post a file so many times and leave each time before its answer."""
    for _ in range(n):
        with suppress(requests.RequestException):
            requests.post(
                f"{url}/v1/audio/transcriptions",
                files={"file": ("clip", audio)},
                timeout=(5.0, rng.uniform(0.01, 0.5)),
            )


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds. Raises TimeoutError."""
    deadline_s = time.monotonic() + WHOLE_LIMIT_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"the graph was not whole again after {WHOLE_LIMIT_S:.0f} s")
        time.sleep(LOOK_EVERY_S)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Keep a process stopped while the block runs; it may be killed meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _answers(url: str) -> bool:
    with suppress(requests.RequestException):
        return requests.get(f"{url}/health", timeout=1).ok
    return False
