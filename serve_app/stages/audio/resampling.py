"""The frames of one rate and layout -> mono int16 samples at 16 kHz. Called by `slices`."""

from __future__ import annotations  # PyAV's Packet is generic in its stubs only

from math import gcd

import numpy as np
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.packet import Packet
from numpy.typing import NDArray

from serve_app.domain import SAMPLE_RATE, DecodeAnchor
from serve_app.stages.audio.container import packet_identity

# Hz. The resampler's filter grows with the rate, so a header that claims 2 GHz asks for gigabytes;
# one that claims 1 Hz turns a kilobyte into hours. 768 kHz is the highest rate in use.
_MIN_RATE, _MAX_RATE = 1_000, 768_000
_MAX_CHANNELS = 64  # libswresample's SWR_CH_MAX
_MAX_SAMPLES_PER_S = 8 * _MAX_RATE  # of all channels: a second lies in memory a few times over

# The resampler's filter spans 32 input samples (at rates below ours) or 32 output samples: at
# _MIN_RATE that is 512 of ours. Output this far from its start no longer depends on the start.
_FILTER_SAMPLES = 512


def format_of(frame: AudioFrame) -> tuple[int, str, str]:
    """Return the rate, sample format and layout: frames alike in these form one run.

    Raises:
        ValueError: the frame's rate or number of channels is not one that is resampled.
    """
    rate, n_channels = frame.sample_rate, frame.layout.nb_channels
    if (
        not _MIN_RATE <= rate <= _MAX_RATE
        or not 1 <= n_channels <= _MAX_CHANNELS
        or rate * n_channels > _MAX_SAMPLES_PER_S
    ):
        raise ValueError(f"{n_channels} channels at {rate} Hz")
    return rate, frame.format.name, frame.layout.name


def pick_channel(frame: AudioFrame, channel: int) -> AudioFrame:
    """Return one channel of a frame; silence where the frame has fewer, as a later run may."""
    n_channels = frame.layout.nb_channels
    samples = frame.to_ndarray()  # planar: (n_channels, n); packed: (1, n * n_channels)
    if not frame.format.is_planar:
        samples = samples.reshape(-1, n_channels).T
    one = samples[channel] if channel < n_channels else np.zeros_like(samples[0])
    picked = AudioFrame.from_ndarray(np.ascontiguousarray(one[None]), frame.format.name, "mono")
    picked.sample_rate = frame.sample_rate
    return picked


class Run:
    """Resample the frames of one format, from a known position.

    The resampler's phase repeats every `rate / gcd` input samples. Starting it only at multiples
    of that, counted from the run's start, makes its output the same wherever it starts.
    """

    def __init__(
        self, frame: AudioFrame, run_start: int, n_decoded: int, *, channel: int | None = None
    ) -> None:
        """Start at `frame`, which is not yet pushed.

        Args:
            frame: the first frame from here on.
            run_start: of the run in the caller's audio, in samples at SAMPLE_RATE.
            n_decoded: samples of the run before `frame`, at its own rate.
            channel: the one to keep; None: all of them, mixed.
        """
        self._channel = channel
        self.format = format_of(frame)
        self._rate = frame.sample_rate
        self._start = run_start
        self._n_decoded = n_decoded
        self._n_to_drop = self._aligned(n_decoded) - n_decoded
        self.sample = self._in_our_samples(self._aligned(n_decoded))  # of the next output
        self._fifo = AudioFifo()
        self._resampler = AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)

    @property
    def decoded_sample(self) -> int:
        """Return the position of the next frame to be pushed, in samples at SAMPLE_RATE."""
        return self._in_our_samples(self._n_decoded)

    def anchor(self, index: int, packet: Packet[AudioStream], *, may_seek: bool) -> DecodeAnchor:
        """Return an anchor at `packet`, whose first frame is the next to be pushed."""
        return DecodeAnchor(
            packet=index,
            run_start=self._start,
            n_decoded=self._n_decoded,
            safe_sample=self._in_our_samples(self._aligned(self._n_decoded)) + _FILTER_SAMPLES,
            identity=packet_identity(packet) if may_seek else None,
        )

    def push(self, frame: AudioFrame) -> NDArray[np.int16]:
        """Take a frame; return the samples that are ready, about a second at a time."""
        frame.pts = None  # the fifo would demand that timestamps have no gaps
        self._fifo.write(frame)
        self._n_decoded += frame.samples
        if self._fifo.samples < self._rate:
            return np.empty(0, np.int16)
        return self._resample(end=False)

    def flush(self) -> NDArray[np.int16]:
        """Return the samples that remain; nothing can be pushed after."""
        return self._resample(end=True)

    def _aligned(self, n_samples: int) -> int:
        """Return the next multiple of the phase's period."""
        period = self._rate // gcd(self._rate, SAMPLE_RATE)
        return -(-n_samples // period) * period

    def _in_our_samples(self, n_samples: int) -> int:
        return self._start + n_samples * SAMPLE_RATE // self._rate

    def _resample(self, *, end: bool) -> NDArray[np.int16]:
        if self._n_to_drop:
            self._fifo.read(self._n_to_drop, partial=True)
            self._n_to_drop = 0
        frame = self._fifo.read()
        if frame is not None and self._channel is not None:
            frame = pick_channel(frame, self._channel)
        resampled = self._resampler.resample(frame) if frame is not None else []
        if end:
            resampled += self._resampler.resample(None)
        parts = [r.to_ndarray()[0] for r in resampled if r is not None]
        ready = np.concatenate(parts) if parts else np.empty(0, np.int16)
        self.sample += len(ready)
        return ready
