"""Five times what the graph can do: what it still answers, how fast it refuses, how it recovers."""

import time
from collections.abc import Callable, Mapping, Sequence

import click
import numpy as np

from benchmarks.chaos import replicated, utterances_of
from benchmarks.clients import Client
from benchmarks.graph import Graph, haproxy_environment, running_graph
from benchmarks.load import Load
from benchmarks.local import embedded_workpiece
from benchmarks.results import Bar, Report, percentiles, say
from benchmarks.utterances import Utterance
from benchmarks.verdicts import Row, Verdict, recovered_after_s

# Two batches of 8: the engine always finds the next batch, and what is let in is soon answered.
MAX_QUEUED_CHUNKS = 16
N_CLIENTS = 12  # at the peak: under the limit, so that none is refused
TIMES = 5.0  # the capacity
GOODPUT = 0.9  # of the peak, at least
REFUSAL_S = 0.05  # median, at most
RECOVERY_S = 10.0  # at most
AFTER = 0.5  # of the capacity is offered when the overload is over
AFTER_S = 20.0
WARM_UP_S = 5.0  # of each load: the first answers have a full batch before them
# By what Ray is started with.
PROXIES: Mapping[str, Callable[[], Mapping[str, str]]] = {
    "Ray's proxy": dict,
    "HAProxy": haproxy_environment,
}

OPTIONS = (click.Option(["--minutes"], type=float, default=2.0, show_default=True),)


def run(report: Report, *, quick: bool, minutes: float) -> None:
    """Measure the peak, then the overload, then what comes after; write the report.

    Args:
        report: gets the rows.
        quick: fifteen seconds.
        minutes: of overload.
    """
    peak_s, overload_s = (10.0, 15.0) if quick else (60.0, minutes * 60)
    work = embedded_workpiece(threads=1, max_queued_chunks=MAX_QUEUED_CHUNKS)
    for proxy, environment in PROXIES.items():
        with running_graph(work.args, replicated(1), environment()) as graph:
            _measure(report, proxy, graph, peak_s=peak_s, overload_s=overload_s)


def _measure(report: Report, proxy: str, graph: Graph, *, peak_s: float, overload_s: float) -> None:
    """Add the three phases behind one proxy."""
    utterances = utterances_of(graph, {})
    peak = find_peak(report, graph, utterances, took_s=peak_s, proxy=proxy)
    load = Load(graph.url, utterances, Client())
    say(f"{proxy}: {TIMES:g} x {peak:.1f} requests/s for {overload_s:.0f} s")
    with load.open_loop(TIMES * peak):
        time.sleep(overload_s)
        ended_s = load.now_s()
    report.add(phase="overload", proxy=proxy, offered_per_s=TIMES * peak, **load.figures())
    _hold(report, proxy, load.rows, peak=peak, ended_s=ended_s)
    after = Load(graph.url, utterances, Client())
    with after.open_loop(AFTER * peak):
        time.sleep(AFTER_S)
    recovery_s = recovered_after_s(after.rows)
    report.add(phase="after", proxy=proxy, offered_per_s=AFTER * peak, recovery_s=recovery_s)
    report.hold(Bar(name=f"{proxy}: recovery, s", value=recovery_s, limit=RECOVERY_S))


def find_peak(
    report: Report,
    graph: Graph,
    utterances: Sequence[Utterance],
    *,
    took_s: float,
    **labels: str,
) -> float:
    """Add how many requests a second are answered to clients that never pause; return it."""
    load = Load(graph.url, utterances, Client())
    with load.closed_loop(N_CLIENTS):
        time.sleep(took_s)
        ended_s = load.now_s()
    per_s = _answered_per_s(load.rows, ended_s)
    report.add(phase="peak", **labels, n_clients=N_CLIENTS, answered_per_s=per_s, **load.figures())
    return per_s


def _answered_per_s(rows: Sequence[Row], ended_s: float) -> float:
    """Return the rate of good answers that came between a load's warm-up and its end."""
    answered_s = [row.sent_s + row.took_s for row in rows if row.verdict is Verdict.OK]
    return sum(WARM_UP_S < at_s <= ended_s for at_s in answered_s) / (ended_s - WARM_UP_S)


def _hold(report: Report, proxy: str, rows: Sequence[Row], *, peak: float, ended_s: float) -> None:
    """Hold what came of the overload against the bars."""
    refused_s = [row.took_s for row in rows if row.verdict is Verdict.REFUSED]
    report.add(phase="refusals", proxy=proxy, n=len(refused_s), **percentiles(refused_s))
    goodput = _answered_per_s(rows, ended_s) / peak
    report.hold(
        Bar(name=f"{proxy}: goodput over peak", value=goodput, limit=GOODPUT, at_least=True)
    )
    median_s = float(np.median(refused_s)) if refused_s else float("nan")
    report.hold(Bar(name=f"{proxy}: median refusal, s", value=median_s, limit=REFUSAL_S))
    n_wrong = sum(row.verdict not in (Verdict.OK, Verdict.REFUSED) for row in rows)
    report.hold(Bar(name=f"{proxy}: neither answered nor refused", value=n_wrong, limit=0))
