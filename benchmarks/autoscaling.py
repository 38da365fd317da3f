"""Replicas that follow a step of load and go back, and a second model from zero and back to it."""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray import serve

from benchmarks.graph import APP, Graph, deploy, running_ray
from benchmarks.local import Workpiece, embedded_workpiece
from benchmarks.results import Bar, Report, percentiles, say, seconds
from serve_app.settings import AppSettings
from tests.clips import clip, encode, references

STEP, REST, SECOND = 12, 1, "second"  # clients, and the model at zero replicas
MAX_REPLICAS = 3
P95_OVER_S = 5.0  # the answers that a point of the timeline looks back at
SETTLE_LIMIT_S = 90.0  # after the step, for the replicas to go back
# The reactions of the profiles for GPUs, but for the delays before a replica goes: theirs are
# minutes. Two chunks for each replica, as a batch of the demo model is one.
REACTION = {
    "target_ongoing_requests": 2,
    "metrics_interval_s": 1,
    "look_back_period_s": 5,
    "upscale_delay_s": 3,
    "downscale_delay_s": 15,
    "downscale_to_zero_delay_s": 15,
}


class Clients:
    """Clients in a closed loop: each sends its clip again as soon as it has the answer."""

    def __init__(self, graph: Graph, work: Workpiece, alone: Mapping[str, str]) -> None:
        """Make them; none sends yet.

        Args:
            graph: whom they ask.
            work: what else they send.
            alone: what each clip says where nothing else runs, by its name.
        """
        self.n_active = 0
        self.answers: list[tuple[float, float]] = []  # when, on the clock, and after how long
        self.problems: list[str] = []
        self._graph = graph
        self._fields = work.fields
        self._alone = alone
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(i,)) for i in range(STEP)]

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def p95_s(self) -> float | None:
        """Return the 95th percentile of the latest answers' times; None where none came."""
        since_s = time.monotonic() - P95_OVER_S
        latest = [took_s for at_s, took_s in self.answers if at_s >= since_s]
        return percentiles(latest)["p95_s"] if latest else None

    def _run(self, i: int) -> None:
        names = sorted(self._alone)
        name = names[i % len(names)]
        audio = encode(clip(name))
        while not self._stop.is_set():
            if i >= self.n_active:
                time.sleep(0.05)
                continue
            began_s = time.monotonic()
            try:
                text = self._graph.post(audio, self._fields)["text"]
                problem = "" if text == self._alone[name] else f"{name}: {text}"
            except Exception as error:  # noqa: BLE001 - counted, and told in the report
                problem = repr(error)
            now_s = time.monotonic()
            self.answers.append((now_s, now_s - began_s))
            if problem:
                self.problems.append(problem)


def run(report: Report, *, quick: bool) -> None:
    """Step the load up and down, and wake the second model; write the report.

    Args:
        report: gets a row a second.
        quick: shorter phases.
    """
    work = embedded_workpiece(threads=1)
    with running_ray() as url:
        graph = _deployed(url, work)
        n_second = _replicas(graph, SECOND)
        alone = {
            name: graph.post(encode(clip(name)), work.fields)["text"]
            for name in sorted(references())[:STEP]
        }
        with Clients(graph, work, alone) as clients:
            timeline = _Timeline(report, graph, clients)
            took_s = _wake_second(graph, work)
            timeline.watch("before", n_clients=REST, duration_s=5)
            timeline.watch("step", n_clients=STEP, duration_s=20 if quick else 30)
            timeline.watch("after", n_clients=REST, duration_s=SETTLE_LIMIT_S, until_small=True)
    report.note(f"The second model's first request took {took_s:.1f} s, its replica's start in it.")
    for problem in clients.problems[:5]:
        report.note(problem)
    _hold(report, clients, n_second=n_second)
    _plot(report)


class _Timeline:
    """Adds a row to the report each second: load, replicas, p95."""

    def __init__(self, report: Report, graph: Graph, clients: Clients) -> None:
        self._report = report
        self._graph = graph
        self._clients = clients
        self._began_s = time.monotonic()

    def watch(
        self, phase: str, *, n_clients: int, duration_s: float, until_small: bool = False
    ) -> None:
        """Let so many clients send; leave early once both models are as small as they may be."""
        say(f"{phase}: {n_clients} clients")
        self._clients.n_active = n_clients
        end_s = time.monotonic() + duration_s
        while time.monotonic() < end_s:
            row = self._look(phase)
            self._report.add(**row)
            if until_small and (row["n_replicas"], row["n_second"]) == (1, 0):
                return
            time.sleep(1.0)

    def _look(self, phase: str) -> dict[str, Any]:
        return {
            "at_s": time.monotonic() - self._began_s,
            "phase": phase,
            "n_clients": self._clients.n_active,
            "n_replicas": _replicas(self._graph, self._graph.settings.models[0].name),
            "n_second": _replicas(self._graph, SECOND),
            "p95_s": self._clients.p95_s(),
            "n_answers": len(self._clients.answers),
            "n_failed": len(self._clients.problems),
        }


def _deployed(url: str, work: Workpiece) -> Graph:
    """Deploy two copies of the model, the second at zero replicas."""
    [model] = work.args["models"]
    args = {"models": [model, {**model, "name": SECOND}]}
    scaling = {
        model["name"]: {"min_replicas": 1, "max_replicas": MAX_REPLICAS, **REACTION},
        SECOND: {"min_replicas": 0, "max_replicas": 1, **REACTION},
    }
    small = {"ray_actor_options": {"num_cpus": 0.25}}
    transcribers = [
        {"name": f"WhisperTranscriber-{name}", "autoscaling_config": config, **small}
        | {"user_config": {"max_batch_size": 1}}
        for name, config in scaling.items()
    ]
    deploy(
        args, [{"name": "Ingress", **small}, {"name": "AudioPreprocessor", **small}, *transcribers]
    )
    return Graph(url=url, settings=AppSettings.model_validate(args))


def _replicas(graph: Graph, model: str) -> int:
    """Return how many replicas of the model run."""
    deployments = serve.status().applications[APP].deployments
    states = deployments[f"WhisperTranscriber-{model}"].replica_states
    return int(sum(n for state, n in states.items() if state == "RUNNING"))


def _wake_second(graph: Graph, work: Workpiece) -> float:
    """Send the second model its first request; return how long it took."""
    audio = encode(clip("light"))
    fields = {**work.fields, "model": SECOND}
    took_s = seconds(lambda: graph.post(audio, fields))
    text = graph.post(audio, fields)["text"]
    if text != references()["light"]:
        raise RuntimeError(f"the second model answered: {text}")
    return took_s


def _hold(report: Report, clients: Clients, *, n_second: int) -> None:
    last = report.rows[-1]
    most = {key: max(row[key] for row in report.rows) for key in ("n_replicas", "n_second")}
    step = [row for row in report.rows if row["phase"] == "step"]
    grown = [row["at_s"] - step[0]["at_s"] for row in step if row["n_replicas"] > 1]
    if grown:
        report.note(f"The second replica ran {grown[0]:.0f} s after the step.")
    bars: Sequence[tuple[str, float, float, bool]] = (
        ("replicas under load", most["n_replicas"], 2, True),
        ("replicas at the end", last["n_replicas"], 1, False),
        ("failed requests", len(clients.problems), 0, False),
        ("second model: replicas before its first request", n_second, 0, False),
        ("second model: replicas after it", most["n_second"], 1, True),
        ("second model: replicas at the end", last["n_second"], 0, False),
    )
    for name, value, limit, at_least in bars:
        report.hold(Bar(name=name, value=value, limit=limit, at_least=at_least))


def _plot(report: Report) -> None:
    at_s = [row["at_s"] for row in report.rows]

    def line(key: str) -> NDArray[np.float64]:
        return np.array([row[key] for row in report.rows], float)  # a gap where there is None

    with report.plot(n_axes=2) as (left, right):
        left.step(at_s, line("n_clients"), where="post", label="clients")
        left.step(at_s, line("n_replicas"), where="post", label="replicas")
        left.step(at_s, line("n_second"), where="post", label="replicas of the second model")
        left.set(xlabel="s", ylim=(0, None))
        left.legend()
        right.plot(at_s, line("p95_s"))
        right.set(
            xlabel="s", ylabel=f"p95 of the last {P95_OVER_S:.0f} s' answers, s", ylim=(0, None)
        )
