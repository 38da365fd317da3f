"""The graph's deployments: thin shells over `pipeline`, `scheduler` and `api`. Ray begins here.

A request's way: Ingress -> AudioPreprocessor (once per slice of the file) -> WhisperTranscriber
(once per chunk) -> back to the Ingress, which joins the chunks in the order of the audio.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any

import numpy as np
import ray
from pydantic import ValidationError
from ray import serve
from ray.exceptions import RayTaskError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle
from starlette.applications import Starlette

from serve_app import api, models, pipeline
from serve_app.domain import (
    Chunk,
    ChunkJob,
    ChunkTranscript,
    DecodeCursor,
    DecodeOptions,
    Transcript,
    TranscriptionRequest,
)
from serve_app.errors import QueueFullError, TranscriptionError
from serve_app.fan_out import FileTranscription
from serve_app.scheduler import Gate, GateStats
from serve_app.settings import AppSettings, ModelSettings, TranscriberUserConfig
from serve_app.stages.batching import Bucket, bucket_of
from serve_app.stages.vad import SpeechDetector
from serve_app.stages.whisper import WhisperEngine

logger = logging.getLogger("ray.serve")

READY_TIMEOUT_S = 1.0  # a deployment that does not answer within this has no replica yet


class AudioPreprocessor:
    """Decodes audio, finds speech, cuts chunks: one core per replica, one slice at a time."""

    def __init__(self) -> None:
        self._detector = SpeechDetector()
        # Two Python threads decode no faster than one, so replicas are the way to more.
        self._thread = ThreadPoolExecutor(1)
        self._ready_s = _timed(self._warm_up)

    async def prepare(
        self, data: np.ndarray, cursor: DecodeCursor | None, options: pipeline.PrepareOptions
    ) -> pipeline.Prepared:
        """Return the chunks of one slice of a file (`pipeline.prepare`)."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._thread, pipeline.prepare, data, cursor, options, self._detector
        )

    async def warm_up_s(self) -> float:
        """Return how long the decode at start took, in seconds."""
        return self._ready_s

    def _warm_up(self) -> None:
        settings = AppSettings()
        options = pipeline.prepare_options(settings, settings.models[0], is_first=True)
        sample = models.asset("sample/sample.flac").read_bytes()
        pipeline.prepare(sample, None, options, self._detector)


class WhisperTranscriber:
    """Runs one model; batches the chunks of many requests."""

    def __init__(self, model: ModelSettings) -> None:
        self._model = model
        self._config: TranscriberUserConfig | None = None
        self._threads = ThreadPoolExecutor(model.n_workers)
        self._execute = self._make_batched()
        self._gate: Gate[ChunkJob, pipeline.Outcome] = Gate(
            self._execute,
            owner_of=lambda job: job.request_id,
            bucket_of=self._bucket_of,
            n_workers=model.n_workers,
        )

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Take new batch settings at once; load the model at start and when its revision changes.

        A later config that is not valid leaves the old one in force.
        """
        try:
            config = TranscriberUserConfig.model_validate(user_config)
        except ValidationError:
            if self._config is None:
                raise
            logger.exception("user_config of %s is not valid; keeping the old", self._model.name)
            return
        if self._config is None or config.revision != self._config.revision:
            self._engine = await asyncio.to_thread(self._load, config.revision)
        self._config = config
        self._gate.configure(
            max_batch_size=config.max_batch_size, batch_wait_s=config.batch_wait_timeout_s
        )
        self._execute.set_max_batch_size(config.max_batch_size)

    async def transcribe_chunk(self, job: ChunkJob) -> ChunkTranscript:
        """Decode one chunk in a batch with others, with as many attempts as it needs."""
        return await pipeline.transcribe_chunk(self._gate.submit, job)

    async def warm_up_s(self) -> float:
        """Return how long the decode at start took, in seconds."""
        return self._ready_s

    async def gate_stats(self) -> GateStats:
        """Return what this replica's gate has done so far."""
        return self._gate.stats

    def _make_batched(self) -> Any:
        """Return what runs one job as a part of its batch; the gate decides what is in it."""

        @serve.batch(batch_wait_timeout_s=0, max_concurrent_batches=self._model.n_workers)
        async def transcribe_batch(jobs: list[ChunkJob]) -> list[pipeline.Outcome]:
            loop = asyncio.get_running_loop()
            with self._gate.running(jobs):
                return await loop.run_in_executor(
                    self._threads, pipeline.transcribe_batch, self._engine, jobs
                )

        return transcribe_batch

    def _bucket_of(self, job: ChunkJob) -> Bucket:
        return bucket_of(job, self._engine.n_prompt_tokens(job.options))

    def _load(self, revision: str | None) -> WhisperEngine:
        directory = models.locate_model(self._model.source, revision)
        resources = ray.get_runtime_context().get_assigned_resources()
        n_cores = max(1, int(resources.get("CPU", 1)))
        engine = WhisperEngine(directory, self._model, n_cores=n_cores)
        self._ready_s = _timed(lambda: pipeline.warm_up(engine))
        logger.info("model %s is loaded from %s", self._model.name, directory)
        return engine


@serve.ingress()
class Ingress:
    """The two doors, HTTP and Python handles, and the owner of each request's chunks."""

    def __init__(
        self,
        settings: AppSettings,
        preprocessor: DeploymentHandle[Any],
        transcribers: Mapping[str, DeploymentHandle[Any]],  # by model name
    ) -> None:
        self._settings = settings
        self._preprocessor = preprocessor
        self._transcribers = transcribers

    def __serve_build_asgi_app__(self) -> Starlette:
        """Return what answers HTTP requests."""
        return api.create_app(self)

    async def transcribe(self, audio: bytes, request: TranscriptionRequest) -> Transcript:
        """Transcribe one file.

        Args:
            audio: the file's bytes, in any container that PyAV reads.
            request: what to do with it.

        Raises:
            TranscriptionError: one of its kinds (`serve_app.errors`).
        """
        began_s = time.perf_counter()
        model = models.find_model(request.model, self._settings.models)
        run = await self._start(audio, request, model)
        async with aclosing(run.chunks()) as chunks:
            made = [transcript async for transcript in chunks]
        transcript = pipeline.finish(made, duration_s=run.duration_s, model=model.name)
        logger.info(
            "transcribed model=%s audio_s=%.1f chunks=%d took_s=%.3f",
            *(model.name, run.duration_s, len(made), time.perf_counter() - began_s),
        )
        return transcript

    async def waiting_for(self) -> list[str]:
        """Name the deployments of which no replica has run a real decode yet."""
        handles = [self._preprocessor, *self._transcribers.values()]
        answers = await asyncio.gather(*(_is_up(handle) for handle in handles))
        return [h.deployment_name for h, up in zip(handles, answers, strict=True) if not up]

    async def _start(
        self, audio: bytes, request: TranscriptionRequest, model: ModelSettings
    ) -> FileTranscription:
        # One copy for all slices; whoever decodes one reads it where it lies.
        data = await asyncio.to_thread(ray.put, np.frombuffer(audio, np.uint8))
        transcriber = self._transcribers[model.name]
        request_id = uuid.uuid4().hex

        async def prepare(cursor: DecodeCursor | None) -> pipeline.Prepared:
            options = pipeline.prepare_options(self._settings, model, is_first=cursor is None)
            prepared: pipeline.Prepared = await _call(
                self._preprocessor.prepare, data, cursor, options
            )
            return prepared

        async def transcribe(chunk: Chunk, options: DecodeOptions) -> ChunkTranscript:
            job = ChunkJob(chunk=chunk, options=options, request_id=request_id)
            made: ChunkTranscript = await _call(transcriber.transcribe_chunk, job)
            return made

        return FileTranscription(
            prepare,
            transcribe,
            pipeline.decode_options(request, model),
            max_in_flight=self._settings.max_chunks_in_flight,
        )


async def _call(method: Any, *args: object) -> Any:
    """Call a deployment's method; what it raises arrives as it was raised there.

    Cancelling the call cancels the work.
    """
    response = method.remote(*args)
    try:
        return await response
    except asyncio.CancelledError:
        response.cancel()
        raise
    except BackPressureError as error:
        raise QueueFullError from error
    except RayTaskError as error:
        cause = error.cause
        raise pipeline.unwrap(cause if isinstance(cause, Exception) else error) from None


async def _is_up(handle: DeploymentHandle[Any]) -> bool:
    """Tell whether a replica answers; one does only after its decode at start."""
    try:
        await asyncio.wait_for(_call(handle.warm_up_s), READY_TIMEOUT_S)
    except (TimeoutError, TranscriptionError, RayServeException):
        return False
    return True


def _timed(work: Callable[[], object]) -> float:
    """Do the work; return how long it took, in seconds."""
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s
