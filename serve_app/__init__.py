"""serve_app: Whisper speech-to-text as an autoscaling Ray Serve graph.

These are the names a caller of the running app needs; importing them does not import Ray. The
application itself is `serve_app.app:app`.
"""

from serve_app.domain import (
    Diarization,
    KnownSpeaker,
    Pcm,
    ResponseFormat,
    SpeakerOptions,
    SpeechRequest,
    Transcript,
    TranscriptDelta,
    TranscriptionRequest,
    VadChanges,
    VadOptions,
)
from serve_app.errors import TranscriptionError
from serve_app.stages.render import to_dict, to_srt, to_vtt

__all__ = [
    "Diarization",
    "KnownSpeaker",
    "Pcm",
    "ResponseFormat",
    "SpeakerOptions",
    "SpeechRequest",
    "Transcript",
    "TranscriptDelta",
    "TranscriptionError",
    "TranscriptionRequest",
    "VadChanges",
    "VadOptions",
    "to_dict",
    "to_srt",
    "to_vtt",
]
