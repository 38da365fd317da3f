"""A file with a speaker in each channel: its channels transcribed side by side. Knows no Ray.

No model tells the speakers apart: the first channel's is A, the second one's B, and so on.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from serve_app.domain import DecodeLimits, Transcript, TranscriptDelta
from serve_app.errors import InvalidRequestError
from serve_app.stages import audio, naming, turns

MAX_CHANNELS = 8  # 7.1 sound; each channel costs as much as a file of its own

T = TypeVar("T")


def count_channels(data: bytes | memoryview | NDArray[np.uint8], limits: DecodeLimits) -> int:
    """Return how many channels a file's audio has where it begins.

    Args:
        data: the whole file as uploaded.
        limits: of decoding.

    Raises:
        InvalidAudioError: the bytes are not audio that can be decoded (or one of its kinds).
    """
    return audio.decode_audio(data, max_s=audio.MIN_AUDIO_S, limits=limits).n_channels


def select_channels(n_channels: int) -> list[int | None]:
    """Return which channels to decode, one after the other; None is a mono file's only one.

    Raises:
        InvalidRequestError: the file has more than MAX_CHANNELS.
    """
    if n_channels > MAX_CHANNELS:
        raise InvalidRequestError(
            "multichannel",
            f"multichannel takes up to {MAX_CHANNELS} channels; this file has {n_channels}.",
        )
    return list(range(n_channels)) if n_channels > 1 else [None]


async def collect_all(runs: Sequence[AsyncGenerator[T]]) -> list[list[T]]:
    """Return what each run yields. Where one fails, the others end."""

    async def collect(run: AsyncGenerator[T]) -> list[T]:
        try:
            return [item async for item in run]
        finally:
            await run.aclose()

    tasks = [asyncio.ensure_future(collect(run)) for run in runs]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def join_channels(transcripts: Sequence[Transcript]) -> Iterator[TranscriptDelta | Transcript]:
    """Yield what each segment adds to the joined transcript, in order, and last all of it.

    Args:
        transcripts: one per channel, in the order of the channels; at least one.
    """
    joined = turns.join_channels(
        [(naming.label(i), transcript) for i, transcript in enumerate(transcripts)]
    )
    text = ""
    for segment in joined.segments:
        if added := segment.text.strip():
            added = f" {added}" if text else added
            text += added
            yield TranscriptDelta(text=added)
    yield joined
