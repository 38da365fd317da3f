"""Stand-ins for the parts in which a fault or a delay must be planted."""

import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence

import numpy as np

from serve_app.domain import (
    Chunk,
    ChunkJob,
    ChunkTranscript,
    DecodeOptions,
    DetectedLanguage,
    Diarization,
    ModelCard,
    ModelState,
    Segment,
    Span,
    SpeakerOptions,
    SpeechRequest,
    Transcript,
    TranscriptDelta,
    TranscriptionRequest,
    Turn,
)
from serve_app.errors import ModelNotCachedError, QueueFullError
from serve_app.models import find_model, make_card
from serve_app.settings import ModelSettings


def transcript(text: str = "", **fields: object) -> ChunkTranscript:
    """A chunk transcript that passes every test for a failed attempt, but for what is given."""
    good = dict(
        text=text,
        tokens=(1, 2),
        language="en",
        language_probability=1.0,
        temperature=0.0,
        avg_logprob=-0.2,
        compression_ratio=1.0,
        no_speech_prob=0.01,
    )
    return ChunkTranscript(**{**good, **fields})  # type: ignore[arg-type]


def segment(text: str, start_s: float, end_s: float, **fields: object) -> Segment:
    """A segment whose tokens and scores do not matter."""
    plain = dict(
        tokens=(1,), temperature=0.0, avg_logprob=-0.1, compression_ratio=1.0, no_speech_prob=0.0
    )
    return Segment(text=text, start_s=start_s, end_s=end_s, **{**plain, **fields})  # type: ignore[arg-type]


def job(value: int = 0, *, owner: str = "a", options: DecodeOptions | None = None) -> ChunkJob:
    """A job whose one sample is `value`, so that its answer can be told from others."""
    chunk = Chunk(pcm=np.array([value], np.int16), spans=())
    return ChunkJob(chunk=chunk, options=options or DecodeOptions(), request_id=owner)


class EchoEngine:
    """Answers each job with its first sample as text; can be slow, and can fail on a value."""

    def __init__(
        self,
        *,
        batch_s: float = 0.0,
        fails_on: Callable[[int], bool] = lambda value: False,
    ) -> None:
        self.batches: list[list[int]] = []
        self.busiest = 0  # batches that ran at the same time, at most
        self._batch_s = batch_s
        self._fails_on = fails_on
        self._running = 0
        self._lock = threading.Lock()

    def n_prompt_tokens(self, options: DecodeOptions) -> int:
        return len(options.prompt or "")

    def n_frames(self, chunk: Chunk) -> int:
        return 3000

    def transcribe(self, jobs: Sequence[ChunkJob]) -> list[ChunkTranscript | ChunkJob]:
        values = [int(j.chunk.pcm[0]) for j in jobs]
        with self._lock:
            self.batches.append(values)
            self._running += 1
            self.busiest = max(self.busiest, self._running)
        time.sleep(self._batch_s)
        with self._lock:
            self._running -= 1
        if any(self._fails_on(value) for value in values):
            raise RuntimeError("planted")
        return [transcript(str(value)) for value in values]


class FakeService:
    """Answers every route; keeps what it was asked; can be told to fail."""

    def __init__(self) -> None:
        self.request: TranscriptionRequest | None = None
        self.speech_request: SpeechRequest | None = None
        self.language_model: str | None = None
        self.speaker_options: SpeakerOptions | None = None
        self.error: Exception | None = None
        self.fails_after = 0  # deltas
        self.waiting: list[str] = []
        self.closed = False
        self.state = ModelState.READY
        self.probabilities: tuple[tuple[str, float], ...] = (("tr", 0.75), ("en", 0.25))
        self.deleted: list[str] = []
        self.n_calls = 0
        self.is_full = False
        self.pages: dict[str, str | None] = {}  # of exporters, by address

    def _called(self) -> None:
        self.n_calls += 1
        if self.error:
            raise self.error

    def check_room(self) -> None:
        if self.is_full:
            raise QueueFullError(7.0)

    async def transcribe(self, audio: bytes, request: TranscriptionRequest) -> Transcript:
        self.request = request
        self._called()
        return Transcript(text=f"{len(audio)} bytes", language="en", duration_s=1.0, model="m")

    async def transcribe_stream(
        self, audio: bytes, request: TranscriptionRequest
    ) -> AsyncGenerator[TranscriptDelta | Transcript]:
        try:
            for i, text in enumerate(["one", "", " two"]):
                if self.error and i == self.fails_after:
                    raise self.error
                yield TranscriptDelta(text=text)
            yield await self.transcribe(audio, request)
        finally:
            self.closed = True

    async def detect_speech(self, audio: bytes, request: SpeechRequest) -> list[Span]:
        self.speech_request = request
        self._called()
        return [Span(start_s=0.5, end_s=1.2504), Span(start_s=2.0, end_s=3.0)]

    async def detect_language(self, audio: bytes, model: str | None) -> DetectedLanguage:
        self.language_model = model
        self._called()
        return DetectedLanguage(probabilities=self.probabilities)

    async def diarize(self, audio: bytes, options: SpeakerOptions) -> Diarization:
        self.speaker_options = options
        self._called()
        turns = (
            Turn(speaker="A", start_s=0.5, end_s=1.5),
            Turn(speaker="anna", start_s=1.25, end_s=2.0),
        )
        return Diarization(turns=turns, exclusive=turns, duration_s=3.0)

    async def list_models(self) -> list[ModelCard]:
        self._called()
        return [make_card(model, DECLARED, self.state) for model in DECLARED]

    async def get_model(self, name: str) -> ModelCard:
        self._called()
        return make_card(find_model(name, DECLARED), DECLARED, self.state)

    async def load_model(self, name: str) -> ModelCard:
        return await self.get_model(name)

    async def delete_model(self, name: str) -> None:
        self._called()
        if name != "org/old":
            raise ModelNotCachedError(name)
        self.deleted.append(name)

    async def count_replicas(self) -> dict[str, int]:
        self._called()
        return {"turbo": 2, "mine": 0}

    async def waiting_for(self) -> list[str]:
        return self.waiting

    async def export_metrics(self) -> dict[str, str | None]:
        return self.pages


# The models that a FakeService declares.
DECLARED = (
    ModelSettings(name="turbo", source="deepdml/faster-whisper-large-v3-turbo-ct2"),
    ModelSettings(name="mine", source="/models/mine", aliases=("house-model",)),
)
