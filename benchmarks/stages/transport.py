"""What the graph costs around the stages: the core time of every process of a running graph.

The replicas of AudioPreprocessor and WhisperTranscriber are told apart from the rest, which is
HTTP, the Ingress and Ray itself. What they take while nothing is asked of them is subtracted.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks import processes
from benchmarks.graph import Graph, running_graph
from benchmarks.local import Workpiece, embedded_workpiece
from benchmarks.results import Report, seconds
from benchmarks.stages.cost import WINDOW_S, Point, add_cost
from benchmarks.workload import speech_opus

REPLICAS = ("AudioPreprocessor", "WhisperTranscriber")
REST = "transport"
ROLES = (*REPLICAS, REST)
IDLE_S = 5.0


def measure_transport(report: Report, times: Mapping[float, int]) -> None:
    """Send files one after the other, of each length in seconds so many."""
    work = embedded_workpiece(
        threads=1, encoder_window="fit"
    )  # the model is not what is asked about
    with running_graph(work.args) as graph:
        for length_s in times:
            graph.post(speech_opus(length_s), work.fields)  # warm-up
        idle = _spent(lambda: time.sleep(IDLE_S))
        for length_s, n_files in times.items():
            file = speech_opus(length_s)
            axis = "clip_s" if length_s <= WINDOW_S else "file_s"
            spent = _spent(partial(_post, graph, work, [file] * n_files))
            for role in ROLES:
                core_s = spent.core_s[role] - idle.core_s[role] / idle.took_s * spent.took_s
                point = Point(stage=role, of="opus", axis=axis, at=length_s)
                add_cost(report, point, [core_s / (n_files * length_s)])


def _post(graph: Graph, work: Workpiece, files: Sequence[bytes]) -> None:
    for file in files:
        graph.post(file, work.fields)


def role_of(name: str) -> str:
    """Return whose work a process does, by its name."""
    return next((role for role in REPLICAS if role in name), REST)


@dataclass(frozen=True, kw_only=True)
class _Spent:
    took_s: float  # on the clock
    core_s: Mapping[str, float]  # by role


def _spent(work: Callable[[], object]) -> _Spent:
    """Do the work and return the core time of all processes that this one started."""
    before = _core_s_by_role()
    took_s = seconds(work)
    after = _core_s_by_role()
    return _Spent(took_s=took_s, core_s={role: after[role] - before[role] for role in ROLES})


def _core_s_by_role() -> dict[str, float]:
    found = dict.fromkeys(ROLES, 0.0)
    for pid, name in processes.started().items():
        found[role_of(name)] += processes.core_seconds(pid) or 0.0
    return found
