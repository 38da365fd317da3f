"""The packets of a track -> the samples of one slice, and the anchors for the next ones.

Positions are counts of the samples that the decoder gave, never timestamps: headers and timestamps
lie (raw ADTS has none, a chained ogg restarts them, a cut file promises too much). Called by
`decode`.
"""

from __future__ import annotations  # PyAV's Packet is generic in its stubs only

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet
from numpy.typing import NDArray

from serve_app.domain import SAMPLE_RATE, DecodeCursor, DecodedSlice
from serve_app.stages.audio.container import Packets, sets_up_decoder
from serve_app.stages.audio.resampling import Run, format_of

# A second between anchors is also the codec's warm-up. Needed: MP3's bit reservoir 0.7 s at 8 kHz
# (10 frames of 576 samples), Opus 80 ms (RFC 7845 4.6), AAC and Vorbis one or two frames.
_ANCHOR_STEP = SAMPLE_RATE

_MAX_JUMP_S = 0.01  # of a timestamp; Matroska and FLV round them to 1 ms

_MAX_BARREN_PACKETS = 10_000  # in a row without a sample: 200 s of 20 ms packets; then it is over


class SliceBuilder:
    """Decode packets into one slice, and note the anchors from which others can begin."""

    def __init__(self, cursor: DecodeCursor, n_max: int) -> None:
        self._cursor = cursor
        self._n_max = n_max
        self._run: Run | None = None
        self._parts: list[NDArray[np.int16]] = []
        self._n_kept = 0
        self._anchors = list(dict.fromkeys([cursor.warmup, cursor.anchor]))
        self._next_anchor_sample: int | None = None
        self._n_channels = 0  # of the first frame
        self._lag_s: float | None = None  # of the samples' count behind the timestamps
        # False after damage, where FFmpeg finds other packets if it seeks, and after a packet that
        # sets up the decoder, which a seek would jump over.
        self.is_sound = cursor.anchor.packet == 0 or cursor.anchor.identity is not None
        self.n_bad_packets = 0  # that did not decode

    @property
    def is_full(self) -> bool:
        """Tell whether there is one sample more than wanted: it shows that more follows."""
        return self._n_kept > self._n_max

    def fill(self, packets: Packets) -> None:
        """Decode until the slice is full or the packets end. To be called once."""
        n_barren = 0
        for index, packet in packets:
            n_barren = 0 if self._add(index, packet) else n_barren + 1
            if self.is_full or n_barren > _MAX_BARREN_PACKETS:
                break
        if self._run is not None and not self.is_full:
            self._keep(self._run, self._run.flush())

    def build(self) -> DecodedSlice:
        """Return the slice."""
        kept = np.concatenate(self._parts) if self._parts else np.empty(0, np.int16)
        return DecodedSlice(
            samples=kept[: self._n_max],
            start_sample=self._cursor.start_sample,
            is_last=not self.is_full,
            anchors=tuple(self._anchors),
            n_channels=self._n_channels,
            channel=self._cursor.channel,
        )

    def _add(self, index: int, packet: Packet[AudioStream]) -> bool:
        """Decode a packet and take its frames; return whether it held any that can be used."""
        if sets_up_decoder(packet):
            self.is_sound = False
        try:
            frames = [frame for frame in packet.decode() if frame.samples]
            if index >= self._cursor.anchor.packet:  # what comes before only warms up the codec
                self._take(index, packet, frames)
        except (av.FFmpegError, ValueError):
            self.n_bad_packets += 1
            self.is_sound = False
            return False
        return bool(frames)

    def _take(self, index: int, packet: Packet[AudioStream], frames: list[AudioFrame]) -> None:
        for i, frame in enumerate(frames):
            run = self._run_for(frame)
            if i == 0:
                self._check_timestamp(run, packet)
                self._note_anchor(run, index, packet)
            self._keep(run, run.push(frame))

    def _run_for(self, frame: AudioFrame) -> Run:
        """Return the run this frame belongs to; a change of rate or layout begins a new one."""
        run, frame_format = self._run, format_of(frame)
        if run is not None and run.format == frame_format:
            return run
        start, n_decoded = self._cursor.anchor.run_start, self._cursor.anchor.n_decoded
        if run is not None:
            self._keep(run, run.flush())
            start, n_decoded = run.sample, 0
        self._n_channels = self._n_channels or frame.layout.nb_channels
        self._run = Run(frame, start, n_decoded, channel=self._cursor.channel)
        return self._run

    def _check_timestamp(self, run: Run, packet: Packet[AudioStream]) -> None:
        """See whether timestamps advance as the samples do: a jump tells of damage."""
        if not self.is_sound or packet.pts is None or packet.time_base is None:
            return
        here = run.decoded_sample
        lag_s = packet.pts * float(packet.time_base) - here / SAMPLE_RATE
        # In the first second decoders still drop their delay.
        if self._lag_s is None or here < SAMPLE_RATE:
            self._lag_s = lag_s
        self.is_sound = abs(lag_s - self._lag_s) < _MAX_JUMP_S

    def _note_anchor(self, run: Run, index: int, packet: Packet[AudioStream]) -> None:
        here = run.decoded_sample
        if self._next_anchor_sample is None:  # the cursor's own anchor
            self._next_anchor_sample = here + _ANCHOR_STEP
        elif here >= self._next_anchor_sample:
            self._anchors.append(run.anchor(index, packet, may_seek=self.is_sound))
            self._next_anchor_sample = here + _ANCHOR_STEP

    def _keep(self, run: Run, ready: NDArray[np.int16]) -> None:
        """Keep those of the samples just resampled that lie in the slice."""
        first = run.sample - len(ready)
        wanted = ready[max(0, self._cursor.start_sample - first) :]
        self._parts.append(wanted)
        self._n_kept += len(wanted)
