"""The caller's audio on its way to the model: where to decode, what was decoded, what is speech."""

import math
from dataclasses import dataclass
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from serve_app.domain.limits import SAMPLE_RATE


@dataclass(frozen=True, kw_only=True, eq=False)
class Pcm:
    """Samples that a Python caller has in memory, at their own rate."""

    samples: NDArray[np.int16] | NDArray[np.floating]  # (n,) or (n, channels); floats in [-1, 1]
    rate: int  # Hz


# A file's bytes; where a file lies, as the machine that reads it sees it; samples.
Audio = bytes | str | PathLike[str] | Pcm


@dataclass(frozen=True, kw_only=True)
class DecodeAnchor:
    """A packet of the audio track from which decoding can begin again.

    A run is a part of the track with one sample rate and channel layout; nearly every file is one
    run, a chained ogg is several. The defaults are the first packet.
    """

    packet: int = 0  # index among the audio track's packets, in file order
    run_start: int = 0  # of the run this packet is in, in samples at SAMPLE_RATE
    n_decoded: int = 0  # samples the run gave before this packet, at the run's own rate
    safe_sample: int = 0  # from here on, decoding from this packet gives the same samples
    identity: tuple[int, int, int] | None = None  # pts, byte offset, size; None: do not seek to it


@dataclass(frozen=True, kw_only=True)
class DecodeCursor:
    """Where to go on decoding. The default is the start of the audio.

    Everything before `start_sample` that must be decoded on the way is thrown away.
    """

    start_sample: int = 0  # in the caller's audio, at SAMPLE_RATE
    warmup: DecodeAnchor = DecodeAnchor()  # decode from here, to bring the codec into its state
    anchor: DecodeAnchor = DecodeAnchor()  # count and resample from here
    channel: int | None = None  # this one alone, from 0; None: all of them, mixed


@dataclass(frozen=True, kw_only=True)
class DecodeLimits:
    """What a file may cost to decode. The default is no limit."""

    max_audio_s: float = math.inf  # length of the whole file's audio
    timeout_s: float = math.inf  # time spent on one slice


NO_LIMITS = DecodeLimits()


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedSlice:
    """A stretch of the caller's audio, decoded, and what is needed to decode what follows it."""

    samples: NDArray[np.int16]  # (n,), mono at SAMPLE_RATE
    start_sample: int  # of samples[0] in the caller's audio, at SAMPLE_RATE
    is_last: bool  # nothing follows
    anchors: tuple[DecodeAnchor, ...]  # in file order; the first was the cursor's warmup
    n_channels: int = 1  # of the file where the slice begins
    channel: int | None = None  # which of them the samples are; None: all of them, mixed

    @property
    def start_s(self) -> float:
        """Return the time of the first sample in the caller's audio."""
        return self.start_sample / SAMPLE_RATE

    @property
    def end_s(self) -> float:
        """Return the time in the caller's audio at which the samples end."""
        return (self.start_sample + len(self.samples)) / SAMPLE_RATE

    def cursor_at(self, time_s: float) -> DecodeCursor:
        """Return where to go on so that the next slice begins at `time_s`.

        Args:
            time_s: a time in the caller's audio, within this slice or at its end, rounded to the
                nearest sample.

        Raises:
            ValueError: `time_s` is outside this slice.
        """
        sample = round(time_s * SAMPLE_RATE)
        if not self.start_sample <= sample <= self.start_sample + len(self.samples):
            raise ValueError(f"{time_s} s is not within {self.start_s}..{self.end_s} s")
        usable = [a for a in self.anchors if a.safe_sample <= sample]
        # The anchor before the last usable one is at least a second earlier: the warm-up.
        warmup, anchor = usable[-2:] if len(usable) > 1 else (usable[0], usable[0])
        return DecodeCursor(start_sample=sample, warmup=warmup, anchor=anchor, channel=self.channel)


@dataclass(frozen=True, kw_only=True)
class Span:
    """A stretch of speech in the caller's audio, as the voice activity detector found it."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """Return the span's length in seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True, kw_only=True, eq=False)
class Chunk:
    """One model input: the samples of one or more spans, laid end to end."""

    pcm: NDArray[np.int16]  # (n,), mono at SAMPLE_RATE, n <= WINDOW_S * SAMPLE_RATE
    spans: tuple[Span, ...]  # where those samples lie in the caller's audio, in order

    @property
    def duration_s(self) -> float:
        """Return the chunk's length in seconds."""
        return len(self.pcm) / SAMPLE_RATE
