"""The bytes of a file and a cursor -> one slice of its audio. Called by `pipeline.prepare`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from serve_app.domain import (
    NO_LIMITS,
    SAMPLE_RATE,
    DecodeAnchor,
    DecodeCursor,
    DecodedSlice,
    DecodeLimits,
)
from serve_app.errors import (
    AudioTooLongError,
    AudioTooShortError,
    EmptyFileError,
    InvalidAudioError,
)
from serve_app.stages.audio.container import (
    Packets,
    audio_stream,
    open_container,
    seek_packets,
    skip_packets,
)
from serve_app.stages.audio.limits import Deadline
from serve_app.stages.audio.slices import SliceBuilder

MIN_AUDIO_S = 0.1  # OpenAI's API refuses shorter files

Find = Callable[[InputContainer, AudioStream, DecodeAnchor, Deadline], Packets]


def decode_audio(
    data: bytes | memoryview | NDArray[np.uint8],
    cursor: DecodeCursor | None = None,
    *,
    max_s: float,
    limits: DecodeLimits = NO_LIMITS,
) -> DecodedSlice:
    """Decode up to `max_s` seconds of a file's audio, from `cursor` on.

    Of several audio tracks one is decoded, the same in every slice: `container.audio_stream` tells
    which. Packets that do not decode are passed over; a file cut short gives what is there.
    Decoded in slices or whole, the length is the same; so are the samples of lossless formats, and
    those of lossy ones to within the codec's state at the slice's start. Damage can shift either.

    Args:
        data: the whole file, in any container named in `container.DEMUXERS`; it is not copied.
        cursor: from the previous slice's `cursor_at`; None is the start.
        max_s: the longest slice wanted, in seconds.
        limits: what the file may cost.

    Raises:
        EmptyFileError: there are no bytes.
        InvalidAudioError: the bytes are not audio that can be decoded.
        NoAudioStreamError: there is no audio track.
        AudioTooShortError: the whole file is shorter than MIN_AUDIO_S.
        AudioTooLongError: the file up to this slice's end is longer than `limits` allow.
        DecodeTimeoutError: the slice took longer than `limits` allow.
        ValueError: `max_s` is less than one sample.
    """
    n_max = round(max_s * SAMPLE_RATE)
    if n_max < 1:
        raise ValueError(f"max_s must be at least one sample, got {max_s}")
    view = memoryview(data.data if isinstance(data, np.ndarray) else data)
    if not view.nbytes:
        raise EmptyFileError()
    deadline = Deadline(limits.timeout_s)
    with _invalid_audio(deadline):
        builder = _decode_slice(view.cast("B"), cursor or DecodeCursor(), n_max, deadline)
    decoded = builder.build()
    if decoded.end_s > limits.max_audio_s:
        raise AudioTooLongError(limits.max_audio_s)
    if decoded.is_last and decoded.end_s < MIN_AUDIO_S:
        if builder.n_bad_packets and not len(decoded.samples):
            raise InvalidAudioError()
        raise AudioTooShortError()
    return decoded


def header_duration_s(
    data: bytes | memoryview | NDArray[np.uint8], limits: DecodeLimits = NO_LIMITS
) -> float | None:
    """Return how long a file says that it is, in seconds; None where it does not.

    Headers lie: this is for progress bars. What is wrong with the file, decoding will tell.
    """
    view = memoryview(data.data if isinstance(data, np.ndarray) else data)
    try:
        with open_container(view.cast("B"), Deadline(limits.timeout_s)) as container:
            duration = container.duration
    except (av.FFmpegError, ValueError, LookupError, RuntimeError, MemoryError):
        return None
    return duration / av.time_base if duration and duration > 0 else None


def to_float32(pcm: NDArray[np.int16]) -> NDArray[np.float32]:
    """Return the samples, shape (n,), scaled to [-1, 1)."""
    return pcm.astype(np.float32) / np.float32(32768.0)


@contextmanager
def _invalid_audio(deadline: Deadline) -> Iterator[None]:
    """Turn whatever PyAV raises for a bad file into InvalidAudioError, in time.

    Beside FFmpeg's errors PyAV 18.1 raises ValueError, LookupError and RuntimeError where its own
    checks fail: a codec without a decoder, a track that appears late, a layout without a name.
    MemoryError is FFmpeg's ENOMEM: nothing here allocates by a header's word but FFmpeg.
    """
    try:
        yield
    except (av.FFmpegError, ValueError, LookupError, RuntimeError, MemoryError) as error:
        deadline.check()
        raise InvalidAudioError() from error


def _decode_slice(
    view: memoryview, cursor: DecodeCursor, n_max: int, deadline: Deadline
) -> SliceBuilder:
    """Decode one slice, by a seek where that can be trusted, else by reading all before it.

    After a seek the packets are believed only in a sound file, and the end of the file never:
    there FFmpeg ends at the first link of a chained ogg, say.
    """
    if cursor.warmup.identity and cursor.anchor.identity:
        builder = fill_slice(view, cursor, n_max, seek_packets, deadline)
        if builder.is_full and builder.is_sound:
            return builder
    return fill_slice(view, cursor, n_max, skip_packets, deadline)


def fill_slice(
    view: memoryview, cursor: DecodeCursor, n_max: int, find: Find, deadline: Deadline
) -> SliceBuilder:
    """Decode the packets that `find` yields from the cursor's warm-up on, into a new slice."""
    builder = SliceBuilder(cursor, n_max)
    with open_container(view, deadline) as container:
        deadline.check()  # else what was not read looks as if it were not there
        builder.fill(find(container, audio_stream(container), cursor.warmup, deadline))
    return builder
