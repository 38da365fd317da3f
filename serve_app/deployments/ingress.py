"""The deployment that callers meet, over HTTP and through Python handles."""

import asyncio
import logging
import os
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, aclosing
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.applications import Starlette

from serve_app import api, channels, detection, models, pipeline, visits
from serve_app.admission import ChunkBudget
from serve_app.deployments.calls import call, put_file, time_limit
from serve_app.deployments.catalog import Catalog
from serve_app.deployments.diarizer import SpeakerFinder
from serve_app.deployments.exporters import fetch_pages
from serve_app.deployments.meters import IngressMeters
from serve_app.domain import (
    ANY_SPEAKERS,
    Audio,
    Chunk,
    ChunkJob,
    ChunkTranscript,
    DecodeCursor,
    DecodeOptions,
    DetectedLanguage,
    Diarization,
    ModelCard,
    Span,
    SpeakerOptions,
    SpeechRequest,
    Transcript,
    TranscriptDelta,
    TranscriptionRequest,
)
from serve_app.errors import TranscriptionError
from serve_app.fan_out import FileTranscription, RunLimits
from serve_app.load_watch import LoadWatch
from serve_app.removals import Removals
from serve_app.retries import Retries
from serve_app.settings import AppSettings, ModelSettings

logger = logging.getLogger("ray.serve")

# They never change, so that calls may share them.
DEFAULT_REQUEST = TranscriptionRequest()
DEFAULT_SPEECH_REQUEST = SpeechRequest()


@serve.ingress()
class Ingress:
    """The two doors, HTTP and Python handles, and the owner of each request's chunks."""

    def __init__(
        self,
        settings: AppSettings,
        preprocessor: DeploymentHandle[Any],
        transcribers: Mapping[str, DeploymentHandle[Any]],  # by model name
        diarizer: DeploymentHandle[Any] | None = None,
    ) -> None:
        self._settings = settings
        self._preprocessor = preprocessor
        self._transcribers = transcribers
        self._meters = IngressMeters()
        self._speakers = SpeakerFinder(diarizer, settings, self._meters.record_retry)
        self._retries = Retries(settings.retry, self._meters.record_retry)
        self._catalog = Catalog(settings.models, transcribers, self._retries)
        self._removals = Removals(self._catalog.present)
        self._budgets = {
            model.name: ChunkBudget(
                n_chunks=model.max_queued_chunks, max_per_request=settings.max_chunks_in_flight
            )
            for model in settings.models
        }
        # Here, so that keys that cannot be read stop the start instead of opening the door.
        self._keys = api.read_keys(settings.api, os.environ)
        self._load = LoadWatch(self._meters.record_load)
        self._watching = asyncio.ensure_future(self._load.watch())

    def __serve_build_asgi_app__(self) -> Starlette:
        """Return what answers HTTP requests."""
        # Serve's proxy gives every answer its x-request-id.
        return api.create_app(
            self,
            self._settings.api,
            self._keys,
            sets_request_id=False,
            record=self._meters.record_visit,
        )

    async def transcribe(
        self, audio: Audio, request: TranscriptionRequest = DEFAULT_REQUEST
    ) -> Transcript:
        """Transcribe one file.

        Args:
            audio: a file's bytes, in any container that PyAV reads; its path, where the Ingress's
                node can read it; or samples.
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
        self, audio: Audio, request: TranscriptionRequest = DEFAULT_REQUEST
    ) -> AsyncGenerator[TranscriptDelta | Transcript]:
        """Yield what each chunk adds, in the order of the audio, and last the whole transcript.

        Raises:
            TranscriptionError: one of its kinds (`serve_app.errors`).
        """
        began_s = time.perf_counter()
        n_deltas = 0
        with self._attended("transcribe") as visit:
            model = models.find_model(request.model, self._settings.models)
            visit.model = model.name
            with self._budgets[model.name].admit():
                data = await put_file(audio, self._settings.api)
                run = self._transcribe_channels if request.multichannel else self._transcribe_file
                async with (
                    self._speakers.search(data, request) as search,
                    aclosing(search.beside(run(data, request, model))) as events,
                ):
                    async for made in events:
                        if isinstance(made, Transcript):
                            transcript = await search.add_speakers(made)
                        else:
                            n_deltas += 1
                            yield made
        took_s = time.perf_counter() - began_s
        self._meters.record_transcription(model.name, audio_s=transcript.duration_s, took_s=took_s)
        logger.info(
            "transcribed model=%s audio_s=%.1f deltas=%d took_s=%.3f",
            *(model.name, transcript.duration_s, n_deltas, took_s),
        )
        yield transcript

    async def diarize(self, audio: Audio, options: SpeakerOptions = ANY_SPEAKERS) -> Diarization:
        """Return who speaks when in a file, without transcribing it.

        Raises:
            TranscriptionError: one of its kinds (`serve_app.errors`).
        """
        with self._attended("diarize"):
            data = await put_file(audio, self._settings.api)
            return await self._speakers.find_turns(data, options)

    async def detect_speech(
        self, audio: Audio, request: SpeechRequest = DEFAULT_SPEECH_REQUEST
    ) -> tuple[Span, ...]:
        """Return the spans of speech in a file, in order, without transcribing it.

        Raises:
            TranscriptionError: one of its kinds (`serve_app.errors`).
        """
        lengths = self._settings.audio

        async def pull(cursor: DecodeCursor | None) -> detection.SpeechSlice:
            options = detection.SpeechOptions(
                max_slice_s=lengths.slice_s if cursor else lengths.first_slice_s,
                request=request,
                limits=lengths.limits,
            )
            found: detection.SpeechSlice = await self._retries.run_on_upload(
                lambda is_suspect: call(
                    self._preprocessor.find_speech, data, cursor, options, is_suspect
                )
            )
            return found

        with self._attended("detect_speech"):
            data = await put_file(audio, self._settings.api)
            async with time_limit(self._settings.request_timeout_s):
                return await detection.collect_speech(pull, request)

    async def detect_language(self, audio: Audio, model: str | None = None) -> DetectedLanguage:
        """Return in which language a file is, by its first chunk with speech.

        Args:
            audio: as for `transcribe`.
            model: the model that is to tell; None: the profile's first.

        Raises:
            TranscriptionError: one of its kinds (`serve_app.errors`).
        """
        with self._attended("detect_language") as visit:
            declared = models.find_model(model, self._settings.models)
            visit.model = declared.name
            data = await put_file(audio, self._settings.api)
            prepare = self._preparer(data, declared, DEFAULT_REQUEST)
            transcriber = self._transcribers[declared.name]
            async with time_limit(self._settings.request_timeout_s):
                await self._catalog.info(declared.name, self._settings.cold_start_wait_s)
                chunk = await detection.first_chunk(prepare)
                if chunk is None:
                    return DetectedLanguage(probabilities=())
                async with self._removals.guard(declared.name):
                    found: DetectedLanguage = await self._retries.run(
                        lambda: call(transcriber.detect_language, chunk)
                    )
            return found

    async def list_models(self) -> list[ModelCard]:
        """Return the declared models and whether each can answer now.

        Raises:
            ServiceUnavailableError: Serve does not tell.
        """
        return await self._catalog.cards()

    async def get_model(self, name: str) -> ModelCard:
        """Return one declared model, by its name, an alias or its source.

        Raises:
            ModelNotFoundError: the profile declares no such model.
            ServiceUnavailableError: Serve does not tell its state.
        """
        return await self._catalog.card(name)

    async def load_model(self, name: str) -> ModelCard:
        """Start a replica of a declared model where there is none; do not wait for it.

        Raises:
            ModelNotFoundError: the profile declares no such model.
            ServiceUnavailableError: Serve does not tell its state.
        """
        return await self._catalog.load(name)

    async def delete_model(self, name: str) -> None:
        """Delete an undeclared model from the Hugging Face cache of the Ingress's node.

        Raises:
            InvalidRequestError: the profile declares the model.
            ModelNotCachedError: there is nothing to delete.
        """
        await asyncio.to_thread(models.delete_cached, name, self._settings.models)

    async def count_replicas(self) -> dict[str, int]:
        """Return how many replicas hold each declared model.

        Raises:
            ServiceUnavailableError: Serve does not tell.
        """
        return await self._catalog.count_replicas()

    async def waiting_for(self) -> list[str]:
        """Name the deployments of the app that cannot serve now, less those scaled to zero."""
        return await self._catalog.waiting_for()

    async def export_metrics(self) -> dict[str, str | None]:
        """Return the page of each node's metrics exporter by its address; None: no answer."""
        return await fetch_pages()

    def _attended(self, method: str) -> AbstractContextManager[visits.Visit]:
        """Give the visit under way over HTTP, or count a Python caller's."""
        return visits.attended(f"handle:{method}", self._meters.record_visit)

    async def _transcribe_file(
        self, data: Any, request: TranscriptionRequest, model: ModelSettings
    ) -> AsyncGenerator[TranscriptDelta | Transcript]:
        """Yield what each chunk adds, and last the whole transcript, without speakers."""
        made: list[tuple[Chunk, ChunkTranscript]] = []
        text = ""
        run = await self._start(data, request, model)
        async with self._load.chunks(run) as chunks:
            async for pair in chunks:
                made.append(pair)
                so_far = pipeline.join_texts([transcript for _, transcript in made])
                yield TranscriptDelta(text=so_far[len(text) :], logprobs=pair[1].logprobs)
                text = so_far
        yield pipeline.finish(made, request, duration_s=run.duration_s, model=model.name)

    async def _transcribe_channels(
        self, data: Any, request: TranscriptionRequest, model: ModelSettings
    ) -> AsyncGenerator[TranscriptDelta | Transcript]:
        """Yield, once all channels are transcribed, what each segment adds, and the transcript."""
        async with time_limit(self._settings.request_timeout_s):
            n_channels: int = await self._retries.run_on_upload(
                lambda is_suspect: call(self._preprocessor.count_channels, data, is_suspect)
            )
        selected = channels.select_channels(n_channels)
        # Each channel costs as much as a request, and one place is held already.
        with self._budgets[model.name].admit(len(selected) - 1):
            runs = [await self._start(data, request, model, channel) for channel in selected]
            async with AsyncExitStack() as stack:
                watched = [await stack.enter_async_context(self._load.chunks(run)) for run in runs]
                made = await channels.collect_all(watched)
        transcripts = [
            pipeline.finish(pairs, request, duration_s=run.duration_s, model=model.name)
            for run, pairs in zip(runs, made, strict=True)
        ]
        for event in channels.join_channels(transcripts):
            yield event

    async def _start(
        self,
        data: Any,
        request: TranscriptionRequest,
        model: ModelSettings,
        channel: int | None = None,
    ) -> FileTranscription:
        known = await self._catalog.info(model.name, self._settings.cold_start_wait_s)
        options = pipeline.decode_options(request, model, known)
        prepare = self._preparer(data, model, request, channel)
        transcriber = self._transcribers[model.name]
        request_id = uuid.uuid4().hex

        async def transcribe(chunk: Chunk, options: DecodeOptions) -> ChunkTranscript:
            job = ChunkJob(chunk=chunk, options=options, request_id=request_id)
            async with self._removals.guard(model.name):
                made: ChunkTranscript = await self._retries.run(
                    lambda: call(transcriber.transcribe_chunk, job)
                )
            self._catalog.heard(model.name)
            return made

        return FileTranscription(
            prepare,
            transcribe,
            options,
            limits=RunLimits(
                max_in_flight=self._budgets[model.name].share,
                timeout_s=self._settings.request_timeout_s,
            ),
            one_language=not request.multilingual,
        )

    def _preparer(
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
            prepared: pipeline.Prepared = await self._retries.run_on_upload(
                lambda is_suspect: call(
                    self._preprocessor.prepare, data, cursor or start, options, is_suspect
                )
            )
            return prepared

        return prepare
