"""The CPU deployment, bytes to chunks or to spans of speech, and how the Ingress calls it."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, aclosing
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray import serve
from ray.serve.handle import DeploymentHandle

from serve_app import channels, detection, metrics, models, pipeline
from serve_app.deployments.calls import returns_errors, timed
from serve_app.deployments.logs import leave_out_calls_that_went_well
from serve_app.deployments.memory import (
    GIVE_BACK_EVERY_S,
    give_back_freed_memory,
    keep_freed_memory,
)
from serve_app.deployments.meters import Meters, every
from serve_app.deployments.uploads import UploadWork, ask
from serve_app.detection import SpeechOptions, SpeechSlice
from serve_app.domain import DecodeCursor, Span, SpeechRequest, TranscriptionRequest
from serve_app.retries import Retries
from serve_app.settings import AppSettings, AudioSettings, ModelSettings
from serve_app.stages import audio
from serve_app.stages.vad import SpeechDetector

logger = logging.getLogger("ray.serve")


class AudioPreprocessor:
    """Decodes audio, finds speech, cuts chunks: one core per replica."""

    def __init__(self, settings: AudioSettings) -> None:
        keep_freed_memory()
        leave_out_calls_that_went_well()
        self._settings = settings
        self._detector = SpeechDetector()
        self._meters = Meters(metrics.PREPROCESSOR)
        # One thread for each queue: two decode no faster than one, so replicas are the way to
        # more. But a file that has just come must not wait for the slices of long ones.
        self._first_slices = ThreadPoolExecutor(1)
        self._later_slices = ThreadPoolExecutor(1)
        self._uploads = UploadWork("a slice")
        took_s = timed(self._warm_up)
        self._idle_bytes = audio.own_bytes()
        self._tidying = asyncio.ensure_future(every(GIVE_BACK_EVERY_S, give_back_freed_memory))
        logger.info("AudioPreprocessor is up: first decode %.2f s", took_s)

    @returns_errors
    async def prepare(
        self,
        data: NDArray[np.uint8],
        cursor: DecodeCursor | None,
        options: pipeline.PrepareOptions,
    ) -> pipeline.Prepared:
        """Return the chunks of one slice of a file (`pipeline.prepare`)."""
        return await self._uploads.run(self._queue_of(cursor), self._prepare, data, cursor, options)

    @returns_errors
    async def find_speech(
        self, data: NDArray[np.uint8], cursor: DecodeCursor | None, options: SpeechOptions
    ) -> SpeechSlice:
        """Return the speech of one slice of a file (`detection.find_speech`)."""
        return await self._uploads.run(
            self._queue_of(cursor), self._find_speech, data, cursor, options
        )

    @returns_errors
    async def count_channels(self, data: NDArray[np.uint8]) -> int:
        """Return how many channels a file's audio has (`channels.count_channels`)."""
        return await self._uploads.run(self._first_slices, self._count_channels, data)

    async def alone(self, method: str, *args: Any) -> AsyncGenerator[Any]:
        """Do what one of these methods does, of a suspect (`UploadWork.run_alone`)."""
        async with aclosing(self._uploads.run_alone(getattr(self, f"_{method}"), *args)) as steps:
            async for step in steps:
                yield step

    async def check_health(self) -> None:
        """Tell Serve whether decoding goes on. Raises RuntimeError where a slice hangs."""
        self._uploads.check(self._settings.slice_timeout_s)

    async def info(self) -> str:
        """Return this replica's name; a replica answers only after its decode at start."""
        return serve.get_replica_context().replica_tag

    def _prepare(
        self,
        data: NDArray[np.uint8],
        cursor: DecodeCursor | None,
        options: pipeline.PrepareOptions,
    ) -> pipeline.Prepared:
        with self._memory_limit():
            prepared = pipeline.prepare(data, cursor, options, self._detector)
        self._record(prepared)
        return prepared

    def _find_speech(
        self, data: NDArray[np.uint8], cursor: DecodeCursor | None, options: SpeechOptions
    ) -> SpeechSlice:
        with self._memory_limit():
            found = detection.find_speech(data, cursor, options, self._detector)
        self._record(found)
        return found

    def _count_channels(self, data: NDArray[np.uint8]) -> int:
        with self._memory_limit():
            return channels.count_channels(data, self._settings.limits)

    def _memory_limit(self) -> AbstractContextManager[None]:
        limit_bytes = self._settings.decode_memory_bytes
        return audio.memory_limit(limit_bytes, beyond_bytes=self._idle_bytes)

    def _queue_of(self, cursor: DecodeCursor | None) -> ThreadPoolExecutor:
        is_first = cursor is None or cursor.start_sample == 0
        return self._first_slices if is_first else self._later_slices

    def _record(self, made: pipeline.Prepared | SpeechSlice) -> None:
        self._meters.record_stage(metrics.DECODE, made.decode_s)
        self._meters.record_stage(metrics.VAD, made.vad_s)

    def _warm_up(self) -> None:
        settings = AppSettings()
        options = pipeline.prepare_options(
            settings, settings.models[0], TranscriptionRequest(), is_first=True
        )
        sample = models.asset("sample/sample.flac").read_bytes()
        pipeline.prepare(sample, None, options, self._detector)


class FileReader:
    """The app's AudioPreprocessor as the Ingress calls it, about files of the object store.

    Its methods raise InvalidAudioError (or one of its kinds) where a file is not audio that can be
    decoded, and ServiceUnavailableError where no replica answers.
    """

    def __init__(
        self, preprocessor: DeploymentHandle[Any], settings: AppSettings, retries: Retries
    ) -> None:
        self._preprocessor = preprocessor
        self._settings = settings
        self._retries = retries

    def preparer(
        self,
        data: Any,
        model: ModelSettings,
        request: TranscriptionRequest,
        channel: int | None = None,
    ) -> Callable[[DecodeCursor | None], Awaitable[pipeline.Prepared]]:
        """Return what cuts the chunks of one slice of a file, or of one channel of it."""
        start = None if channel is None else DecodeCursor(channel=channel)

        async def prepare(cursor: DecodeCursor | None) -> pipeline.Prepared:
            options = pipeline.prepare_options(
                self._settings, model, request, is_first=cursor is None
            )
            prepared: pipeline.Prepared = await self._ask("prepare", data, cursor or start, options)
            return prepared

        return prepare

    async def find_speech(self, data: Any, request: SpeechRequest) -> tuple[Span, ...]:
        """Return the spans of speech in a file, in order."""
        lengths = self._settings.audio

        async def pull(cursor: DecodeCursor | None) -> SpeechSlice:
            options = SpeechOptions(
                max_slice_s=lengths.slice_s if cursor else lengths.first_slice_s,
                request=request,
                limits=lengths.limits,
            )
            found: SpeechSlice = await self._ask("find_speech", data, cursor, options)
            return found

        return await detection.collect_speech(pull, request)

    async def count_channels(self, data: Any) -> int:
        """Return how many channels a file's audio has."""
        n_channels: int = await self._ask("count_channels", data)
        return n_channels

    async def _ask(self, method: str, *args: object) -> Any:
        """Call a method for a file that may be deadly for its replica."""
        return await self._retries.run_on_upload(
            lambda is_suspect: ask(self._preprocessor, method, *args, is_suspect=is_suspect)
        )
