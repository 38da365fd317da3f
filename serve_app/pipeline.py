"""The stages composed, without Ray: prepare -> transcribe_batch -> finish.

The deployments call these three, and so do tests, benchmarks and every use without a cluster.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from serve_app.domain import (
    MAX_PROMPT_CHARS,
    NO_LIMITS,
    SAMPLE_RATE,
    Chunk,
    ChunkJob,
    ChunkTranscript,
    DecodeCursor,
    DecodedSlice,
    DecodeLimits,
    DecodeOptions,
    ModelInfo,
    Span,
    Task,
    Transcript,
    TranscriptionRequest,
    VadOptions,
)
from serve_app.errors import (
    InvalidRequestError,
    OutOfDeviceMemoryError,
    ReplicaLostError,
    TranscriptionError,
)
from serve_app.languages import language_code
from serve_app.settings import AppSettings, ModelSettings
from serve_app.stages import assemble, audio, chunking
from serve_app.stages.vad import SpeechDetector, cut_at_quiet
from serve_app.stages.whisper import Engine

Outcome = ChunkTranscript | ChunkJob | Exception


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
        onset_s = vad.speech_pad_s + vad.min_silence_s if vad and not options.clips else 0.0
        groups, resume_s = chunking.hold_back(groups, slice_end_s=piece.end_s, onset_s=onset_s)
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
    """Return how a file's first slice, or a later one, is to be cut for that request."""
    lengths = settings.audio
    return PrepareOptions(
        max_slice_s=lengths.first_slice_s if is_first else lengths.slice_s,
        max_chunk_s=model.max_chunk_s,
        vad=(request.vad or settings.vad) if request.vad_filter else None,
        clips=request.clip_timestamps,
        limits=lengths.limits,
    )


def decode_options(
    request: TranscriptionRequest, model: ModelSettings, known: ModelInfo
) -> DecodeOptions:
    """Return how the request's chunks are to be decoded by that model.

    Raises:
        InvalidRequestError: the model does not know the language, cannot translate, or the search
            does not tell what is asked.
    """
    if request.task is Task.TRANSLATE and not known.translates:
        raise InvalidRequestError(
            "task", f"The model '{model.name}' cannot translate; it only transcribes."
        )
    beam_size = request.beam_size or model.beam_size
    if request.logprobs and beam_size > 1:
        raise InvalidRequestError(
            "include",
            "include=logprobs needs greedy search, because beam search does not tell how probable "
            "each token was. Send beam_size=1 with it.",
        )
    language, among = _asked_languages(request, known)
    return DecodeOptions(
        task=request.task,
        language=language,
        languages=among,
        prompt=(request.prompt or "").strip()[-MAX_PROMPT_CHARS:] or None,
        hotwords=(request.hotwords or "").strip()[:MAX_PROMPT_CHARS] or None,
        temperatures=(request.temperature,) if request.temperature else model.temperatures,
        timestamps=_decodes_timestamps(request, model),
        words=request.needs_words,
        logprobs=request.logprobs,
        beam_size=beam_size,
        best_of=request.best_of,
        patience=request.patience,
        length_penalty=request.length_penalty,
        repetition_penalty=request.repetition_penalty,
        no_repeat_ngram_size=request.no_repeat_ngram_size,
        suppress_tokens=request.suppress_tokens,
        max_new_tokens=request.max_new_tokens,
        tokens_per_s=model.tokens_per_s,
        token_margin=model.token_margin,
    )


def _decodes_timestamps(request: TranscriptionRequest, model: ModelSettings) -> bool:
    always = model.timestamps == "always" and request.without_timestamps is None
    return always or request.timestamps


def _asked_languages(
    request: TranscriptionRequest, known: ModelInfo
) -> tuple[str | None, tuple[str, ...]]:
    """Return the language to write, None where it is to be detected, and those to detect among."""
    among = tuple(c for name in request.languages if (c := _known_language(name, known)))
    language = _known_language(request.language, known)
    if request.language and language and among and language not in among:
        raise InvalidRequestError(
            "languages", f"languages does not hold the language asked for, {request.language!r}."
        )
    return (among[0] if len(among) == 1 else language), among


def _known_language(asked: str | None, known: ModelInfo) -> str | None:
    """Return the code of a language asked for; None where the model is to detect it."""
    if asked is None or asked.lower() == "auto":
        return None if len(known.languages) > 1 else known.languages[0]
    code = language_code(asked)
    if code not in known.languages:
        raise InvalidRequestError(
            "language",
            f"The model '{known.name}' does not know the language {asked!r}. "
            f"It knows: {', '.join(known.languages)}.",
        )
    return code


def transcribe_batch(
    engine: Engine, jobs: Sequence[ChunkJob], on_out_of_memory: Callable[[int], None] | None = None
) -> list[Outcome]:
    """Decode jobs of one bucket. A job that cannot be decoded gets an error, its neighbours not.

    Where the engine fails on a batch, the batch is halved until the culprit stands alone.

    Args:
        engine: what decodes.
        jobs: of one bucket.
        on_out_of_memory: told the size of each batch that did not fit the device.
    """
    try:
        return list(engine.transcribe(jobs))
    except Exception as error:  # noqa: BLE001 - whatever the engine throws becomes a value
        if is_out_of_memory(error) and on_out_of_memory:
            on_out_of_memory(len(jobs))
        if len(jobs) == 1:
            return [_as_value(error)]
        half = len(jobs) // 2
        return [
            *transcribe_batch(engine, jobs[:half], on_out_of_memory),
            *transcribe_batch(engine, jobs[half:], on_out_of_memory),
        ]


def with_fill(outcome: Outcome, batch_fill: float) -> Outcome:
    """Return an outcome that says how full its batch was, where it is the chunk's last one."""
    if isinstance(outcome, ChunkTranscript):
        return replace(outcome, batch_fill=min(1.0, batch_fill))
    return outcome


def _as_value(error: Exception) -> Exception:
    """Return the error that a job gets in the place of what the engine threw at it alone."""
    if is_out_of_memory(error):
        return OutOfDeviceMemoryError(str(error))
    if is_device_failure(error):
        return ReplicaLostError("The device failed.")
    return error


def is_device_failure(error: Exception) -> bool:
    """Tell whether the device is out of order: CTranslate2 says so in a RuntimeError's text.

    After most CUDA errors every later call of the process fails too.
    """
    text = str(error)
    return isinstance(error, RuntimeError) and any(
        f"{library} failed with" in text for library in ("CUDA", "cuBLAS", "cuDNN")
    )


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether the device ran out of memory: CTranslate2 says so in a RuntimeError's text."""
    return isinstance(error, RuntimeError) and "out of memory" in str(error)


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


def finish(
    chunks: Sequence[tuple[Chunk, ChunkTranscript]],
    request: TranscriptionRequest,
    *,
    duration_s: float,
    model: str,
) -> Transcript:
    """Join a request's chunks, given in the order of the audio, into its transcript."""
    pieces = [(chunk.spans, made) for chunk, made in chunks]
    return assemble.assemble(pieces, task=request.task, duration_s=duration_s, model=model)


def join_texts(chunks: Sequence[ChunkTranscript]) -> str:
    """Return the text of a request's chunks so far."""
    return assemble.join_texts(chunks)


def _find_spans(
    piece: DecodedSlice, options: PrepareOptions, detector: SpeechDetector
) -> list[Span]:
    """Return the spans of a slice that are to be transcribed, in the caller's time."""
    if options.clips:
        return chunking.clip_spans(options.clips, start_s=piece.start_s, end_s=piece.end_s)
    samples = audio.to_float32(piece.samples)
    if options.vad:
        found = detector.find_speech(samples, options.vad, max_span_s=options.max_chunk_s)
    else:
        found = cut_at_quiet(samples, max_span_s=options.max_chunk_s)
    return [_shift(span, piece.start_s) for span in found]


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
