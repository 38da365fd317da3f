"""A file of the object store in, its transcript out: how the Ingress uses the other deployments."""

import uuid
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, AsyncExitStack
from typing import Any

from serve_app import channels, pipeline
from serve_app.admission import ChunkBudget
from serve_app.contexts import make_aside
from serve_app.deployments.calls import time_limit
from serve_app.deployments.catalog import Catalog
from serve_app.deployments.preprocessor import FileReader
from serve_app.deployments.transcriber import ChunkTranscriber
from serve_app.domain import (
    Chunk,
    ChunkJob,
    ChunkTranscript,
    DecodeOptions,
    Transcript,
    TranscriptDelta,
    TranscriptionRequest,
)
from serve_app.errors import QueueFullError
from serve_app.fan_out import FileTranscription, Made, RunLimits
from serve_app.load_watch import LoadWatch
from serve_app.settings import AppSettings, ModelSettings
from serve_app.stages.assemble import GrowingText


class Runs:
    """The transcriptions of one Ingress, which share each model's budget of chunks."""

    def __init__(
        self,
        settings: AppSettings,
        files: FileReader,
        chunks: ChunkTranscriber,
        catalog: Catalog,
        load: LoadWatch,
    ) -> None:
        self._settings = settings
        self._files = files
        self._chunks = chunks
        self._catalog = catalog
        self._load = load
        self._budgets = {
            model.name: ChunkBudget(
                n_chunks=model.max_queued_chunks, max_per_request=settings.max_chunks_in_flight
            )
            for model in settings.models
        }

    def admit(self, model: str) -> AbstractContextManager[None]:
        """Hold a place for one request. Raises QueueFullError where there is none."""
        return self._budgets[model].admit()

    def check_room(self) -> None:
        """Take no place. Raises QueueFullError where no model has one, with the shortest wait."""
        refusals = []
        for budget in self._budgets.values():
            try:
                return budget.check()
            except QueueFullError as refusal:
                refusals.append(refusal)
        raise min(refusals, key=lambda refusal: refusal.retry_after_s)

    def transcribe(
        self, data: Any, request: TranscriptionRequest, model: ModelSettings
    ) -> AsyncGenerator[TranscriptDelta | Transcript]:
        """Yield what the text grows by, in order, and last the whole transcript, without speakers.

        Args:
            data: the file, of the object store; its request holds a place (`admit`).
            request: what to do with it.
            model: which of the app's does it.

        Raises:
            TranscriptionError: one of its kinds (`serve_app.errors`).
        """
        run = self._transcribe_channels if request.multichannel else self._transcribe_file
        return run(data, request, model)

    async def _transcribe_file(
        self, data: Any, request: TranscriptionRequest, model: ModelSettings
    ) -> AsyncGenerator[TranscriptDelta | Transcript]:
        """Yield what each chunk adds, and last the transcript."""
        made: list[Made] = []
        text = GrowingText()
        run = await self._start(data, request, model)
        async with self._load.chunks(run) as chunks:
            async for pair in chunks:
                made.append(pair)
                yield TranscriptDelta(text=text.add(pair[1].text), logprobs=pair[1].logprobs)
        yield await make_aside(
            pipeline.finish, made, request, duration_s=run.duration_s, model=model.name
        )

    async def _transcribe_channels(
        self, data: Any, request: TranscriptionRequest, model: ModelSettings
    ) -> AsyncGenerator[TranscriptDelta | Transcript]:
        """Yield, once all channels are transcribed, what each segment adds, and the transcript."""
        async with time_limit(self._settings.request_timeout_s):
            n_channels = await self._files.count_channels(data)
        selected = channels.select_channels(n_channels)
        # Each channel costs as much as a request, and one place is held already.
        with self._budgets[model.name].admit(len(selected) - 1):
            runs = [await self._start(data, request, model, channel) for channel in selected]
            async with AsyncExitStack() as stack:
                watched = [await stack.enter_async_context(self._load.chunks(run)) for run in runs]
                made = await channels.collect_all(watched)
        transcripts = [
            await make_aside(
                pipeline.finish, pairs, request, duration_s=run.duration_s, model=model.name
            )
            for run, pairs in zip(runs, made, strict=True)
        ]
        for event in await make_aside(lambda: list(channels.join_channels(transcripts))):
            yield event

    async def _start(
        self,
        data: Any,
        request: TranscriptionRequest,
        model: ModelSettings,
        channel: int | None = None,
    ) -> FileTranscription:
        """Return the run of a file, or of one channel of it, once the model is up."""
        known = await self._catalog.info(model.name, self._settings.cold_start_wait_s)
        request_id = uuid.uuid4().hex

        async def transcribe(chunk: Chunk, options: DecodeOptions) -> ChunkTranscript:
            job = ChunkJob(chunk=chunk, options=options, request_id=request_id)
            return await self._chunks.transcribe(model.name, job)

        return FileTranscription(
            self._files.preparer(data, model, request, channel),
            transcribe,
            pipeline.decode_options(request, model, known),
            limits=RunLimits(
                max_in_flight=self._budgets[model.name].share,
                timeout_s=self._settings.request_timeout_s,
            ),
            one_language=not request.multilingual,
        )
