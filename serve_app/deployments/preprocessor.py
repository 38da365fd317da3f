"""The CPU deployment: bytes to chunks, or to spans of speech."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from ray import serve

from serve_app import detection, models, pipeline
from serve_app.deployments.calls import timed
from serve_app.detection import SpeechOptions, SpeechSlice
from serve_app.domain import DecodeCursor, TranscriptionRequest
from serve_app.settings import AppSettings
from serve_app.stages.vad import SpeechDetector

logger = logging.getLogger("ray.serve")


class AudioPreprocessor:
    """Decodes audio, finds speech, cuts chunks: one core per replica, one slice at a time."""

    def __init__(self) -> None:
        self._detector = SpeechDetector()
        # Two Python threads decode no faster than one, so replicas are the way to more.
        self._thread = ThreadPoolExecutor(1)
        took_s = timed(self._warm_up)
        logger.info("AudioPreprocessor is up: first decode %.2f s", took_s)

    async def prepare(
        self, data: NDArray[np.uint8], cursor: DecodeCursor | None, options: pipeline.PrepareOptions
    ) -> pipeline.Prepared:
        """Return the chunks of one slice of a file (`pipeline.prepare`)."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._thread, pipeline.prepare, data, cursor, options, self._detector
        )

    async def find_speech(
        self, data: NDArray[np.uint8], cursor: DecodeCursor | None, options: SpeechOptions
    ) -> SpeechSlice:
        """Return the speech of one slice of a file (`detection.find_speech`)."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._thread, detection.find_speech, data, cursor, options, self._detector
        )

    async def info(self) -> str:
        """Return this replica's name; a replica answers only after its decode at start."""
        return serve.get_replica_context().replica_tag

    def _warm_up(self) -> None:
        settings = AppSettings()
        options = pipeline.prepare_options(
            settings, settings.models[0], TranscriptionRequest(), is_first=True
        )
        sample = models.asset("sample/sample.flac").read_bytes()
        pipeline.prepare(sample, None, options, self._detector)
