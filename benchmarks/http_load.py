"""Latency against throughput of any OpenAI-compatible server, every answer checked."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from benchmarks.clients import Client, base_url, client_of, record
from benchmarks.curve import ANSWERED, SHARES, Window, concurrencies, figures_of, rates
from benchmarks.load import Load
from benchmarks.results import Bar, Report
from benchmarks.utterances import Utterance, clips_in, speech_clips
from benchmarks.verdicts import Verdict

N_CLIPS = 32
WARM_UP_S = 3.0  # and until every client has had an answer
WARM_UP_LIMIT_S = 60.0
WARM_UP_SHARE = 0.5  # of the requests that a point may cost, at most
KINDS = ("closed loop", "open loop")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured: `OPTIONS`, and what only the quick form changes."""

    url: str | None
    model: str
    api_key_env: str | None
    field: tuple[str, ...]
    clips: Path | None
    clip_s: float
    max_concurrency: int
    rate: tuple[float, ...]  # requests/s; none: shares of what the closed loop gave
    seconds: float  # of each point, warm-up aside
    max_requests: int  # of each point, warm-up included
    within_s: float  # an answer after longer is not counted as goodput
    shares: Sequence[float] = SHARES
    n_clips: int = N_CLIPS
    warm_up_s: float = WARM_UP_S


@dataclass(frozen=True, kw_only=True)
class Server:
    """Who is measured, with what."""

    url: str  # without /v1
    client: Client
    utterances: Sequence[Utterance]


OPTIONS = (
    click.Option(["--url"], help="Of the server; without it, the demo model is served here."),
    click.Option(["--model"], default="whisper-1", show_default=True, help="As it is named there."),
    click.Option(["--api-key-env"], help="The environment variable with the key."),
    click.Option(["--field"], multiple=True, metavar="NAME=VALUE", help="Of every request's form."),
    click.Option(
        ["--clips"],
        type=click.Path(path_type=Path, file_okay=False, exists=True),
        help="A folder of audio files, instead of this project's synthetic speech.",
    ),
    click.Option(["--clip-s"], type=float, default=5.0, show_default=True, help="Of that speech."),
    click.Option(["--max-concurrency"], type=click.IntRange(1, 256), default=64, show_default=True),
    click.Option(
        ["--rate"],
        type=click.FloatRange(0, min_open=True),
        multiple=True,
        help="Requests/s of the open loop, several times; default: shares of the closed loop's.",
    ),
    click.Option(["--seconds"], type=float, default=9.0, show_default=True, help="Of a point."),
    click.Option(
        ["--max-requests"], type=int, default=5000, show_default=True, help="Of a point, at most."
    ),
    click.Option(
        ["--within-s"], type=float, default=2.0, show_default=True, help="Goodput's limit."
    ),
)


def run(report: Report, *, quick: bool, **options: Any) -> None:
    """Measure closed-loop points, then open-loop ones; write the report.

    Args:
        report: gets a row for each point.
        quick: two clients at most, one rate, two seconds each.
        options: of `OPTIONS`.
    """
    plan = Plan(**options)
    client = client_of(plan.model, plan.api_key_env, plan.field)
    if quick:
        plan = replace(
            plan, max_concurrency=2, seconds=1.5, n_clips=4, warm_up_s=0.5, shares=(0.8,)
        )
    clips = (
        clips_in(plan.clips, plan.n_clips)
        if plan.clips
        else speech_clips(plan.n_clips, plan.clip_s)
    )
    with _served(plan.url) as url:
        server = Server(url=url, client=client, utterances=record(url, client, clips))
        report.note(
            f"{len(server.utterances)} of {len(clips)} clips: the others gave no words, or nearly "
            "those of another. Percentiles of fewer than 100 answers are hardly more than extremes."
        )
        _measure(report, server, plan)
    _hold(report)
    _plot(report)


@contextmanager
def _served(url: str | None) -> Iterator[str]:
    """Yield the URL without /v1; where there is none, that of a graph with the demo model."""
    if url is not None:
        yield base_url(url)
        return
    # A server elsewhere needs no Ray here.
    from benchmarks.chaos import replicated
    from benchmarks.graph import running_graph
    from benchmarks.local import embedded_workpiece

    work = embedded_workpiece(threads=os.cpu_count() or 1)
    with running_graph(work.args, replicated(1)) as graph:
        yield graph.url


def _measure(report: Report, server: Server, plan: Plan) -> None:
    closed = []
    for n_clients in concurrencies(plan.max_concurrency):
        load = _load(server, plan)
        with load.closed_loop(n_clients):
            window = _window(load, plan, n_answers=n_clients)
        closed.append(figures_of(load.rows, window, within_s=plan.within_s))
        report.add(kind=KINDS[0], n_clients=n_clients, **closed[-1])
    derived = rates([figures["requests_per_s"] for figures in closed], plan.shares)
    for rate in plan.rate or derived:
        load = _load(server, plan)
        with load.open_loop(rate):
            window = _window(load, plan)
        figures = figures_of(load.rows, window, within_s=plan.within_s)
        report.add(kind=KINDS[1], offered_per_s=rate, n_left_out=load.n_left_out, **figures)


def _load(server: Server, plan: Plan) -> Load:
    return Load(
        server.url, server.utterances, server.client, exact=False, n_at_most=plan.max_requests
    )


def _window(load: Load, plan: Plan, n_answers: int = 0) -> Window:
    """Warm up, then wait as long as is measured."""
    load.wait(plan.warm_up_s)
    while (
        len(load.rows) < n_answers
        and len(load.sent) < WARM_UP_SHARE * plan.max_requests
        and load.now_s() < WARM_UP_LIMIT_S
    ):
        load.wait(0.05)
    begin_s = load.now_s()
    return Window(begin_s=begin_s, end_s=load.wait(plan.seconds))


def _hold(report: Report) -> None:
    def total(*verdicts: Verdict) -> int:
        return sum(row[verdict.value] for row in report.rows for verdict in verdicts)

    n_mixed, n_failed = total(Verdict.MIXED), total(Verdict.FAILED, Verdict.LOST)
    n_answered = total(*ANSWERED)
    report.hold(Bar(name="answered", value=n_answered, limit=1, at_least=True))
    report.hold(Bar(name="answers with another clip's text", value=n_mixed, limit=0))
    report.hold(Bar(name="failed or lost", value=n_failed, limit=0))


def _plot(report: Report) -> None:
    with report.plot() as (ax,):
        for kind, line in zip(KINDS, ("o-", "s--"), strict=True):
            rows = [row for row in report.rows if row["kind"] == kind]
            for percentile, colour in (("p50", "C0"), ("p95", "C1"), ("p99", "C3")):
                points = [(row["requests_per_s"], row[f"{percentile}_s"]) for row in rows]
                label = f"{percentile}, {kind}"
                ax.plot(*zip(*points, strict=True), line, color=colour, label=label)
            _annotate(ax, rows)
        ax.set(xlabel="requests/s", ylabel="latency, s", yscale="log")
        ax.legend(fontsize="small")


def _annotate(ax: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the number of clients beside each point that has one."""
    for row in rows:
        if "n_clients" in row:
            point = (row["requests_per_s"], row["p50_s"])
            ax.annotate(
                f"{row['n_clients']}", point, textcoords="offset points", xytext=(4, -10), size=8
            )
