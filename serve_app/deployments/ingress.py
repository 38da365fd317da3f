"""The deployment that callers meet, over HTTP and through Python handles."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractContextManager, aclosing
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.applications import Starlette

from serve_app import api, detection, models, visits
from serve_app.deployments.calls import put_file, time_limit
from serve_app.deployments.catalog import Catalog
from serve_app.deployments.diarizer import SpeakerFinder
from serve_app.deployments.disconnects import Disconnects
from serve_app.deployments.exporters import Exporters
from serve_app.deployments.memory import GIVE_BACK_EVERY_S, give_back_freed_memory
from serve_app.deployments.meters import IngressMeters, every
from serve_app.deployments.preprocessor import FileReader
from serve_app.deployments.runs import Runs
from serve_app.deployments.transcriber import ChunkTranscriber
from serve_app.domain import (
    ANY_SPEAKERS,
    Audio,
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
from serve_app.load_watch import LoadWatch
from serve_app.retries import Retries
from serve_app.settings import AppSettings

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
        self._meters = IngressMeters()
        load = LoadWatch(self._meters.record_load)
        retries = Retries(settings.retry, self._meters.record_retry)
        self._catalog = Catalog(settings.models, transcribers, retries)
        self._files = FileReader(preprocessor, settings, retries)
        self._chunks = ChunkTranscriber(transcribers, self._catalog, retries)
        self._runs = Runs(settings, self._files, self._chunks, self._catalog, load)
        self._exporters = Exporters()
        self._speakers = SpeakerFinder(diarizer, settings, self._meters.record_retry, self._catalog)
        # Here, so that keys that cannot be read stop the start instead of opening the door.
        self._keys = api.read_keys(settings.api, os.environ)
        self._watching = asyncio.ensure_future(load.watch())
        self._tidying = asyncio.ensure_future(every(GIVE_BACK_EVERY_S, give_back_freed_memory))

    def __serve_build_asgi_app__(self) -> Starlette:
        """Return what answers HTTP requests."""
        app = api.create_app(
            self,
            self._settings.api,
            self._keys,
            sets_request_id=False,  # Serve gives every answer its x-request-id
            record=self._meters.record_visit,
        )
        app.add_middleware(Disconnects)
        return app

    async def check_health(self) -> None:
        """Answer Serve on the loop that answers callers: one that is stuck is soon replaced.

        Without it Serve would watch the loop from outside, and give it 18 minutes.
        """

    def check_room(self) -> None:
        """Raise QueueFullError where no model could take a request now, whatever it asks."""
        self._runs.check_room()

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
            with self._runs.admit(model.name):
                data = await put_file(audio, self._settings)
                async with (
                    self._speakers.search(data, request) as search,
                    aclosing(search.beside(self._runs.transcribe(data, request, model))) as events,
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
            data = await put_file(audio, self._settings)
            return await self._speakers.find_turns(data, options)

    async def detect_speech(
        self, audio: Audio, request: SpeechRequest = DEFAULT_SPEECH_REQUEST
    ) -> tuple[Span, ...]:
        """Return the spans of speech in a file, in order, without transcribing it.

        Raises:
            TranscriptionError: one of its kinds (`serve_app.errors`).
        """
        with self._attended("detect_speech"):
            data = await put_file(audio, self._settings)
            async with time_limit(self._settings.request_timeout_s):
                return await self._files.find_speech(data, request)

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
            with self._runs.admit(declared.name):
                data = await put_file(audio, self._settings)
                prepare = self._files.preparer(data, declared, DEFAULT_REQUEST)
                async with time_limit(self._settings.request_timeout_s):
                    await self._catalog.info(declared.name, self._settings.cold_start_wait_s)
                    chunk = await detection.first_chunk(prepare)
                    if chunk is None:
                        return DetectedLanguage(probabilities=())
                    return await self._chunks.detect_language(declared.name, chunk)

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
        """Return the page of each node's metrics exporter by its address; None: no answer.

        Raises:
            ServiceUnavailableError: Ray does not tell its nodes.
        """
        return await self._exporters.pages()

    def _attended(self, method: str) -> AbstractContextManager[visits.Visit]:
        """Give the visit under way over HTTP, or count a Python caller's."""
        return visits.attended(f"handle:{method}", self._meters.record_visit)
