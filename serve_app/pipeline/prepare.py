"""Bytes -> the chunks of one slice."""

import time
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from serve_app.domain import (
    MIN_SPAN_S,
    NO_LIMITS,
    SAMPLE_RATE,
    Chunk,
    DecodeCursor,
    DecodedSlice,
    DecodeLimits,
    Span,
    TranscriptionRequest,
    VadChanges,
    VadOptions,
)
from serve_app.errors import InvalidRequestError
from serve_app.settings import AppSettings, ModelSettings
from serve_app.stages import audio, chunking
from serve_app.stages.vad import SpeechDetector, cut_at_quiet


@dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """How one slice of a file becomes chunks."""

    max_slice_s: float
    max_chunk_s: float
    vad: VadOptions | None  # None: keep everything, cut at quiet moments
    clips: tuple[float, ...] = ()  # the caller's own spans, in the place of the VAD's
    limits: DecodeLimits = NO_LIMITS


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """The chunks of one slice, and where to go on."""

    chunks: tuple[Chunk, ...]  # in the order of the audio
    cursor: DecodeCursor | None  # None: the file ends with this slice
    duration_s: float  # of the file up to this slice's end
    decode_s: float  # time spent decoding
    vad_s: float  # time spent finding speech


def prepare(
    data: bytes | memoryview | NDArray[np.uint8],
    cursor: DecodeCursor | None,
    options: PrepareOptions,
    detector: SpeechDetector,
) -> Prepared:
    """Decode one slice of a file, find its speech and cut it into chunks.

    Args:
        data: the whole file as uploaded.
        cursor: where the slice begins; None at the file's start.
        options: the slice's and the chunks' lengths, and what counts as speech.
        detector: the process's voice activity detector.

    Raises:
        InvalidAudioError: the bytes are not audio that can be decoded (or one of its kinds).
    """
    began = time.perf_counter()
    piece = audio.decode_audio(data, cursor, max_s=options.max_slice_s, limits=options.limits)
    decoded = time.perf_counter()
    spans = _find_spans(piece, options, detector)
    groups = chunking.group_spans(spans, max_chunk_s=options.max_chunk_s)
    next_cursor = None
    if not piece.is_last:
        vad = options.vad
        onset_s = 0.0
        if vad and not options.clips:
            # Speech that the slice's end cuts is dropped where it is shorter than speech may be.
            onset_s = vad.speech_pad_s + vad.min_silence_s + vad.min_speech_s
        groups, resume_s = chunking.hold_back(
            groups, start_s=piece.start_s, end_s=piece.end_s, onset_s=onset_s
        )
        next_cursor = piece.cursor_at(resume_s)
    chunks = [chunking.cut_chunk(piece.samples, g, slice_start_s=piece.start_s) for g in groups]
    return Prepared(
        chunks=tuple(chunks),
        cursor=next_cursor,
        duration_s=piece.end_s,
        decode_s=decoded - began,
        vad_s=time.perf_counter() - decoded,
    )


def prepare_options(
    settings: AppSettings, model: ModelSettings, request: TranscriptionRequest, *, is_first: bool
) -> PrepareOptions:
    """Return how a file's first slice, or a later one, is to be cut for that request.

    Raises:
        InvalidRequestError: speech is to be padded by more than fits a chunk.
    """
    lengths = settings.audio
    return PrepareOptions(
        max_slice_s=lengths.first_slice_s if is_first else lengths.slice_s,
        max_chunk_s=model.max_chunk_s,
        vad=_vad(settings, model, request) if request.vad_filter else None,
        clips=request.clip_timestamps,
        limits=lengths.limits,
    )


def _vad(settings: AppSettings, model: ModelSettings, request: TranscriptionRequest) -> VadOptions:
    asked = request.vad
    if asked is None:
        return settings.vad
    # Silero takes the padding off the longest span, so none would be left for speech.
    most_s = (model.max_chunk_s - MIN_SPAN_S) / 2
    pad_s = asked.speech_pad_s or 0.0
    if pad_s > most_s and not request.clip_timestamps:
        raise InvalidRequestError(
            None,  # it has several names
            f"Speech can be padded by at most {most_s:g} s, as chunks are {model.max_chunk_s:g} s "
            f"long; got {pad_s:g} s.",
        )
    return asked.over(settings.vad) if isinstance(asked, VadChanges) else asked


def _find_spans(
    piece: DecodedSlice, options: PrepareOptions, detector: SpeechDetector
) -> list[Span]:
    """Return the spans of a slice that are to be transcribed, in the caller's time."""
    samples = audio.to_float32(piece.samples)
    if options.clips:
        clips = chunking.clip_spans(options.clips, start_s=piece.start_s, end_s=piece.end_s)
        return [s for clip in clips for s in _cut_clip(clip, piece, samples, options.max_chunk_s)]
    if options.vad:
        found = detector.find_speech(samples, options.vad, max_span_s=options.max_chunk_s)
    else:
        found = cut_at_quiet(samples, max_span_s=options.max_chunk_s)
    return [_shift(span, piece.start_s) for span in found]


def _cut_clip(
    clip: Span, piece: DecodedSlice, samples: NDArray[np.float32], max_span_s: float
) -> list[Span]:
    """Return a clip of a slice in spans that fit a chunk; none where it has no sample."""
    start, end = (round((t - piece.start_s) * SAMPLE_RATE) for t in (clip.start_s, clip.end_s))
    spans = cut_at_quiet(samples[start:end], max_span_s=max_span_s)
    cuts_s = [clip.start_s + span.end_s for span in spans[:-1]]
    # The clip's own ends to the digit: whether it goes on in the next slice is told by them.
    bounds_s = [clip.start_s, *cuts_s, clip.end_s] if spans else []
    return [Span(start_s=a, end_s=b) for a, b in pairwise(bounds_s)]


def _shift(span: Span, by_s: float) -> Span:
    return replace(span, start_s=span.start_s + by_s, end_s=span.end_s + by_s)


def whole_chunk(pcm: NDArray[np.int16], *, start_s: float = 0.0) -> Chunk:
    """Return samples that are at most one window as one chunk, whatever they hold."""
    span = Span(start_s=start_s, end_s=start_s + len(pcm) / SAMPLE_RATE)
    return Chunk(pcm=pcm, spans=(span,))
