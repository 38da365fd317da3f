"""The jobs that the gate hands over at once, to one call of the engine: `@serve.batch`'s part."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from serve_app import pipeline
from serve_app.domain import ChunkJob
from serve_app.scheduler import Gate
from serve_app.stages.batching import Bucket, bucket_of
from serve_app.stages.whisper import WhisperEngine

Handed = tuple[ChunkJob, asyncio.Future[pipeline.Outcome]]


class Batches:
    """Runs chunks in batches across requests. To be used on one event loop."""

    def __init__(self, engine: WhisperEngine, *, n_workers: int, max_batch_size: int) -> None:
        self.max_batch_size = max_batch_size
        self._engine = engine
        self._fitting = pipeline.FittingBatches()
        self._threads = ThreadPoolExecutor(n_workers, "serve_app model")
        self._handed: list[Handed] = []
        self._running: set[asyncio.Task[None]] = set()  # held here, so that none is collected
        self._gate: Gate[ChunkJob, pipeline.Outcome] = Gate(
            self._execute,
            owner_of=lambda job: job.request_id,
            bucket_of=self._bucket_of,
            n_workers=n_workers,
        )
        self._gate.configure(max_batch_size=max_batch_size, batch_wait_s=0.0)

    async def submit(self, job: ChunkJob) -> pipeline.Outcome:
        """Wait for the job's turn and return what became of it. Cancelling gives the job up."""
        return await self._gate.submit(job)

    def shutdown(self) -> None:
        """Wait for the batch that runs and end the threads."""
        self._threads.shutdown()

    async def _execute(self, job: ChunkJob) -> pipeline.Outcome:
        """Run a job with the others of its batch, which the gate hands over in the same turn."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[pipeline.Outcome] = loop.create_future()
        if not self._handed:
            loop.call_soon(self._start)
        self._handed.append((job, outcome))
        return await outcome

    def _start(self) -> None:
        handed, self._handed = self._handed, []
        task = asyncio.get_running_loop().create_task(self._run(handed))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, handed: Sequence[Handed]) -> None:
        loop = asyncio.get_running_loop()
        jobs = [job for job, _ in handed]
        with self._gate.running(jobs):
            outcomes = await loop.run_in_executor(
                self._threads, self._fitting.transcribe, self._engine, jobs
            )
        for (_, outcome), made in zip(handed, outcomes, strict=True):
            if not outcome.done():  # its caller may have left
                outcome.set_result(made)

    def _bucket_of(self, job: ChunkJob) -> Bucket:
        return bucket_of(
            job,
            n_prompt_tokens=self._engine.n_prompt_tokens(job.options),
            n_frames=self._engine.n_frames(job.chunk),
        )
