"""A proxy or a node lost, cut off or told to end, of two behind the front proxy that is shipped."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import click
import numpy as np
from ray.exceptions import RayError

from benchmarks import faults
from benchmarks.chaos import PLAIN, STOCK, Trial, replicated, try_trial, utterances_of
from benchmarks.faults import Replicas
from benchmarks.graph import Graph, deploy
from benchmarks.load import Load
from benchmarks.local import embedded_workpiece
from benchmarks.nodes import FrontProxy, Node, cluster, enter_namespaces, front_proxy
from benchmarks.results import Report, seconds
from serve_app.settings import AppSettings

N_REPLICAS = 2  # one of each deployment on each node
N_CLIENTS = 6
STAYS_AWAY_S = 45.0  # a node that is lost: by then Ray has given it up, and one does all the work
OPTIONS = (click.Option(["--times"], type=int, default=3, show_default=True, help="Of each."),)


def run(report: Report, *, quick: bool, times: int) -> None:
    """Plant each fault so many times under load; write the report.

    Args:
        report: gets a row for each kind.
        quick: each once, and fewer clips.
        times: how often each is planted.
    """
    enter_namespaces()
    args = embedded_workpiece(threads=1).args
    deployments = [{**one, "max_replicas_per_node": 1} for one in replicated(N_REPLICAS)]
    with cluster(N_REPLICAS) as (head, *nodes), front_proxy(nodes) as front:
        deploy(args, deployments)
        faults.wait_until(lambda: all(node.answers() for node in nodes))
        # Its page of metrics, which the front proxy hides, is read at the node that stays.
        graph = Graph(url=nodes[0].url, settings=AppSettings.model_validate(args))
        utterances = utterances_of(graph, {}, n=8 if quick else 32)
        for trial in trials(head, nodes, front):
            load = Load(front.url, utterances, trial.client)
            try_trial(report, graph, load, trial, 1 if quick else times)
    report.note(
        "Both nodes are on one machine, each with an address of its own; a node comes back after "
        f"{STAYS_AWAY_S:.0f} s. The head has no replica, and its state lies in Redis."
    )


def trials(head: Node, nodes: Sequence[Node], front: FrontProxy) -> list[Trial]:
    """Return what becomes of the head and of the last of the nodes."""
    *others, lost = nodes
    replicas = [Replicas(deployment=one["name"], n=N_REPLICAS) for one in replicated(N_REPLICAS)]

    def whole() -> bool:
        with suppress(RayError):  # no head, or no controller yet
            run = all(one.n_running() == one.n for one in replicas)
            return run and all(node.answers() for node in nodes)
        return False

    def plant(fault: Callable[[], None]) -> Callable[[Graph, np.random.Generator], float]:
        def planted(*_: object) -> float:
            fault()
            return seconds(lambda: faults.wait_until(whole))

        return planted

    def kill(node: Node) -> None:
        node.kill()
        time.sleep(STAYS_AWAY_S)
        node.start()

    def cut_off() -> None:
        with lost.cut_off():
            time.sleep(2 * STAYS_AWAY_S)
            lost.kill()  # Ray lets no node back that it has given up
        lost.start()

    def end() -> None:
        front.send_to(others)  # as Kubernetes does
        lost.tell_to_end()
        lost.start()
        faults.wait_until(lost.answers)
        front.send_to(nodes)

    kinds = {
        "proxy killed": (lost.kill_proxy, PLAIN),
        "node told to end": (end, PLAIN),
        "head killed": (lambda: kill(head), PLAIN),
        "node killed": (lambda: kill(lost), STOCK),
        "node cut off": (cut_off, STOCK),
    }
    return [
        Trial(name=name, plant=plant(fault), client=client, n_clients=N_CLIENTS)
        for name, (fault, client) in kinds.items()
    ]
