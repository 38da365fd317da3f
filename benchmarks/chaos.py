"""Replicas killed and hung under load: who is answered, and with whose text."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click
import numpy as np

from benchmarks import faults
from benchmarks.clients import DIARIZED, STOCK_RETRIES, Client
from benchmarks.faults import Replicas
from benchmarks.graph import Graph, haproxy_environment, running_graph
from benchmarks.load import Load
from benchmarks.local import embedded_workpiece
from benchmarks.results import Bar, Report, say
from benchmarks.utterances import Utterance, record_utterances
from serve_app.metrics import RETRIES

N_UTTERANCES = 64
N_CLIENTS = 8
METRICS_S = 15.0  # Ray's exporters are told every 10 s
DEADLINE_S = 60.0  # of a request beside a hung replica
SILENCE_S = 60.0  # behind each clip where the AudioPreprocessor is to be hit while it works
TRANSCRIBER, PREPROCESSOR, INGRESS = "WhisperTranscriber-demo", "AudioPreprocessor", "Ingress"
DIARIZER = "SpeakerDiarizer"

NOTHING_WRONG = {"refused": 0.0, "failed": 0.0, "lost": 0.0, "mixed": 0.0}
PLAIN, STOCK = Client(streams=True), Client(max_retries=STOCK_RETRIES)
SPEAKERS = Client(diarizes=True)

Plant = Callable[[Graph, np.random.Generator], float]  # a fault; seconds until all was whole again


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One kind of fault."""

    name: str
    plant: Plant
    n_replicas: int = 2  # of each deployment
    haproxy: bool = False  # in the place of Ray's own proxy
    n_times: int | None = None  # None: as many as asked for
    client: Client = PLAIN
    n_clients: int = N_CLIENTS
    silence_s: float = 0.0
    # Between two faults. A lone replica that dies at once again and again answers nobody.
    pause_s: tuple[float, float] = (1.0, 2.0)
    limits: Mapping[str, float] = field(default_factory=lambda: NOTHING_WRONG)

    @property
    def graph(self) -> tuple[int, bool, bool]:
        """Return its needs: how many replicas of each deployment, a diarizer or not, HAProxy."""
        return self.n_replicas, self.client.diarizes, self.haproxy


def _kill(deployment: str, n: int) -> Plant:
    return lambda _, rng: faults.kill_replica(Replicas(deployment=deployment, n=n), rng)


TRIALS = (
    Trial(name="transcriber", plant=_kill(TRANSCRIBER, 2)),
    Trial(name="preprocessor", plant=_kill(PREPROCESSOR, 2), silence_s=SILENCE_S),
    # A stream that its Ingress leaves open cannot be asked for again by any client.
    Trial(name="ingress", plant=_kill(INGRESS, 2), client=STOCK),
    Trial(
        name="transcriber hung",
        plant=lambda _, rng: faults.hang_replica(Replicas(deployment=TRANSCRIBER, n=2), rng),
        n_times=1,
        limits={**NOTHING_WRONG, "max_s": DEADLINE_S},
    ),
    Trial(name="controller", plant=lambda *_: faults.kill_process(faults.CONTROLLER), n_times=3),
    Trial(
        name="proxy",
        plant=lambda graph, _: faults.kill_proxy(graph.url),
        n_times=1,
        client=STOCK,
        limits={"mixed": 0},
    ),
    Trial(
        name="the only transcriber",
        plant=_kill(TRANSCRIBER, 1),
        n_replicas=1,
        n_times=10,
        pause_s=(5.0, 7.0),
    ),
    Trial(
        name="the only preprocessor",
        plant=_kill(PREPROCESSOR, 1),
        n_replicas=1,
        n_times=10,
        silence_s=SILENCE_S,
        pause_s=(5.0, 7.0),
    ),
    Trial(name="ingress behind HAProxy", plant=_kill(INGRESS, 2), client=STOCK, haproxy=True),
    Trial(
        name="HAProxy",
        plant=lambda graph, _: faults.kill_haproxy(graph.url),
        n_times=1,
        client=STOCK,
        limits={"mixed": 0},
        haproxy=True,
    ),
    # Two keep both replicas at work; more would keep the machine from starting the next one.
    Trial(name="diarizer", plant=_kill(DIARIZER, 2), client=SPEAKERS, n_clients=2),
)
OPTIONS = (
    click.Option(["--times"], type=int, default=20, show_default=True, help="Of each fault."),
    click.Option(
        ["--only"],
        type=click.Choice([trial.name for trial in TRIALS]),
        multiple=True,
        help="May be given several times.",
    ),
    click.Option(
        ["--go-on"],
        is_flag=True,
        help="Keep what the last file has of other trials than those of --only, and run the rest.",
    ),
)


def run(report: Report, *, quick: bool, times: int, only: tuple[str, ...], go_on: bool) -> None:
    """Plant each kind of fault so many times under load; write the report.

    Args:
        report: gets a row for each kind.
        quick: each twice, and fewer clips.
        times: how often each is planted.
        only: names of trials; none: all.
        go_on: leave out what the last run's file has of trials that `only` does not name.
    """
    times, n_utterances = (2, 16) if quick else (times, N_UTTERANCES)
    if go_on:
        report.go_on()
        report.rows = [row for row in report.rows if row["trial"] not in only]
        report.bars = [bar for bar in report.bars if bar.name.partition(":")[0] not in only]
    done = {row["trial"] for row in report.rows}
    recorded: dict[tuple[float, bool], list[Utterance]] = {}  # by what makes their texts differ
    wanted = [t for t in TRIALS if go_on or not only or t.name in only]
    chosen = [trial for trial in wanted if trial.name not in done]
    for needs in dict.fromkeys(trial.graph for trial in chosen):
        n, diarizes, haproxy = needs
        environment = haproxy_environment() if haproxy else {}
        with running_graph(*_replicated_graph(n, diarizes=diarizes), environment) as graph:
            for trial in (t for t in chosen if t.graph == needs):
                kind = (trial.silence_s, diarizes)
                if kind not in recorded:
                    # Text made with times may differ in a word from text without.
                    fields = DIARIZED if diarizes else {}
                    recorded[kind] = utterances_of(
                        graph, fields, silence_s=trial.silence_s, n=n_utterances
                    )
                load = Load(graph.url, recorded[kind], trial.client)
                try_trial(report, graph, load, trial, trial.n_times or times)
    report.note(
        "The proxy is one process on one node; behind a load balancer over two nodes its clients "
        "are sent to the other one."
    )


def _replicated_graph(
    n: int, *, diarizes: bool
) -> tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]:
    """Return the settings and Serve's options of a graph with so many replicas of each."""
    args, deployments = embedded_workpiece(threads=1).args, replicated(n)
    if not diarizes:
        return args, deployments
    return {**args, "diarization": {}}, [*deployments, {"name": DIARIZER, "num_replicas": n}]


def replicated(
    n: int, *, n_ingresses: int | None = None, max_batch_size: int = 8
) -> list[dict[str, Any]]:
    """Return Serve's options for so many replicas of each deployment.

    Batches are larger than the profile's 1: neighbours in a batch could be mixed up.
    """
    return [
        {"name": INGRESS, "num_replicas": n_ingresses or n},
        {"name": PREPROCESSOR, "num_replicas": n},
        {
            "name": TRANSCRIBER,
            "num_replicas": n,
            "user_config": {"max_batch_size": max_batch_size},
        },
    ]


def utterances_of(
    graph: Graph,
    fields: Mapping[str, str],
    *,
    silence_s: float = 0.0,
    n: int = N_UTTERANCES,
) -> list[Utterance]:
    """Record what the graph hears in each clip, asked with these fields, when idle."""
    say(f"recording what {n} clips give alone")
    return record_utterances(
        lambda audio: str(graph.post(audio, fields)["text"]), n, silence_s=silence_s
    )


def try_trial(report: Report, graph: Graph, load: Load, trial: Trial, n_times: int) -> None:
    """Plant one kind of fault so many times, and hold what the clients saw against its limits.

    Args:
        report: gets a row and the bars.
        graph: its page of metrics is read.
        load: runs meanwhile.
        trial: the kind.
        n_times: how often.
    """
    rng = np.random.default_rng(0)
    whole_after_s = []
    resent_before = graph.counter(RETRIES)
    with load.closed_loop(trial.n_clients):
        for i in range(n_times):
            time.sleep(rng.uniform(*trial.pause_s))
            whole_after_s.append(trial.plant(graph, rng))
            say(f"{trial.name}: {i + 1} of {n_times}, whole again after {whole_after_s[-1]:.1f} s")
        time.sleep(1.0)
    time.sleep(METRICS_S)
    figures: dict[str, Any] = load.figures()
    report.add(
        trial=trial.name,
        n_faults=n_times,
        n_replicas=trial.n_replicas,
        whole_after_s=float(np.median(whole_after_s)),
        n_resent=graph.counter(RETRIES) - resent_before,
        **figures,
    )
    for what, limit in trial.limits.items():
        report.hold(Bar(name=f"{trial.name}: {what}", value=figures[what], limit=limit))
