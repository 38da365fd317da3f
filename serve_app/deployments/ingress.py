"""The deployment that callers meet, over HTTP and through Python handles."""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import numpy as np
import ray
from ray import serve
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle
from starlette.applications import Starlette

from serve_app import api, models, pipeline
from serve_app.deployments.calls import call
from serve_app.domain import (
    Chunk,
    ChunkJob,
    ChunkTranscript,
    DecodeCursor,
    DecodeOptions,
    ModelInfo,
    Transcript,
    TranscriptDelta,
    TranscriptionRequest,
)
from serve_app.errors import TranscriptionError
from serve_app.fan_out import FileTranscription
from serve_app.settings import AppSettings, ModelSettings

logger = logging.getLogger("ray.serve")

READY_TIMEOUT_S = 1.0  # a deployment that does not answer within this has no replica yet


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
        self._infos: dict[str, ModelInfo] = {}

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
        async with aclosing(self.transcribe_stream(audio, request)) as events:
            async for made in events:
                if isinstance(made, Transcript):
                    return made
        raise TranscriptionError  # a stream ends with a transcript

    async def transcribe_stream(
        self, audio: bytes, request: TranscriptionRequest
    ) -> AsyncGenerator[TranscriptDelta | Transcript]:
        """Yield what each chunk adds, in the order of the audio, and last the whole transcript.

        Raises:
            TranscriptionError: one of its kinds (`serve_app.errors`).
        """
        began_s = time.perf_counter()
        model = models.find_model(request.model, self._settings.models)
        run = await self._start(audio, request, model)
        made: list[tuple[Chunk, ChunkTranscript]] = []
        text = ""
        async with aclosing(run.chunks()) as chunks:
            async for pair in chunks:
                made.append(pair)
                so_far = pipeline.join_texts([transcript for _, transcript in made])
                yield TranscriptDelta(text=so_far[len(text) :])
                text = so_far
        logger.info(
            "transcribed model=%s audio_s=%.1f chunks=%d took_s=%.3f",
            *(model.name, run.duration_s, len(made), time.perf_counter() - began_s),
        )
        yield pipeline.finish(made, request, duration_s=run.duration_s, model=model.name)

    async def waiting_for(self) -> list[str]:
        """Name the deployments of which no replica has run a real decode yet."""
        handles = [self._preprocessor, *self._transcribers.values()]
        answers = await asyncio.gather(*(_is_up(handle) for handle in handles))
        return [h.deployment_name for h, up in zip(handles, answers, strict=True) if not up]

    async def _start(
        self, audio: bytes, request: TranscriptionRequest, model: ModelSettings
    ) -> FileTranscription:
        options = pipeline.decode_options(request, model, await self._info(model.name))
        # One copy for all slices; whoever decodes one reads it where it lies.
        data = await asyncio.to_thread(ray.put, np.frombuffer(audio, np.uint8))
        transcriber = self._transcribers[model.name]
        request_id = uuid.uuid4().hex

        async def prepare(cursor: DecodeCursor | None) -> pipeline.Prepared:
            prepared: pipeline.Prepared = await call(
                self._preprocessor.prepare,
                data,
                cursor,
                pipeline.prepare_options(self._settings, model, request, is_first=cursor is None),
            )
            return prepared

        async def transcribe(chunk: Chunk, options: DecodeOptions) -> ChunkTranscript:
            job = ChunkJob(chunk=chunk, options=options, request_id=request_id)
            made: ChunkTranscript = await call(transcriber.transcribe_chunk, job)
            return made

        return FileTranscription(
            prepare,
            transcribe,
            options,
            max_in_flight=self._settings.max_chunks_in_flight,
            one_language=not request.multilingual,
        )

    async def _info(self, name: str) -> ModelInfo:
        """Return what a model can do, asking its deployment once."""
        if name not in self._infos:
            self._infos[name] = await call(self._transcribers[name].info)
        return self._infos[name]


async def _is_up(handle: DeploymentHandle[Any]) -> bool:
    """Tell whether a replica answers; one does only after its decode at start."""
    try:
        await asyncio.wait_for(call(handle.info), READY_TIMEOUT_S)
    except (TimeoutError, TranscriptionError, RayServeException):
        return False
    return True
