"""The stages composed, without Ray: prepare -> transcribe_batch -> finish.

The deployments call these three, and so do tests, benchmarks and every use without a cluster.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from serve_app.domain import (
    SAMPLE_RATE,
    Chunk,
    ChunkJob,
    ChunkTranscript,
    DecodeCursor,
    DecodeOptions,
    Span,
    Transcript,
    TranscriptionRequest,
)
from serve_app.errors import TranscriptionError
from serve_app.settings import AppSettings, ModelSettings, VadSettings
from serve_app.stages import assemble, audio, chunking
from serve_app.stages.vad import SpeechDetector
from serve_app.stages.whisper import Engine

Outcome = ChunkTranscript | ChunkJob | Exception


@dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """How one slice of a file becomes chunks."""

    max_slice_s: float
    max_chunk_s: float
    vad: VadSettings


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
    piece = audio.decode_audio(data, cursor, max_s=options.max_slice_s)
    decoded = time.perf_counter()
    end_s = piece.start_s + len(piece.samples) / SAMPLE_RATE
    found = detector.find_speech(
        audio.to_float32(piece.samples), options.vad, max_span_s=options.max_chunk_s
    )
    spans = [_shift(span, piece.start_s) for span in found]
    groups = chunking.group_spans(spans, max_chunk_s=options.max_chunk_s)
    next_cursor = None
    if not piece.is_last:
        onset_s = options.vad.speech_pad_s + options.vad.min_silence_s
        groups, resume_s = chunking.hold_back(groups, slice_end_s=end_s, onset_s=onset_s)
        next_cursor = piece.cursor_at(resume_s)
    chunks = [chunking.cut_chunk(piece.samples, g, slice_start_s=piece.start_s) for g in groups]
    return Prepared(
        chunks=tuple(chunks),
        cursor=next_cursor,
        duration_s=end_s,
        decode_s=decoded - began,
        vad_s=time.perf_counter() - decoded,
    )


def prepare_options(
    settings: AppSettings, model: ModelSettings, *, is_first: bool
) -> PrepareOptions:
    """Return how a file's first slice, or a later one, is to be cut for that model."""
    audio_settings = settings.audio
    return PrepareOptions(
        max_slice_s=audio_settings.first_slice_s if is_first else audio_settings.slice_s,
        max_chunk_s=model.max_chunk_s,
        vad=settings.vad,
    )


def decode_options(request: TranscriptionRequest, model: ModelSettings) -> DecodeOptions:
    """Return how the request's chunks are to be decoded by that model."""
    return DecodeOptions(
        language=request.language,
        prompt=request.prompt,
        temperatures=request.temperatures,
        beam_size=model.beam_size,
    )


def transcribe_batch(engine: Engine, jobs: Sequence[ChunkJob]) -> list[Outcome]:
    """Decode jobs of one bucket. A job that cannot be decoded gets an error, its neighbours not.

    Where the engine fails on a batch, the batch is halved until the culprit stands alone.
    """
    try:
        return list(engine.transcribe(jobs))
    except Exception as error:  # noqa: BLE001 - whatever the engine throws becomes a value
        if len(jobs) == 1:
            return [error]
        half = len(jobs) // 2
        return transcribe_batch(engine, jobs[:half]) + transcribe_batch(engine, jobs[half:])


async def transcribe_chunk(
    submit: Callable[[ChunkJob], Awaitable[Outcome]], job: ChunkJob
) -> ChunkTranscript:
    """Take one chunk through as many attempts as it needs.

    Args:
        submit: puts a job into a batch and returns its outcome (`scheduler.Gate.submit`).
        job: the first attempt.

    Raises:
        TranscriptionError: the chunk could not be decoded.
    """
    while True:
        outcome = await submit(job)
        if isinstance(outcome, ChunkTranscript):
            return outcome
        if isinstance(outcome, Exception):
            raise unwrap(outcome)
        job = outcome


def unwrap(error: Exception) -> TranscriptionError:
    """Return the error that a caller may see in the place of whatever went wrong."""
    if isinstance(error, TranscriptionError):
        return error
    unexpected = TranscriptionError()
    unexpected.__cause__ = error
    return unexpected


def finish(chunks: Sequence[ChunkTranscript], *, duration_s: float, model: str) -> Transcript:
    """Join a request's chunks, given in the order of the audio, into its transcript."""
    return assemble.assemble(chunks, duration_s=duration_s, model=model)


def _shift(span: Span, by_s: float) -> Span:
    return replace(span, start_s=span.start_s + by_s, end_s=span.end_s + by_s)


def warm_up(engine: Engine) -> None:
    """Decode a second of silence, so that the first request does not pay for a cold engine.

    Raises:
        TranscriptionError: the engine cannot decode.
    """
    chunk = whole_chunk(np.zeros(SAMPLE_RATE, np.int16))
    job = ChunkJob(chunk=chunk, options=DecodeOptions(language="en"), request_id="warm-up")
    [outcome] = transcribe_batch(engine, [job])
    if isinstance(outcome, Exception):
        raise unwrap(outcome) from outcome


def whole_chunk(pcm: NDArray[np.int16], *, start_s: float = 0.0) -> Chunk:
    """Return samples that are at most one window as one chunk, whatever they hold."""
    span = Span(start_s=start_s, end_s=start_s + len(pcm) / SAMPLE_RATE)
    return Chunk(pcm=pcm, spans=(span,))
