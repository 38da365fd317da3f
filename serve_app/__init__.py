"""serve_app: Whisper speech-to-text as an autoscaling Ray Serve graph.

These are the names a caller of the running app needs; importing them does not import Ray. The
application itself is `serve_app.app:app`.
"""

from serve_app.domain import (
    Diarization,
    KnownSpeaker,
    ResponseFormat,
    SpeakerOptions,
    Transcript,
    TranscriptionRequest,
)
from serve_app.errors import TranscriptionError

__all__ = [
    "Diarization",
    "KnownSpeaker",
    "ResponseFormat",
    "SpeakerOptions",
    "Transcript",
    "TranscriptionError",
    "TranscriptionRequest",
]
