"""What stands behind the routes, one protocol per group of them. The Ingress deployment is all."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Protocol

from serve_app.domain import (
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
from serve_app.errors import (
    AudioTooLongError,
    AudioTooShortError,
    DeadlineExceededError,
    DecodeTimeoutError,
    InvalidAudioError,
    NoAudioStreamError,
    QueueFullError,
    ReplicaLostError,
    ServiceUnavailableError,
    UnprocessableAudioError,
)

# What any service may raise that works on a file.
SERVICE_ERRORS = (
    *(InvalidAudioError, NoAudioStreamError, AudioTooShortError, AudioTooLongError),
    *(DecodeTimeoutError, UnprocessableAudioError),
    *(QueueFullError, ServiceUnavailableError, ReplicaLostError, DeadlineExceededError),
)


class RoomService(Protocol):
    """Knows whether an upload is worth reading."""

    def check_room(self) -> None:
        """Raise QueueFullError where no model could take a request now, whatever it asks."""
        ...


class TranscriptionService(RoomService, Protocol):
    """Writes down what is said."""

    async def transcribe(self, audio: bytes, request: TranscriptionRequest) -> Transcript:
        """Transcribe a whole file. Raises a `TranscriptionError`."""
        ...

    def transcribe_stream(
        self, audio: bytes, request: TranscriptionRequest
    ) -> AsyncGenerator[TranscriptDelta | Transcript]:
        """Yield what each chunk adds, in the order of the audio, and last the whole transcript."""
        ...


class DetectionService(RoomService, Protocol):
    """Tells about a file without transcribing it."""

    async def detect_speech(self, audio: bytes, request: SpeechRequest) -> Sequence[Span]:
        """Return the spans of speech in a file, in order. Raises a `TranscriptionError`."""
        ...

    async def detect_language(self, audio: bytes, model: str | None) -> DetectedLanguage:
        """Return in which language a file is. Raises a `TranscriptionError`."""
        ...


class DiarizationService(Protocol):
    """Tells speakers apart."""

    async def diarize(self, audio: bytes, options: SpeakerOptions) -> Diarization:
        """Return who speaks when in a file. Raises a `TranscriptionError`."""
        ...


class ModelService(Protocol):
    """Knows the models that the app declares."""

    async def list_models(self) -> Sequence[ModelCard]:
        """Return the declared models. Raises a `TranscriptionError`."""
        ...

    async def get_model(self, name: str) -> ModelCard:
        """Return the model of that name, alias or source. Raises ModelNotFoundError."""
        ...

    async def load_model(self, name: str) -> ModelCard:
        """Start a declared model without waiting for it. Raises ModelNotFoundError."""
        ...

    async def delete_model(self, name: str) -> None:
        """Delete the cached weights of an undeclared model. Raises a `TranscriptionError`."""
        ...

    async def count_replicas(self) -> Mapping[str, int]:
        """Return how many replicas hold each declared model. Raises a `TranscriptionError`."""
        ...


class HealthService(Protocol):
    """Knows what is up."""

    async def waiting_for(self) -> list[str]:
        """Name the deployments that cannot serve yet; empty when all can."""
        ...


class MetricsService(Protocol):
    """Knows where the metrics are."""

    async def export_metrics(self) -> Mapping[str, str | None]:
        """Return the exporter's page of each node by its address; None: it did not answer.

        Raises:
            ServiceUnavailableError: Ray does not tell its nodes.
        """
        ...


class Service(
    TranscriptionService,
    DetectionService,
    DiarizationService,
    ModelService,
    HealthService,
    MetricsService,
    Protocol,
):
    """All of it."""
