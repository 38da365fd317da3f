"""The gate on real Ray Serve with an engine that only sleeps: batch sizes and latencies.

Open-loop load: chunks are offered at their times whether or not earlier ones are answered, so a
queue that grows shows. Beside the gate, `@serve.batch` alone.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
from ray import serve
from ray.serve.handle import DeploymentHandle

from benchmarks.fake_transcriber import (
    SAMPLE_EVERY_S,
    FakeJob,
    FakeTranscriber,
    Point,
    Record,
    offer,
)
from benchmarks.graph import running_ray
from benchmarks.results import Bar, Report, percentiles, say

APP = "gate-benchmark"
SLACK_S = 0.010  # what a lone chunk may wait beyond what is set
RATES = (20.0, 60.0, 200.0)  # chunks/s
LONE = 2.0  # chunks/s, at which most find the replica idle


def measure(point: Point) -> dict[str, Any]:
    """Deploy a replica on the Ray that is running, load it, delete it; return the figures."""
    options = serve.deployment(
        max_ongoing_requests=1_000_000,  # the load is open-loop: nothing may hold it back outside
        ray_actor_options={"num_cpus": 0.1},
    )
    handle: DeploymentHandle[Any] = serve.run(
        options(FakeTranscriber).bind(point), name=APP, route_prefix=None
    )
    limit_s = point.load_s + 60
    try:
        if point.via_handle:
            record = asyncio.run(_offer_through(handle, point))
        else:
            handle.offer_inside.remote().result(timeout_s=limit_s)
            record = handle.record.remote().result(timeout_s=limit_s)
    finally:
        serve.delete(APP)
    return figures(point, record)


async def _offer_through(handle: "DeploymentHandle[Any]", point: Point) -> Record:
    async def submit(job: FakeJob) -> tuple[int, bool]:
        response = handle.submit.remote(job)
        try:
            answer: tuple[int, bool] = await response
        except asyncio.CancelledError:
            with suppress(Exception):
                response.cancel()  # type: ignore[no-untyped-call]
            raise
        return answer

    warm = FakeJob(number=-1, bucket=0)
    await submit(warm)  # the handle's router starts with its first call
    before: Record = await handle.record.remote()
    began_s = time.monotonic()  # one machine, one clock
    answers, n_unanswered = await offer(point, submit)
    seen: Record = await handle.record.remote()
    return replace(
        seen,
        began_s=began_s,
        batches=seen.batches[len(before.batches) :],
        answers=answers,
        n_unanswered=n_unanswered,
    )


def figures(point: Point, record: Record) -> dict[str, Any]:
    """Return the figures of a load, without its warm-up."""
    start_s, end_s = record.began_s + point.warm_up_s, record.began_s + point.load_s
    batches = [b for b in record.batches if start_s <= b.began_s < end_s]
    answers = [a for a in record.answers if a.offered_s >= point.warm_up_s]
    lone = [a.latency_s - point.batch_s for a in answers if a.found_idle]
    runs = [sum(1 for _ in run) for idle, run in groupby(record.idle) if idle]
    sizes = [len(b.jobs) for b in batches]
    return {
        "kind": "gate" if point.gated else "serve.batch alone",
        "offered_per_s": point.rate,
        "via": "handle" if point.via_handle else "inside",
        "wait_s": point.wait_s,
        "n_workers": point.n_workers,
        "n_buckets": point.n_buckets,
        "batch_s": point.batch_s,
        "n_batches": len(batches),
        "mean_batch": float(np.mean(sizes)) if sizes else 0.0,
        "largest_batch": max(sizes, default=0),
        **percentiles([a.latency_s for a in answers]),
        "n_answered": len(record.answers),
        "n_unanswered": record.n_unanswered,
        "n_lone": len(lone),
        "lone_added_p50_s": percentiles(lone)["p50_s"],
        "n_mixed_batches": sum(len({j.bucket for j in b.jobs}) > 1 for b in record.batches),
        "idle_while_waiting_share": float(np.mean(record.idle)) if record.idle else 0.0,
        "longest_idle_while_waiting_s": max(runs, default=0) * SAMPLE_EVERY_S,
    }


def bars(point: Point, found: dict[str, Any]) -> list[Bar]:
    """Return the bars that hold for a point of the gate."""
    name = f"{point.rate:g}/s {found['via']}"
    if point.n_buckets > 1:
        name += f", {point.n_workers} workers, {point.n_buckets} buckets"
        return [
            Bar(name=f"{name}: mixed batches", value=found["n_mixed_batches"], limit=0),
            Bar(
                name=f"{name}: longest time a worker idles while chunks wait, s",
                value=found["longest_idle_while_waiting_s"],
                limit=SLACK_S,
            ),
        ]
    if point.rate * point.batch_s > 1:
        return [
            Bar(
                name=f"{name}: mean batch",
                value=found["mean_batch"],
                limit=0.9 * point.rate * point.batch_s,
                at_least=True,
            ),
            Bar(name=f"{name}: p50, s", value=found["p50_s"], limit=2 * point.batch_s),
        ]
    return [
        Bar(
            name=f"{name}: wait added to a lone chunk (wait {point.wait_s * 1e3:.0f} ms), s",
            value=found["lone_added_p50_s"],
            limit=point.wait_s + SLACK_S,
        )
    ]


def run(report: Report, *, quick: bool) -> None:
    """Measure every point and write the report."""
    base = Point(rate=0, load_s=10.0)
    if quick:
        base = Point(rate=0, load_s=4.0, warm_up_s=0.5, batch_s=0.1)
    points = [replace(base, rate=rate) for rate in (RATES[:1] if quick else RATES)]
    points += [replace(base, rate=rate, via_handle=True) for rate in (LONE, 60.0)]
    points += [replace(base, rate=200.0, n_workers=2, n_buckets=2)]
    alone = [replace(base, rate=20.0, gated=False, wait_s=0.025)]
    report.note(
        "'inside' offers the chunks within the replica process; 'handle' from another process "
        "through Serve's handle, transport included. Where chunks stayed unanswered, the "
        "latencies are those of the answered ones: lower bounds."
    )
    say(f"{len(points) + len(alone)} points of {base.load_s:.0f} s")
    with running_ray():
        for point in points + alone:
            found = measure(point)
            report.add(**found)
            if point.gated:
                for bar in bars(point, found):
                    report.hold(bar)
    _plot(report, base)


def _plot(report: Report, base: Point) -> None:
    with report.plot(n_axes=2) as (left, right):
        for kind, via, wait_s in (
            ("gate", "inside", 0.0),
            ("gate", "handle", 0.0),
            ("serve.batch alone", "inside", 0.025),
        ):
            rows = [
                r
                for r in report.rows
                if (r["kind"], r["via"], r["wait_s"], r["n_buckets"]) == (kind, via, wait_s, 1)
            ]
            rates = [r["offered_per_s"] for r in rows]
            for ax, figure in ((left, "mean_batch"), (right, "p50_s")):
                ax.plot(rates, [r[figure] for r in rows], "o-", label=f"{kind}, offered {via}")
        rates = sorted({r["offered_per_s"] for r in report.rows})
        wanted = [max(1.0, 0.9 * rate * base.batch_s) for rate in rates]
        left.plot(rates, wanted, "k--", label="bar")
        right.plot(rates, [2 * base.batch_s] * len(rates), "k--", label="bar")
        for ax, label in ((left, "mean batch, chunks"), (right, "p50, s")):
            ax.set(xlabel="offered, chunks/s", ylabel=label, xscale="log", yscale="log")
            ax.legend()
