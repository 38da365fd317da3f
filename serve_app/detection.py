"""A file in; where there is speech in it, or in which language it is, out. Nothing is transcribed.

Slices of the file are pulled one after the other, so that a long one never lies decoded in memory.
The AudioPreprocessor runs `find_speech` on each slice, the Ingress the two loops; knows no Ray.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from serve_app.contexts import make_aside
from serve_app.domain import (
    NO_LIMITS,
    Chunk,
    DecodeCursor,
    DecodeLimits,
    Span,
    SpeechRequest,
    VadOptions,
)
from serve_app.pipeline import Prepared
from serve_app.stages import audio
from serve_app.stages.vad import SpeechDetector, join_spans, pad_spans, split_open

# How much before open speech, or of silence, a slice hears again of the one before it: onsets are
# kept, and Silero, which remembers what it heard, gets into the same state.
ONSET_S = 2.0


@dataclass(frozen=True, kw_only=True)
class SpeechOptions:
    """What one slice of a file is asked for."""

    max_slice_s: float
    request: SpeechRequest
    limits: DecodeLimits = NO_LIMITS


@dataclass(frozen=True, kw_only=True)
class SpeechSlice:
    """The speech of one slice, without padding, and where to go on."""

    spans: tuple[Span, ...]  # in the caller's audio
    cursor: DecodeCursor | None  # None: the file ends with this slice
    duration_s: float  # of the file up to this slice's end
    decode_s: float = 0.0  # time spent decoding
    vad_s: float = 0.0  # time spent finding speech


def find_speech(
    data: bytes | memoryview | NDArray[np.uint8],
    cursor: DecodeCursor | None,
    options: SpeechOptions,
    detector: SpeechDetector,
) -> SpeechSlice:
    """Decode one slice of a file and find its speech.

    Args:
        data: the whole file as uploaded.
        cursor: where the slice begins; None at the file's start.
        options: the slice's length, and what counts as speech.
        detector: the process's voice activity detector.

    Raises:
        InvalidAudioError: the bytes are not audio that can be decoded (or one of its kinds).
    """
    began = time.perf_counter()
    piece = audio.decode_audio(data, cursor, max_s=options.max_slice_s, limits=options.limits)
    decoded = time.perf_counter()
    request = options.request
    # Padding and the shortest span are for whole spans, which a slice's end may cut: see
    # `collect_speech`.
    vad = replace(request.vad, speech_pad_s=0.0, min_speech_s=0.0)
    max_span_s = request.max_speech_s - 2 * request.vad.speech_pad_s
    found = detector.find_speech(audio.to_float32(piece.samples), vad, max_span_s=max_span_s)
    spans = [
        Span(start_s=span.start_s + piece.start_s, end_s=span.end_s + piece.start_s)
        for span in found
    ]
    next_cursor = None
    if not piece.is_last:
        spans, resume_s = split_open(
            spans, piece.start_s, piece.end_s, min_silence_s=vad.min_silence_s, onset_s=ONSET_S
        )
        next_cursor = piece.cursor_at(resume_s)
    return SpeechSlice(
        spans=tuple(spans),
        cursor=next_cursor,
        duration_s=piece.end_s,
        decode_s=decoded - began,
        vad_s=time.perf_counter() - decoded,
    )


async def collect_speech(
    pull: Callable[[DecodeCursor | None], Awaitable[SpeechSlice]], request: SpeechRequest
) -> tuple[Span, ...]:
    """Return the spans of speech of a whole file, in order.

    Args:
        pull: finds the speech of the slice at a cursor (None: the file's start).
        request: what counts as speech.

    Raises:
        InvalidAudioError: the bytes are not audio that can be decoded (or one of its kinds).
    """
    vad = request.vad
    max_span_s = request.max_speech_s - 2 * vad.speech_pad_s
    spans: Sequence[Span] = ()
    cursor: DecodeCursor | None = None
    while True:
        found = await pull(cursor)
        spans = join_spans(
            spans, found.spans, min_silence_s=vad.min_silence_s, max_span_s=max_span_s
        )
        cursor = found.cursor
        if cursor is None:
            break
    return await make_aside(_finish_spans, spans, vad, duration_s=found.duration_s)


def _finish_spans(spans: Sequence[Span], vad: VadOptions, *, duration_s: float) -> tuple[Span, ...]:
    long_enough = [span for span in spans if span.duration_s > vad.min_speech_s]
    return tuple(pad_spans(long_enough, vad.speech_pad_s, duration_s=duration_s))


async def first_chunk(
    prepare: Callable[[DecodeCursor | None], Awaitable[Prepared]],
) -> Chunk | None:
    """Return the first chunk of a file; None where there is no speech in it.

    Args:
        prepare: cuts the chunks of the slice at a cursor (None: the file's start).

    Raises:
        InvalidAudioError: the bytes are not audio that can be decoded (or one of its kinds).
    """
    cursor: DecodeCursor | None = None
    while True:
        prepared = await prepare(cursor)
        if prepared.chunks:
            return prepared.chunks[0]
        cursor = prepared.cursor
        if cursor is None:
            return None
