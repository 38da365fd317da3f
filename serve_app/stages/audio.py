"""The bytes of an audio or video file -> mono int16 samples at 16 kHz, one slice at a time.

`pipeline.prepare` calls `decode_audio` once per slice. Each call opens the file anew and keeps
nothing, so any process can decode any slice and a 10-hour file never lies decoded in memory. A
`DecodeCursor` says where a slice begins.

Positions are counts of the samples that the decoder gave, never timestamps: headers and timestamps
lie (raw ADTS has none, a chained ogg restarts them, a cut file promises too much).
"""

from __future__ import annotations  # PyAV's Packet is generic in its stubs only

import errno
import io
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from math import gcd

import av
import numpy as np
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard
from numpy.typing import NDArray

from serve_app.domain import SAMPLE_RATE, DecodeAnchor, DecodeCursor, DecodedSlice
from serve_app.errors import (
    AudioTooShortError,
    EmptyFileError,
    InvalidAudioError,
    NoAudioStreamError,
)

MIN_AUDIO_S = 0.1  # OpenAI's API refuses shorter files

# FFmpeg's demuxers that may read an upload: each takes audio from this file alone. Demuxers left
# out on purpose open other files and addresses (concat, hls, dash, sdp, image2, webm_dash_manifest)
# or render text, pictures or module music.
_DEMUXERS = (
    *("wav", "w64", "aiff", "au", "caf", "voc"),  # mostly PCM
    *("flac", "ape", "wv", "tta"),  # lossless
    *("mp3", "aac", "ac3", "eac3", "amr", "amrnb", "amrwb"),  # bare frames; "aac" is ADTS
    *("ogg", "mov", "matroska", "webm"),  # ogg: opus, vorbis, speex; "mov" is also mp4, m4a, 3gp
    *("avi", "flv", "asf", "mpeg", "mpegts"),  # "asf" is also wma and wmv; "mpeg" is vob too
)

# Hz. The resampler's filter grows with the rate, so a header that claims 2 GHz asks for gigabytes;
# one that claims 1 Hz turns a kilobyte into hours. 768 kHz is the highest rate in use.
_MIN_RATE, _MAX_RATE = 1_000, 768_000
_MAX_CHANNELS = 64  # libswresample's SWR_CH_MAX

# The resampler's filter spans 32 input samples (at rates below ours) or 32 output samples: at
# _MIN_RATE that is 512 of ours. Output this far from its start no longer depends on the start.
_FILTER_SAMPLES = 512

# A second between anchors is also the codec's warm-up. Needed: MP3's bit reservoir 0.7 s at 8 kHz
# (10 frames of 576 samples), Opus 80 ms (RFC 7845 4.6), AAC and Vorbis one or two frames.
_ANCHOR_STEP = SAMPLE_RATE

_MAX_BARREN_PACKETS = 10_000  # in a row without a sample: 200 s of 20 ms packets; then it is over
_MAX_READ_ERRORS = 100  # of the demuxer, in one call
_MAX_SEEK_PACKETS = 5_000  # looked at for the one wanted, before starting from the file's start

_OPEN_OPTIONS = {
    "format_whitelist": ",".join(_DEMUXERS),
    # No protocol has this name: whatever a demuxer wants to open beside the upload is refused.
    # PyAV's `io_open` would not do: the concat demuxer opens its entries past it.
    "protocol_whitelist": "none",
    # FFmpeg looks for DTS and MP3 in 16-bit WAV packets, 2500 by default: 12 ms per open at 48 kHz.
    "max_probe_packets": "4",
}

_MAX_JUMP_S = 0.01  # of a timestamp; Matroska and FLV round them to 1 ms

_READ_BYTES = 1 << 16  # per call from FFmpeg into Python, which takes the GIL


def decode_audio(
    data: bytes | memoryview | NDArray[np.uint8],
    cursor: DecodeCursor | None = None,
    *,
    max_s: float,
) -> DecodedSlice:
    """Decode up to `max_s` seconds of a file's audio, from `cursor` on.

    The track is the one FFmpeg ranks best (`av_find_best_stream`: the default track, then the most
    channels). Packets that do not decode are passed over; a file cut short gives what is there.
    Decoded in slices or whole, the length is the same; so are the samples of lossless formats, and
    those of lossy ones to within the codec's state at the slice's start.

    Args:
        data: the whole file, in any container named in `_DEMUXERS`; it is not copied.
        cursor: from the previous slice's `cursor_at`; None is the start.
        max_s: the longest slice wanted, in seconds.

    Raises:
        EmptyFileError: there are no bytes.
        InvalidAudioError: the bytes are not audio that can be decoded.
        NoAudioStreamError: there is no audio track.
        AudioTooShortError: the whole file is shorter than MIN_AUDIO_S.
        ValueError: `max_s` is less than one sample.
    """
    n_max = round(max_s * SAMPLE_RATE)
    if n_max < 1:
        raise ValueError(f"max_s must be at least one sample, got {max_s}")
    view = memoryview(data.data if isinstance(data, np.ndarray) else data)
    if not view.nbytes:
        raise EmptyFileError()
    with _invalid_audio():
        decoded, n_bad_packets = _decode_slice(view.cast("B"), cursor or DecodeCursor(), n_max)
    if cursor is None and decoded.is_last and decoded.end_s < MIN_AUDIO_S:
        if n_bad_packets and not len(decoded.samples):
            raise InvalidAudioError()
        raise AudioTooShortError()
    return decoded


def to_float32(pcm: NDArray[np.int16]) -> NDArray[np.float32]:
    """Return the samples, shape (n,), scaled to [-1, 1)."""
    return pcm.astype(np.float32) / np.float32(32768.0)


@contextmanager
def _invalid_audio() -> Iterator[None]:
    """Turn whatever PyAV raises for a bad file into InvalidAudioError.

    PyAV raises ValueError, LookupError and RuntimeError where its own checks fail. MemoryError is
    FFmpeg's ENOMEM: nothing here allocates by a header's word but FFmpeg.
    """
    try:
        yield
    except (av.FFmpegError, ValueError, LookupError, RuntimeError, MemoryError) as error:
        raise InvalidAudioError() from error


class _Reader:
    """A seekable file over the upload's memory, which is never copied whole."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._offset = 0

    def read(self, n_bytes: int) -> bytes:
        """Return up to `n_bytes` from here; none at the end."""
        piece = bytes(self._view[self._offset : self._offset + n_bytes])
        self._offset += len(piece)
        return piece

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to `offset` and return the new offset, or FFmpeg's error code."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._offset, io.SEEK_END: len(self._view)}[whence]
        if base + offset < 0:
            return -errno.EINVAL
        self._offset = base + offset
        return self._offset

    def tell(self) -> int:
        """Return the offset."""
        return self._offset


def _open(view: memoryview) -> InputContainer:
    """Open the file; the container is known from its bytes, as a reader has no name.

    Closing it is all the cleaning up needed: 3000 decodes with the garbage collector off leave
    the process's memory as it was (PyAV 18.1), unlike in SYSTRAN/faster-whisper#390.
    """
    return av.open(
        _Reader(view),
        mode="r",
        metadata_errors="ignore",
        options=_OPEN_OPTIONS,
        buffer_size=_READ_BYTES,
    )


def _audio_stream(container: InputContainer) -> AudioStream:
    """Return the track to decode; the others are not even read where the container allows."""
    best = container.streams.best("audio")
    if best is None:
        raise NoAudioStreamError()
    if not isinstance(best, AudioStream) or best.codec_context is None:
        raise InvalidAudioError("The audio track's codec is not supported.")
    for stream in container.streams:
        if stream.index != best.index:
            stream.discard = Discard.all
    return best


# With each packet's index among the track's packets, in file order.
_Packets = Iterator[tuple[int, "Packet[AudioStream]"]]


def _read_packets(container: InputContainer, stream: AudioStream, first: int) -> _Packets:
    """Yield the track's packets, numbered from `first`; go on after an unreadable one."""
    index = first
    for _ in range(_MAX_READ_ERRORS):
        try:
            for packet in container.demux(stream):
                yield index, packet
                index += 1
            return
        except av.FFmpegError:
            continue  # PyAV's generator is spent, FFmpeg is not: the next one reads on


def _skip_packets(container: InputContainer, stream: AudioStream, target: DecodeAnchor) -> _Packets:
    """Yield the packets from `target` on, having read all before it."""
    for index, packet in _read_packets(container, stream, 0):
        if index >= target.packet or _sets_up_decoder(packet):
            yield index, packet


def _seek_packets(
    container: InputContainer, stream: AudioStream, target: DecodeAnchor
) -> _Packets | None:
    """Yield the packets from `target` on, found by a seek; None where the seek misses it.

    Reading a packet costs a quarter of decoding it, so without this the last slice of a long file
    would cost as much as a quarter of the file. A seek only proposes a place: the packet counts as
    found by its timestamp, byte offset and size together.
    """
    if target.identity is None or not stream.time_base:
        return None
    pts, _, _ = target.identity
    second = int(1 / stream.time_base)
    # PCM comes in packets that begin where the seek ended; a parser may lose the first packet.
    for seek_pts in (pts, max(0, pts - second)):
        try:
            container.seek(seek_pts, stream=stream)
        except av.FFmpegError:
            return None
        packets = (packet for _, packet in _read_packets(container, stream, 0))
        for packet in itertools.islice(packets, _MAX_SEEK_PACKETS):
            if _identity(packet) == target.identity:
                return enumerate(itertools.chain([packet], packets), start=target.packet)
            if packet.pts is not None and packet.pts > pts:
                break
    return None


def _identity(packet: Packet[AudioStream]) -> tuple[int, int, int] | None:
    """Return what tells this packet from every other of the file, where the demuxer knows it."""
    if packet.pts is None or packet.pos is None:
        return None
    return packet.pts, packet.pos, packet.size


def _sets_up_decoder(packet: Packet[AudioStream]) -> bool:
    """Tell whether later packets need what this one carries: the headers of a chained ogg."""
    return any(
        side.data_type in ("new_extradata", "param_change") for side in packet.iter_sidedata()
    )


def _decode_slice(view: memoryview, cursor: DecodeCursor, n_max: int) -> tuple[DecodedSlice, int]:
    """Decode one slice; return it and the number of packets that did not decode.

    A seek is tried first. Its packets are believed only in a sound file, and the end of the file
    never: after a seek FFmpeg ends at the first link of a chained ogg, say.
    """
    may_seek = cursor.warmup.identity and cursor.anchor.identity
    for find in (_seek_packets, _skip_packets) if may_seek else (_skip_packets,):
        with _open(view) as container:
            packets = find(container, _audio_stream(container), cursor.warmup)
            if packets is None:
                continue
            builder = _SliceBuilder(cursor, n_max)
            n_bad = _decode_packets(builder, packets)
        if find is _skip_packets or (builder.is_full and builder.is_sound):
            break
    return builder.build(), n_bad


def _decode_packets(builder: _SliceBuilder, packets: _Packets) -> int:
    """Feed the builder until it is full; return the number of packets that did not decode."""
    n_bad = n_barren = 0
    for index, packet in packets:
        n_before = builder.n_decoded
        try:
            builder.add(index, packet, packet.decode())
        except (av.FFmpegError, ValueError):
            n_bad += 1
            builder.is_sound = False
        n_barren = 0 if builder.n_decoded > n_before else n_barren + 1
        if builder.is_full or n_barren > _MAX_BARREN_PACKETS:
            break
    builder.finish()
    return n_bad


class _Run:
    """Resample the frames of one rate and layout, from a known position.

    The resampler's phase repeats every `rate / gcd` input samples. Starting it only at multiples
    of that, counted from the run's start, makes its output the same wherever it starts.
    """

    def __init__(self, frame: AudioFrame, run_start: int, n_decoded: int) -> None:
        self.key = _format_of(frame)
        self.n_decoded = n_decoded
        self._rate = frame.sample_rate
        self._start = run_start
        self._n_to_drop = self._aligned(n_decoded) - n_decoded
        self.sample = self._in_our_samples(self._aligned(n_decoded))  # of the next output
        self._fifo = AudioFifo()
        self._resampler = AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)

    def _aligned(self, n_samples: int) -> int:
        period = self._rate // gcd(self._rate, SAMPLE_RATE)
        return -(-n_samples // period) * period

    def _in_our_samples(self, n_samples: int) -> int:
        return self._start + n_samples * SAMPLE_RATE // self._rate

    @property
    def decoded_sample(self) -> int:
        """Return the position of the next frame to be pushed."""
        return self._in_our_samples(self.n_decoded)

    def anchor(self, index: int, packet: Packet[AudioStream], *, may_seek: bool) -> DecodeAnchor:
        """Return an anchor at `packet`, whose first frame is the next to be pushed."""
        return DecodeAnchor(
            packet=index,
            run_start=self._start,
            n_decoded=self.n_decoded,
            safe_sample=self._in_our_samples(self._aligned(self.n_decoded)) + _FILTER_SAMPLES,
            identity=_identity(packet) if may_seek else None,
        )

    def push(self, frame: AudioFrame) -> NDArray[np.int16]:
        """Take a frame; return the samples that are ready, about a second at a time."""
        frame.pts = None  # the fifo would demand that timestamps have no gaps
        self._fifo.write(frame)
        self.n_decoded += frame.samples
        if self._fifo.samples < self._rate:
            return np.empty(0, np.int16)
        return self._resample(end=False)

    def flush(self) -> NDArray[np.int16]:
        """Return the samples that remain."""
        return self._resample(end=True)

    def _resample(self, *, end: bool) -> NDArray[np.int16]:
        if self._n_to_drop:
            self._fifo.read(self._n_to_drop, partial=True)
            self._n_to_drop = 0
        frame = self._fifo.read()
        resampled = self._resampler.resample(frame) if frame is not None else []
        if end:
            resampled += self._resampler.resample(None)
        parts = [r.to_ndarray()[0] for r in resampled if r is not None]
        ready = np.concatenate(parts) if parts else np.empty(0, np.int16)
        self.sample += len(ready)
        return ready


def _format_of(frame: AudioFrame) -> tuple[int, str, str]:
    return frame.sample_rate, frame.format.name, frame.layout.name


def _check_format(frame: AudioFrame) -> None:
    rate, n_channels = frame.sample_rate, frame.layout.nb_channels
    if not _MIN_RATE <= rate <= _MAX_RATE or not 1 <= n_channels <= _MAX_CHANNELS:
        raise ValueError(f"{n_channels} channels at {rate} Hz")


class _SliceBuilder:
    """Collect the samples of one slice, and the anchors from which others can begin."""

    def __init__(self, cursor: DecodeCursor, n_max: int) -> None:
        self._cursor = cursor
        self._n_max = n_max
        self._run: _Run | None = None
        self._parts: list[NDArray[np.int16]] = []
        self._n_kept = 0
        self._anchors = list(dict.fromkeys([cursor.warmup, cursor.anchor]))
        self._next_anchor_sample: int | None = None
        self._lag_s: float | None = None  # of the samples' count behind the timestamps
        # False after damage, where FFmpeg finds other packets if it seeks, and after a packet that
        # sets up the decoder, which a seek would jump over.
        self.is_sound = cursor.anchor.packet == 0 or cursor.anchor.identity is not None
        self.n_decoded = 0  # samples at the track's own rate, those thrown away included

    @property
    def is_full(self) -> bool:
        """Tell whether there is one sample more than wanted: it shows that more follows."""
        return self._n_kept > self._n_max

    def add(self, index: int, packet: Packet[AudioStream], frames: list[AudioFrame]) -> None:
        """Take the frames that the decoder gave for one packet."""
        if _sets_up_decoder(packet):
            self.is_sound = False
        if index < self._cursor.anchor.packet:
            return
        for i, frame in enumerate(frames):
            if not frame.samples:
                continue
            run = self._run_for(frame)
            if i == 0:
                self._check_timestamp(run, packet)
                self._note_anchor(run, index, packet)
            self._keep(run, run.push(frame))
            self.n_decoded += frame.samples

    def finish(self) -> None:
        """Take what the resampler still holds."""
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
        )

    def _run_for(self, frame: AudioFrame) -> _Run:
        """Return the run this frame belongs to; a change of rate or layout begins a new one."""
        run = self._run
        if run is not None and run.key == _format_of(frame):
            return run
        _check_format(frame)
        start, n_decoded = self._cursor.anchor.run_start, self._cursor.anchor.n_decoded
        if run is not None:
            self._keep(run, run.flush())
            start, n_decoded = run.sample, 0
        self._run = _Run(frame, start, n_decoded)
        return self._run

    def _check_timestamp(self, run: _Run, packet: Packet[AudioStream]) -> None:
        """See whether timestamps advance as the samples do: a jump tells of damage."""
        if not self.is_sound or packet.pts is None or packet.time_base is None:
            return
        here = run.decoded_sample
        lag_s = packet.pts * float(packet.time_base) - here / SAMPLE_RATE
        # In the first second decoders still drop their delay.
        if self._lag_s is None or here < SAMPLE_RATE:
            self._lag_s = lag_s
        self.is_sound = abs(lag_s - self._lag_s) < _MAX_JUMP_S

    def _note_anchor(self, run: _Run, index: int, packet: Packet[AudioStream]) -> None:
        here = run.decoded_sample
        if self._next_anchor_sample is None:  # the cursor's own anchor
            self._next_anchor_sample = here + _ANCHOR_STEP
        elif here >= self._next_anchor_sample and index >= self._anchors[-1].packet + 2:
            self._anchors.append(run.anchor(index, packet, may_seek=self.is_sound))
            self._next_anchor_sample = here + _ANCHOR_STEP

    def _keep(self, run: _Run, ready: NDArray[np.int16]) -> None:
        """Keep those of the samples just resampled that lie in the slice."""
        first = run.sample - len(ready)
        wanted = ready[max(0, self._cursor.start_sample - first) :]
        self._parts.append(wanted)
        self._n_kept += len(wanted)
