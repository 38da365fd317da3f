"""The deployment that tells speakers apart, bytes to turns, and how the Ingress calls it."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, aclosing
from functools import partial
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray import serve
from ray.serve.handle import DeploymentHandle

from serve_app import metrics, models, speakers
from serve_app.contexts import start_apart
from serve_app.deployments.calls import call, returns_errors, time_limit, timed
from serve_app.deployments.catalog import Catalog
from serve_app.deployments.logs import leave_out_calls_that_went_well
from serve_app.deployments.memory import keep_freed_memory
from serve_app.deployments.meters import Meters
from serve_app.deployments.uploads import UploadWork, ask
from serve_app.domain import (
    ANY_SPEAKERS,
    SAMPLE_RATE,
    Diarization,
    SpeakerOptions,
    TranscriptionRequest,
)
from serve_app.errors import InvalidRequestError, ReplicaLostError, ServiceUnavailableError
from serve_app.removals import Removals
from serve_app.retries import Retries
from serve_app.settings import AppSettings, DiarizationSettings
from serve_app.speakers import SpeakerSearch
from serve_app.stages import audio

logger = logging.getLogger("ray.serve")

_ANSWER_S = 5.0  # a replica that is up and has room answers within, however busy its machine
_ASK_EVERY_S = 0.2  # whether there is a replica, after one was lost


class SpeakerDiarizer:
    """Runs one pyannote.audio pipeline, one file at a time; it decodes the file itself."""

    def __init__(self, settings: DiarizationSettings) -> None:
        keep_freed_memory()
        leave_out_calls_that_went_well()
        self._settings = settings
        # pyannote promises nothing about several threads in one pipeline.
        self._thread = ThreadPoolExecutor(1)
        self._uploads = UploadWork("a file")
        self._meters = Meters(metrics.DIARIZER)
        self._n_files = 0
        n_cores = max(1, int(ray.get_runtime_context().get_assigned_resources().get("CPU", 1)))
        token = os.environ.get(settings.token_env)
        self._model = speakers.load_model(settings, token=token, n_cores=n_cores)
        sample = models.asset("sample/sample.flac").read_bytes()
        took_s = timed(
            lambda: speakers.diarize_file(sample, ANY_SPEAKERS, self._model, self._settings)
        )
        logger.info("SpeakerDiarizer is up: %s, first file %.2f s", settings.source, took_s)

    @returns_errors
    async def diarize(self, data: NDArray[np.uint8], options: SpeakerOptions) -> Diarization:
        """Return who speaks when in a file (`speakers.diarize_file`)."""
        self._n_files += 1
        return await self._uploads.run(self._thread, self._diarize, data, options)

    async def alone(self, method: str, *args: Any) -> AsyncGenerator[Any]:
        """Do what `diarize` does, of a suspect (`UploadWork.run_alone`)."""
        async with aclosing(self._uploads.run_alone(getattr(self, f"_{method}"), *args)) as steps:
            async for step in steps:
                yield step

    async def check_health(self) -> None:
        """Tell Serve whether work goes on. Raises RuntimeError where a file hangs."""
        self._uploads.check(self._settings.file_timeout_s)

    async def n_files(self) -> int:
        """Return how many files this replica was given."""
        return self._n_files

    async def info(self) -> str:
        """Return this replica's name; a replica answers only after its file at start."""
        return serve.get_replica_context().replica_tag

    def _diarize(self, data: NDArray[np.uint8], options: SpeakerOptions) -> Diarization:
        began_s = time.perf_counter()
        found = speakers.diarize_file(
            data, options, self._model, self._settings, self._memory_limit
        )
        self._meters.record_stage(metrics.DIARIZE, time.perf_counter() - began_s)
        return found

    def _memory_limit(self) -> AbstractContextManager[None]:
        samples_bytes = (
            round(self._settings.max_audio_s * SAMPLE_RATE) * np.dtype(np.int16).itemsize
        )
        # Twice: while the parts of a file are put together.
        return audio.memory_limit(self._settings.decode_memory_bytes + 2 * samples_bytes)


class SpeakerFinder:
    """The app's diarizer as the Ingress calls it. There may be none."""

    def __init__(
        self,
        diarizer: DeploymentHandle[Any] | None,
        settings: AppSettings,
        on_retry: Callable[[], None],
        catalog: Catalog,
    ) -> None:
        """Find speakers by that deployment.

        Args:
            diarizer: the app's; None: it has none.
            settings: the app's.
            on_retry: told of each try after a replica was lost.
            catalog: tells whether it has a replica, and whether a new config takes it away.
        """
        self._diarizer = diarizer
        self._settings = settings
        # A file takes much longer than a chunk, for which the profile's limit is made.
        limits = settings.diarization or DiarizationSettings()
        patient = settings.retry.model_copy(update={"try_timeout_s": limits.file_timeout_s})
        self._retries = Retries(patient, on_retry)
        self._catalog = catalog
        self._removals = Removals(self._present)
        self._wake: asyncio.Future[Any] | None = None  # a call that waits for a first replica

    def search(self, data: Any, request: TranscriptionRequest) -> SpeakerSearch:
        """Return the search for the turns that a request needs, in a file of the object store.

        Raises:
            InvalidRequestError: it needs some, and the app has no diarizer.
        """
        if request.needs_turns:
            self._check("diarize" if request.diarize else "response_format")
        return SpeakerSearch(partial(self.find_turns, data), request)

    async def find_turns(self, data: Any, options: SpeakerOptions) -> Diarization:
        """Return who speaks when in a file of the object store.

        Raises:
            InvalidRequestError: the app has no diarizer.
            DeadlineExceededError: it took longer than a request may.
            UnprocessableAudioError: two replicas died over the file.
            ServiceUnavailableError: no replica answers, or a new config takes them away.
            TranscriptionError: what `SpeakerDiarizer.diarize` raises.
        """
        diarizer = self._check(None)

        async def find(is_suspect: bool) -> Diarization:
            await self._wait_for_replica(diarizer)
            found: Diarization = await ask(
                diarizer, "diarize", data, options, is_suspect=is_suspect
            )
            return found

        try:
            async with (
                time_limit(self._settings.request_timeout_s),
                self._removals.guard(diarizer.deployment_name),
            ):
                return await self._retries.run_on_upload(find)
        except ServiceUnavailableError as error:
            reason = f"The speakers cannot be told apart now. {error}"
            raise ServiceUnavailableError(reason) from error

    async def _wait_for_replica(self, diarizer: DeploymentHandle[Any]) -> None:
        """Wait a while for a first replica; it goes on starting where it takes longer.

        One that dies over this question has not died of a file: the next one is waited for. One
        that is full does not answer it; the file may wait for room there.
        """
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + max(_ANSWER_S, self._settings.cold_start_wait_s)
        while (left_s := ends_s - loop.time()) > 0:
            if self._wake is None or self._wake.done():
                self._wake = start_apart(call(diarizer.info))
            await asyncio.wait({self._wake}, timeout=left_s)
            if not self._wake.done():
                if await self._catalog.is_up(diarizer):
                    return
                break
            try:
                self._wake.result()
            except ReplicaLostError:
                await asyncio.sleep(_ASK_EVERY_S)
            else:
                return
        raise ServiceUnavailableError("The diarization deployment is starting.")

    async def _present(self) -> list[str]:
        diarizer = self._check(None)
        return [diarizer.deployment_name] if await self._catalog.is_there(diarizer) else []

    def _check(self, param: str | None) -> DeploymentHandle[Any]:
        if self._diarizer is None:
            raise InvalidRequestError(
                param,
                "This app does not tell speakers apart: its profile has no 'diarization:'. A file "
                "with one speaker in each channel can be sent with multichannel=true.",
            )
        return self._diarizer
