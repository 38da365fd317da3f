"""The GPU deployment, and how the Ingress calls it.

Chunks in, their transcripts out, in batches across requests.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

from serve_app import metrics, models, pipeline
from serve_app.deployments.calls import call, returns_errors, timed
from serve_app.deployments.catalog import Catalog
from serve_app.deployments.logs import leave_out_calls_that_went_well
from serve_app.deployments.memory import keep_freed_memory
from serve_app.deployments.meters import SAMPLE_S, TranscriberMeters, every
from serve_app.domain import Chunk, ChunkJob, ChunkTranscript, DetectedLanguage, ModelInfo
from serve_app.errors import ReplicaLostError
from serve_app.removals import Removals
from serve_app.retries import Retries
from serve_app.scheduler import Gate, GateStats
from serve_app.settings import BatchLimits, ModelSettings, TranscriberUserConfig
from serve_app.stages.batching import Bucket, bucket_of
from serve_app.stages.whisper import WhisperEngine
from serve_app.watch import RunningWork

logger = logging.getLogger("ray.serve")

T = TypeVar("T")


class WhisperTranscriber:
    """Runs one model; batches the chunks of many requests."""

    def __init__(self, model: ModelSettings) -> None:
        keep_freed_memory()
        leave_out_calls_that_went_well()
        self._model = model
        self._config: TranscriberUserConfig | None = None
        self._free_bytes: int | None = None  # of the device, before any batch ran
        self._fitting = pipeline.FittingBatches()
        self._threads = ThreadPoolExecutor(model.n_workers)
        self._one_detection = asyncio.Lock()
        self._running = RunningWork()
        self._failed = False  # the device, in the last batch
        self._meters = TranscriberMeters()
        self._sampler: asyncio.Task[None] | None = None  # held here, so that it is not collected
        self._execute = self._make_batched()
        self._gate: Gate[ChunkJob, pipeline.Outcome] = Gate(
            self._execute,
            owner_of=lambda job: job.request_id,
            bucket_of=self._bucket_of,
            n_workers=model.n_workers,
            on_batch=self._meters.record_batch,
        )

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Take new batch settings at once; load the model at start and when its revision changes.

        A later config that cannot be used leaves the old one in force.
        """
        try:
            config = TranscriberUserConfig.model_validate(user_config)
            if config == self._config:  # Serve also calls where a replica's rank changes
                return
            if config.max_batch_size is not None:
                self._limits(config.max_batch_size).check()
            if self._config is None or config.revision != self._config.revision:
                self._engine = await asyncio.to_thread(self._load, config.revision)
                self._fitting = pipeline.FittingBatches()
        except Exception as error:  # whatever it is: Serve would stop this replica, which works
            if self._config is None:
                raise
            logger.error(
                "%s: the new user_config cannot be used, keeping the old: %s",
                *(self._model.name, error),
            )
            return
        self._config = config
        self._apply(config)
        if self._sampler is None:
            show_gate = partial(self._meters.record_gate, self._gate)
            self._sampler = asyncio.create_task(every(SAMPLE_S, show_gate))

    @returns_errors
    async def transcribe_chunk(self, job: ChunkJob) -> ChunkTranscript:
        """Decode one chunk in a batch with others, with as many attempts as it needs."""
        made = await pipeline.transcribe_chunk(self._gate.submit, job)
        self._meters.count(metrics.FALLBACKS, made.n_attempts - 1)
        return made

    @returns_errors
    async def detect_language(self, chunk: Chunk) -> DetectedLanguage:
        """Return the probability of every language that the model knows, by one chunk."""
        # In the batches' own threads, as it would need memory beside them. One at a time: a batch
        # waits for one detection at the most, however many are asked for.
        async with self._one_detection:
            found = await self._in_turn(
                "a detection", pipeline.detect_languages, self._engine, chunk
            )
        if isinstance(found, Exception):
            self._failed = self._failed or isinstance(found, ReplicaLostError)
            raise pipeline.unwrap(found)
        return DetectedLanguage(probabilities=tuple(found))

    async def check_health(self) -> None:
        """Tell Serve whether the engine works.

        Raises:
            RuntimeError: the device has failed, or a batch hangs.
            ReplicaLostError: no batch is handed over any more.
        """
        if self._failed:
            raise RuntimeError("the device has failed")
        self._gate.check()
        self._running.check(self._model.batch_timeout_s)

    async def info(self) -> ModelInfo:
        """Return what the model can do."""
        return models.describe(self._model, self._engine.languages)

    async def gate_stats(self) -> GateStats:
        """Return what this replica's gate has done so far."""
        return self._gate.stats

    def _apply(self, config: TranscriberUserConfig) -> None:
        """Put the config's batch settings into force, as far as the device's memory allows."""
        size = self._engine.largest_batch(config.max_batch_size, self._free_bytes)
        fits = self._fitting.limit(self._model.beam_size) or size
        size = min(size, _max_ongoing_requests() // self._model.n_workers, fits)
        logger.info(
            "model=%s max_batch_size=%d (asked for: %s) batch_wait_timeout_s=%g",
            *(self._model.name, size, config.max_batch_size or "auto", config.batch_wait_timeout_s),
        )
        if warning := self._limits(size).idle_warning():
            logger.warning("model=%s: %s", self._model.name, warning)
        self._gate.configure(max_batch_size=size, batch_wait_s=config.batch_wait_timeout_s)
        self._execute.set_max_batch_size(self._gate.largest_batch_size)

    def _limits(self, max_batch_size: int) -> BatchLimits:
        return BatchLimits(
            max_ongoing_requests=_max_ongoing_requests(),
            max_batch_size=max_batch_size,
            n_workers=self._model.n_workers,
        )

    def _make_batched(self) -> Any:
        """Return what runs one job as a part of its batch; the gate decides what is in it."""

        @serve.batch(batch_wait_timeout_s=0, max_concurrent_batches=self._model.n_workers)
        async def transcribe_batch(jobs: list[ChunkJob]) -> list[pipeline.Outcome]:
            loop = asyncio.get_running_loop()

            def on_out_of_memory(size: int) -> None:  # called in the engine's thread
                loop.call_soon_threadsafe(self._ran_out_of_memory, size, jobs[0].n_sequences)

            fill = len(jobs) / self._gate.stats.max_batch_size
            with self._gate.running(jobs):
                outcomes = await self._in_turn(
                    f"a batch of {len(jobs)}",
                    *(self._fitting.transcribe, self._engine, jobs, on_out_of_memory),
                )
            self._failed = any(isinstance(o, ReplicaLostError) for o in outcomes)
            return [pipeline.with_fill(outcome, fill) for outcome in outcomes]

        return transcribe_batch

    async def _in_turn(self, what: str, work: Callable[..., T], *args: Any) -> T:
        """Do the work in a thread of the engine's, and count it as running once it is there."""

        def run() -> T:
            with self._running.of(what):
                return work(*args)

        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    def _ran_out_of_memory(self, size: int, n_sequences: int) -> None:
        """Tell of a batch that did not fit the device.

        Where its search is as wide as the profile's, batches are cut to what fits from now on.
        """
        self._meters.count(metrics.OUT_OF_MEMORY)
        logger.warning(
            "model=%s: a batch of %d ran out of memory (beams or candidates: %d)",
            *(self._model.name, size, n_sequences),
        )
        if n_sequences == self._model.beam_size and self._config:
            self._apply(self._config)

    def _bucket_of(self, job: ChunkJob) -> Bucket:
        return bucket_of(
            job,
            n_prompt_tokens=self._engine.n_prompt_tokens(job.options),
            n_frames=self._engine.n_frames(job.chunk),
        )

    def _load(self, revision: str | None) -> WhisperEngine:
        directory = models.locate_model(self._model.source, revision)
        n_cores = max(1, int(ray.get_runtime_context().get_assigned_resources().get("CPU", 1)))
        engine = WhisperEngine(
            directory, self._model, n_cores=n_cores, on_stage=self._meters.record_stage
        )
        took_s = timed(lambda: pipeline.warm_up(engine, self._model.source))
        if self._config is None:  # later, batches run, and weights of before lie beside these
            self._free_bytes = engine.free_bytes()
        logger.info(
            "model=%s loaded from %s: %s, first decode %.2f s",
            *(self._model.name, directory, engine.placement, took_s),
        )
        return engine


class ChunkTranscriber:
    """The app's WhisperTranscribers as the Ingress calls them.

    Its methods raise a TranscriptionError: what the model's replica raised, or
    ServiceUnavailableError where none answers or a new config takes the model away.
    """

    def __init__(
        self,
        transcribers: Mapping[str, DeploymentHandle[Any]],  # by model name
        catalog: Catalog,
        retries: Retries,
    ) -> None:
        self._transcribers = transcribers
        self._catalog = catalog
        self._retries = retries
        self._removals = Removals(catalog.present)

    async def transcribe(self, model: str, job: ChunkJob) -> ChunkTranscript:
        """Return what a model makes of a chunk."""
        transcriber = self._transcribers[model]
        async with self._removals.guard(model):
            made: ChunkTranscript = await self._retries.run(
                lambda: call(transcriber.transcribe_chunk, job)
            )
        self._catalog.heard(model)
        return made

    async def detect_language(self, model: str, chunk: Chunk) -> DetectedLanguage:
        """Return in which language a chunk is, by that model."""
        transcriber = self._transcribers[model]
        async with self._removals.guard(model):
            found: DetectedLanguage = await self._retries.run(
                lambda: call(transcriber.detect_language, chunk)
            )
        return found


def _max_ongoing_requests() -> int:
    """Return the limit of this replica. Serve has no public way to ask for it."""
    return int(serve.get_replica_context()._deployment_config.max_ongoing_requests)
