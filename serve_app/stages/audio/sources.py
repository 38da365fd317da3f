"""What a Python caller gives -> the bytes of a file, so that all audio takes the same way.

Called by the Ingress for handles' callers and by the local facade; HTTP gives bytes already.
"""

import stat
import struct
from operator import index
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serve_app.domain import Audio, Pcm
from serve_app.errors import FileTooLargeError, InvalidAudioError, UnreadableFileError

_WAV_FORMAT = {"i": 1, "f": 3}  # WAVE_FORMAT_PCM and WAVE_FORMAT_IEEE_FLOAT, by numpy's kind


def read_file(audio: Audio, *, max_bytes: int) -> NDArray[np.uint8]:
    """Return the bytes of a file, shape (n,), without copying what is in memory already.

    Args:
        audio: a file's bytes, its path on this machine, or samples.
        max_bytes: a larger file is not read.

    Raises:
        UnreadableFileError: the path cannot be read.
        FileTooLargeError: there are more bytes than that.
        InvalidAudioError: the samples are not audio.
    """
    if isinstance(audio, Pcm):
        audio = to_wav(audio)
    if isinstance(audio, str | PathLike):
        return _read_path(Path(audio), max_bytes)
    if not isinstance(audio, bytes | bytearray | memoryview):
        raise InvalidAudioError(
            "Give the audio as the bytes of a file, a path, or Pcm(samples=..., rate=...)."
        )
    view = memoryview(audio)
    data = np.frombuffer(view if view.contiguous else view.tobytes(), np.uint8)
    if len(data) > max_bytes:
        raise FileTooLargeError(max_bytes)
    return data


def to_wav(pcm: Pcm) -> bytes:
    """Return samples as a WAV file: their conversion to 16 kHz is then the same as any file's.

    Raises:
        InvalidAudioError: their type, shape, values or rate are not those of audio.
    """
    try:
        samples, rate = np.asarray(pcm.samples), index(pcm.rate)
    except (TypeError, ValueError):
        raise InvalidAudioError("Pcm needs an array of samples and a whole rate.") from None
    if samples.dtype.kind == "f":
        samples = samples.astype("<f4", copy=False)
    elif samples.dtype == np.int16:
        samples = samples.astype("<i2", copy=False)
    else:
        raise InvalidAudioError(f"Samples must be int16 or floats, not {samples.dtype}.")
    if samples.ndim not in (1, 2):
        raise InvalidAudioError(
            f"Samples must have the shape (n,) or (n, channels), not {samples.shape}."
        )
    if samples.dtype.kind == "f" and not np.isfinite(samples).all():
        raise InvalidAudioError("The samples are not all finite numbers.")
    n_channels = 1 if samples.ndim == 1 else samples.shape[1]
    try:
        return _wav_header(samples, n_channels, rate) + samples.tobytes()
    except struct.error:  # a number that its field of the header cannot hold
        raise InvalidAudioError(
            f"{len(samples)} samples of {n_channels} channels at {rate} Hz are not audio."
        ) from None


def _wav_header(samples: NDArray[np.generic], n_channels: int, rate: int) -> bytes:
    width = samples.dtype.itemsize * n_channels
    form = struct.pack(
        "<HHIIHH",
        *(_WAV_FORMAT[samples.dtype.kind], n_channels, rate, rate * width),
        *(width, samples.dtype.itemsize * 8),
    )
    n_bytes = samples.nbytes
    head = struct.pack("<4sI4s4sI", b"RIFF", n_bytes + 36, b"WAVE", b"fmt ", len(form))
    return head + form + struct.pack("<4sI", b"data", n_bytes)


def _read_path(path: Path, max_bytes: int) -> NDArray[np.uint8]:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # a device may have no end
            raise UnreadableFileError(str(path), "Not a regular file")
        if found.st_size > max_bytes:
            raise FileTooLargeError(max_bytes)
        return np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise UnreadableFileError(str(path), error.strerror or str(error)) from None
    except ValueError:  # a NUL in it
        raise UnreadableFileError(str(path), "Not a path") from None
