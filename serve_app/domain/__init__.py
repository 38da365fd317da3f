"""The vocabulary: what a caller asks for, what travels between the stages, what comes back.

Every type is a frozen, keyword-only dataclass of plain values, so each crosses a process border by
pickling. `_s` is seconds. A time is either in the caller's audio (0 = its first sample) or in the
chunk (0 = the chunk's first sample); fields say which.
"""

from serve_app.domain.audio import (
    NO_LIMITS,
    Audio,
    Chunk,
    DecodeAnchor,
    DecodeCursor,
    DecodedSlice,
    DecodeLimits,
    Pcm,
    Span,
)
from serve_app.domain.decoding import ChunkJob, ChunkTranscript, DecodeOptions
from serve_app.domain.limits import (
    FALLBACK_TEMPERATURES,
    MAX_NEW_TOKENS,
    MAX_PROMPT_CHARS,
    MAX_TOKENS,
    MIN_SPAN_S,
    SAMPLE_RATE,
    WINDOW_S,
)
from serve_app.domain.models import ModelCard, ModelInfo, ModelState
from serve_app.domain.requests import (
    ResponseFormat,
    SpeechRequest,
    Task,
    TranscriptionRequest,
    VadChanges,
    VadOptions,
)
from serve_app.domain.speakers import (
    ANY_SPEAKERS,
    Diarization,
    KnownSpeaker,
    SpeakerOptions,
    Turn,
)
from serve_app.domain.transcripts import (
    DetectedLanguage,
    Segment,
    TokenLogprob,
    Transcript,
    TranscriptDelta,
    Word,
)

__all__ = [
    "ANY_SPEAKERS",
    "FALLBACK_TEMPERATURES",
    "MAX_NEW_TOKENS",
    "MAX_PROMPT_CHARS",
    "MAX_TOKENS",
    "MIN_SPAN_S",
    "NO_LIMITS",
    "SAMPLE_RATE",
    "WINDOW_S",
    "Audio",
    "Chunk",
    "ChunkJob",
    "ChunkTranscript",
    "DecodeAnchor",
    "DecodeCursor",
    "DecodeLimits",
    "DecodeOptions",
    "DecodedSlice",
    "DetectedLanguage",
    "Diarization",
    "KnownSpeaker",
    "ModelCard",
    "ModelInfo",
    "ModelState",
    "Pcm",
    "ResponseFormat",
    "Segment",
    "Span",
    "SpeakerOptions",
    "SpeechRequest",
    "Task",
    "TokenLogprob",
    "Transcript",
    "TranscriptDelta",
    "TranscriptionRequest",
    "Turn",
    "VadChanges",
    "VadOptions",
    "Word",
]
