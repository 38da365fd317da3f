"""A WhisperTranscriber whose engine only sleeps, and the load that is offered to it.

It mirrors the graph's: the real `scheduler.Gate` in front of the real `@serve.batch`; or
`@serve.batch` alone. `benchmarks.gate` deploys it.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ray import serve

from serve_app.scheduler import Gate

SAMPLE_EVERY_S = 0.005  # how often the workers are looked at


@dataclass(frozen=True, kw_only=True)
class Point:
    """One load on one configuration."""

    rate: float  # chunks/s, Poisson arrivals
    gated: bool = True  # False: `@serve.batch` alone
    wait_s: float = 0.0
    max_batch_size: int = 256
    n_workers: int = 1
    n_buckets: int = 1
    batch_s: float = 0.5  # how long the fake engine takes for a batch of any size
    load_s: float = 20.0
    warm_up_s: float = 2.0  # what is offered or begins before this is dropped
    via_handle: bool = False  # False: submitted inside the replica, without transport


@dataclass(frozen=True, kw_only=True)
class FakeJob:
    """A chunk: its number, and the bucket it belongs to."""

    number: int
    bucket: int


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One batch as the engine saw it. Times are on the replica's monotonic clock."""

    began_s: float
    ended_s: float
    jobs: tuple[FakeJob, ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One chunk's way, seen by whoever offered it."""

    offered_s: float  # since the load began
    latency_s: float
    found_idle: bool  # nothing waited or ran when it was offered


@dataclass(kw_only=True)
class Record:
    """What one replica saw during a load."""

    began_s: float = 0.0
    batches: list[Batch] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    n_unanswered: int = 0
    idle: list[bool] = field(default_factory=list)  # per sample: a worker idled, chunks waited


class FakeTranscriber:
    """A WhisperTranscriber whose engine sleeps."""

    def __init__(self, point: Point) -> None:
        self._point = point
        self._threads = ThreadPoolExecutor(point.n_workers)
        self._n_running = 0  # batches
        self._n_pending = 0  # jobs not answered
        self._record = Record()
        self._execute = self._make_batched()
        self._execute.set_max_batch_size(point.max_batch_size)
        self._gate: Gate[FakeJob, int] = Gate(
            self._execute,
            owner_of=lambda job: job.number,
            bucket_of=lambda job: job.bucket,
            n_workers=point.n_workers,
        )
        self._gate.configure(max_batch_size=point.max_batch_size, batch_wait_s=point.wait_s)

    async def submit(self, job: FakeJob) -> tuple[int, bool]:
        """Run one job in a batch; return its number and whether it found the replica idle."""
        found_idle = self._n_pending == 0
        self._n_pending += 1
        try:
            submit = self._gate.submit if self._point.gated else self._execute
            return await submit(job), found_idle
        finally:
            self._n_pending -= 1

    async def offer_inside(self) -> None:
        """Offer the whole load from within this process."""
        sampler = asyncio.create_task(self._sample())
        self._record.began_s = time.monotonic()
        answers, n_unanswered = await offer(self._point, self.submit)
        sampler.cancel()
        self._record.answers, self._record.n_unanswered = answers, n_unanswered

    async def record(self) -> Record:
        """Return what was seen so far."""
        return self._record

    def _make_batched(self) -> Any:
        point = self._point
        wait_s = 0.0 if point.gated else point.wait_s

        @serve.batch(batch_wait_timeout_s=wait_s, max_concurrent_batches=point.n_workers)
        async def run_batch(jobs: list[FakeJob]) -> list[int]:
            loop = asyncio.get_running_loop()
            with self._gate.running(jobs) if point.gated else nullcontext():
                self._n_running += 1
                began_s = time.monotonic()
                await loop.run_in_executor(self._threads, time.sleep, point.batch_s)
                self._n_running -= 1
                self._record.batches.append(
                    Batch(began_s=began_s, ended_s=time.monotonic(), jobs=tuple(jobs))
                )
                return [job.number for job in jobs]

        return run_batch

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(SAMPLE_EVERY_S)
            n_waiting = self._gate.stats.n_waiting
            self._record.idle.append(n_waiting > 0 and self._n_running < self._point.n_workers)


async def offer(point: Point, submit: Any) -> tuple[list[Answer], int]:
    """Offer a load; return the answers that came, and how many chunks got none.

    After the last chunk was offered, four batches' time is waited; what is left is given up.

    Raises:
        RuntimeError: a caller got another's answer.
    """
    rng = np.random.default_rng(0)
    # Poisson arrivals, given their number: uniform over the time.
    times_s = np.sort(rng.uniform(0, point.load_s, round(point.rate * point.load_s)))
    answers: list[Answer] = []
    began_s = time.monotonic()

    async def send(job: FakeJob, at_s: float) -> None:
        sent_s = time.monotonic()
        number, found_idle = await submit(job)
        if number != job.number:
            raise RuntimeError("an answer went to the wrong caller")
        took_s = time.monotonic() - sent_s
        answers.append(Answer(offered_s=at_s, latency_s=took_s, found_idle=found_idle))

    tasks = []
    for number, at_s in enumerate(times_s):
        await asyncio.sleep(max(0.0, began_s + at_s - time.monotonic()))
        job = FakeJob(number=number, bucket=number % point.n_buckets)
        tasks.append(asyncio.create_task(send(job, float(at_s))))
    _, late = await asyncio.wait(tasks, timeout=4 * point.batch_s + 2 * point.wait_s)
    for task in late:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(ended, Exception):
            raise ended
    return answers, len(late)
