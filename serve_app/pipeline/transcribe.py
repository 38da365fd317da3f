"""Chunks -> what an engine makes of them: whatever goes wrong becomes a value of one job."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import numpy as np

from serve_app.domain import (
    SAMPLE_RATE,
    Chunk,
    ChunkJob,
    ChunkTranscript,
    DecodeOptions,
)
from serve_app.errors import (
    ModelLoadError,
    OutOfDeviceMemoryError,
    ReplicaLostError,
    TranscriptionError,
)
from serve_app.pipeline.halves import halve, has_more, join_halves
from serve_app.pipeline.prepare import whole_chunk
from serve_app.stages.whisper import Engine, WhisperEngine
from serve_app.stages.whisper.reading import Language

logger = logging.getLogger("ray.serve")

Outcome = ChunkTranscript | ChunkJob | Exception


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
        if is_out_of_memory(error):
            if on_out_of_memory:
                on_out_of_memory(len(jobs))
        elif is_device_failure(error):  # then nothing else will succeed in this process
            return [_as_value(error)] * len(jobs)
        if len(jobs) == 1:
            return [_as_value(error)]
        half = len(jobs) // 2
        return [
            *transcribe_batch(engine, jobs[:half], on_out_of_memory),
            *transcribe_batch(engine, jobs[half:], on_out_of_memory),
        ]


def detect_languages(engine: WhisperEngine, chunk: Chunk) -> list[Language] | Exception:
    """Return the probability of every language, or what a job would get in the place of it."""
    try:
        return engine.detect_languages(chunk)
    except Exception as error:  # noqa: BLE001 - as for a batch
        return _as_value(error)


async def transcribe_chunk(
    submit: Callable[[ChunkJob], Awaitable[Outcome]], job: ChunkJob
) -> ChunkTranscript:
    """Take one chunk through as many attempts as it needs, in halves where it says too much.

    Args:
        submit: puts a job into a batch and returns its outcome (`scheduler.Gate.submit`).
        job: the first attempt.

    Raises:
        TranscriptionError: the chunk could not be decoded.
    """
    step: Outcome = job
    while isinstance(step, ChunkJob):
        step = await submit(step)
    if isinstance(step, Exception):
        raise unwrap(step)
    if not has_more(job, step):
        return step
    options = replace(job.options, language=step.language, tokens_per_s=None)
    halves = []
    for half in halve(job.chunk):
        own = ChunkJob(chunk=half, options=options, request_id=job.request_id)
        halves.append((half, await transcribe_chunk(submit, own)))
    return join_halves(step, halves)


def with_fill(outcome: Outcome, batch_fill: float) -> Outcome:
    """Return an outcome that says how full its batch was, where it is the chunk's last one."""
    if isinstance(outcome, ChunkTranscript):
        return replace(outcome, batch_fill=min(1.0, batch_fill))
    return outcome


def unwrap(error: Exception) -> TranscriptionError:
    """Return the error that a caller may see in the place of whatever went wrong."""
    if isinstance(error, TranscriptionError):
        return error
    unexpected = TranscriptionError()
    unexpected.__cause__ = error
    return unexpected


def _as_value(error: Exception) -> Exception:
    """Return the error that a job gets in the place of what the engine threw at it alone.

    It is logged here, as a caller is told no more than that something went wrong.
    """
    if is_out_of_memory(error):
        return OutOfDeviceMemoryError(str(error))
    if not isinstance(error, TranscriptionError):
        logger.error("the engine failed on a chunk", exc_info=error)
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


def warm_up(engine: Engine, source: str) -> None:
    """Decode a second of silence, so that the first request does not pay for a cold engine.

    Args:
        engine: as it was loaded.
        source: of its model, for the error.

    Raises:
        ModelLoadError: the engine cannot decode.
    """
    chunk = whole_chunk(np.zeros(SAMPLE_RATE, np.int16))
    job = ChunkJob(chunk=chunk, options=DecodeOptions(language="en"), request_id="warm-up")
    [outcome] = transcribe_batch(engine, [job])
    if isinstance(outcome, Exception):
        error = unwrap(outcome)
        reason = (
            f"a first decode failed: {error.__cause__ or error}. Where one of its files is damaged "
            "or another model's, copy or download the model again."
        )
        raise ModelLoadError(source, reason) from error
