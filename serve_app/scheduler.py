"""The gate: it holds waiting chunks and hands the next batch to a worker that is free.

`@serve.batch` alone cuts a batch whenever its timer runs out and parks it while the device is
busy, so batches stay small exactly when there is load. The gate cuts a batch only when a worker
can take it: whatever arrived meanwhile is in it. Runs on one event loop; knows neither Ray nor the
model.
"""

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from serve_app.errors import ReplicaLostError
from serve_app.stages.batching import next_batch

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")


@dataclass(frozen=True, kw_only=True)
class GateStats:
    """What the gate has done since it was made."""

    n_batches: int = 0
    n_jobs: int = 0  # handed over
    max_batch_size: int = 1  # the limit in force
    max_batch: int = 0  # jobs in the largest batch so far
    max_owners: int = 0  # distinct requests in the batch that had the most
    n_waiting: int = 0
    n_running: int = 0  # jobs whose batch has not ended


@dataclass(frozen=True, kw_only=True)
class HandedOver:
    """One batch on its way to a worker."""

    n_owners: int  # distinct requests in it
    waited_s: tuple[float, ...]  # of each job, since it was submitted


@dataclass(eq=False, kw_only=True)
class _Waiting(Generic[Job, Outcome]):
    """One submitted job."""

    job: Job
    owner: Hashable
    bucket: Hashable
    arrived_s: float  # on the loop's clock
    outcome: asyncio.Future[Outcome]
    task: asyncio.Task[None] | None = field(default=None)  # set once it is handed over


class Gate(Generic[Job, Outcome]):
    """Batches jobs of many owners for a fixed number of workers.

    Every submitted job is answered exactly once, to the caller that submitted it. Owners take
    turns; a job that its caller has given up is dropped as long as its batch has not begun.
    """

    def __init__(
        self,
        execute: Callable[[Job], Awaitable[Outcome]],
        *,
        owner_of: Callable[[Job], Hashable],
        bucket_of: Callable[[Job], Hashable],
        n_workers: int,
        on_batch: Callable[[HandedOver], None] = lambda batch: None,
    ) -> None:
        """Make a gate.

        Args:
            execute: runs one job as a part of its batch: a method decorated with `@serve.batch`,
                whose batch function does its work inside `running`.
            owner_of: the request a job belongs to.
            bucket_of: what must agree between the jobs of a batch.
            n_workers: batches that may run at the same time.
            on_batch: told of each batch when it is handed over.
        """
        self._execute = execute
        self._owner_of = owner_of
        self._bucket_of = bucket_of
        self._on_batch = on_batch
        self._n_free = n_workers  # below 0 where a batch was cut into more than there are
        self._max_batch_size = self._largest_batch_size = 1
        self._batch_wait_s = 0.0
        self._queues: OrderedDict[Hashable, deque[_Waiting[Job, Outcome]]] = OrderedDict()
        self._served: set[Hashable] = set()  # by the last batch; their turn has not ended yet
        self._changed = asyncio.Event()
        self._begun = asyncio.Event()  # clear while a batch is on its way to a worker
        self._begun.set()
        self._dispatcher: asyncio.Task[None] | None = None
        self._stats = GateStats()
        self._n_running = 0

    def configure(self, *, max_batch_size: int, batch_wait_s: float) -> None:
        """Set the largest batch, and how long a lone job waits while a worker is free."""
        self._max_batch_size = max_batch_size
        self._largest_batch_size = max(max_batch_size, self._largest_batch_size)
        self._batch_wait_s = batch_wait_s
        self._changed.set()

    @property
    def largest_batch_size(self) -> int:
        """Return the largest limit that ever was in force: what `execute` must let through at once.

        What is left of a batch that it cuts, because its own limit fell while the batch was on its
        way, would come with the next one.
        """
        return self._largest_batch_size

    @property
    def stats(self) -> GateStats:
        """Return a snapshot of the gate's counters."""
        n_waiting = sum(len(queue) for queue in self._queues.values())
        return GateStats(
            **{
                **vars(self._stats),
                "max_batch_size": self._max_batch_size,
                "n_waiting": n_waiting,
                "n_running": self._n_running,
            }
        )

    def check(self) -> None:
        """Raise ReplicaLostError where batches are no longer handed over."""
        if self._dispatcher is not None and self._dispatcher.done():
            raise ReplicaLostError("A replica no longer hands over its batches.") from (
                None if self._dispatcher.cancelled() else self._dispatcher.exception()
            )

    async def submit(self, job: Job) -> Outcome:
        """Wait for the job's turn and return what became of it. Cancelling gives the job up.

        Raises:
            ReplicaLostError: batches are no longer handed over.
            Exception: what `execute` raised for the job.
        """
        loop = asyncio.get_running_loop()
        if self._dispatcher is None:
            self._dispatcher = loop.create_task(self._dispatch())
        self.check()
        owner, bucket = self._owner_of(job), self._bucket_of(job)
        hash((owner, bucket))  # fails here, for this job's caller, and not in the dispatcher
        waiting: _Waiting[Job, Outcome] = _Waiting(
            job=job,
            owner=owner,
            bucket=bucket,
            arrived_s=loop.time(),
            outcome=loop.create_future(),
        )
        self._queues.setdefault(waiting.owner, deque()).append(waiting)
        self._changed.set()
        try:
            return await waiting.outcome
        finally:
            if waiting.task is None:
                self._remove(waiting)
            else:
                waiting.task.cancel()  # nothing happens where it has ended

    @contextlib.contextmanager
    def running(self, jobs: Sequence[Job]) -> Iterator[None]:
        """Hold a worker while the batch function runs these jobs.

        The dispatcher took one for the batch that it handed over. Whatever else begins takes one
        more: a part of a batch that was cut on the way, or one that was given up there and begins
        nevertheless.

        Raises:
            ReplicaLostError: the jobs are not of one bucket: the model was replaced meanwhile by
                one that parts them otherwise, or two batches were merged on the way.
        """
        if self._begun.is_set():
            self._n_free -= 1
        self._begun.set()
        self._n_running += len(jobs)
        try:
            if len({self._bucket_of(job) for job in jobs}) > 1:
                raise ReplicaLostError("Jobs of different buckets arrived in one batch.")
            yield
        finally:
            self._n_running -= len(jobs)
            self._free_worker()

    async def _dispatch(self) -> None:
        """Hand over one batch after the other, each when the one before has begun."""
        while True:
            batch = await self._next_batch()
            self._n_free -= 1
            self._count(batch)
            self._begun.clear()
            begun = asyncio.create_task(self._begun.wait())
            for waiting in batch:
                waiting.task = asyncio.create_task(self._run(waiting))
            tasks = [waiting.task for waiting in batch if waiting.task]
            ended = asyncio.gather(*tasks, return_exceptions=True)
            either: list[asyncio.Future[Any]] = [begun, ended]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not self._begun.is_set():  # every job was given up before the batch began
                begun.cancel()
                self._begun.set()
                self._free_worker()

    async def _next_batch(self) -> list[_Waiting[Job, Outcome]]:
        """Wait until a worker is free and a batch is ripe; take the batch out of the queues."""
        while True:
            self._changed.clear()
            if self._n_free > 0 and self._queues:
                self._end_turn()
                batch = next_batch(
                    self._queues, lambda w: w.bucket, self._max_batch_size, self._is_ripe
                )
                if batch:
                    for waiting in batch:
                        self._remove(waiting)
                    self._served = {waiting.owner for waiting in batch}
                    return batch
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._until_ripe_s())

    def _is_ripe(self, batch: Sequence[_Waiting[Job, Outcome]]) -> bool:
        """Tell whether a batch is full, or its oldest job has waited long enough."""
        now_s = asyncio.get_running_loop().time()
        oldest_s = min(waiting.arrived_s for waiting in batch)
        return len(batch) >= self._max_batch_size or now_s - oldest_s >= self._batch_wait_s

    def _until_ripe_s(self) -> float | None:
        """Return how long to sleep if nothing changes; None: until something does."""
        if not (self._n_free > 0 and self._queues):
            return None
        oldest_s = min(queue[0].arrived_s for queue in self._queues.values())
        return max(0.0, oldest_s + self._batch_wait_s - asyncio.get_running_loop().time())

    def _remove(self, waiting: _Waiting[Job, Outcome]) -> None:
        queue = self._queues[waiting.owner]
        queue.remove(waiting)
        if not queue:
            del self._queues[waiting.owner]

    def _end_turn(self) -> None:
        """Send the owners that were served last to the back, in the order they stood in.

        Only when the next batch is chosen: whoever came while they were served stands before them.
        """
        for owner in [owner for owner in self._queues if owner in self._served]:
            self._queues.move_to_end(owner)
        self._served = set()

    def _free_worker(self) -> None:
        self._n_free += 1
        self._changed.set()

    def _count(self, batch: Sequence[_Waiting[Job, Outcome]]) -> None:
        n_owners = len({waiting.owner for waiting in batch})
        now_s = asyncio.get_running_loop().time()
        waited_s = tuple(now_s - waiting.arrived_s for waiting in batch)
        self._on_batch(HandedOver(n_owners=n_owners, waited_s=waited_s))
        self._stats = GateStats(
            n_batches=self._stats.n_batches + 1,
            n_jobs=self._stats.n_jobs + len(batch),
            max_batch=max(self._stats.max_batch, len(batch)),
            max_owners=max(self._stats.max_owners, n_owners),
        )

    async def _run(self, waiting: _Waiting[Job, Outcome]) -> None:
        """Run one handed-over job and give its outcome to whoever submitted it."""
        try:
            outcome = await self._execute(waiting.job)
        except Exception as error:  # noqa: BLE001 - it belongs to the caller, whatever it is
            if not waiting.outcome.done():
                waiting.outcome.set_exception(error)
        else:
            if not waiting.outcome.done():
                waiting.outcome.set_result(outcome)
