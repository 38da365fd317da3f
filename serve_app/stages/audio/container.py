"""The bytes of an upload -> the packets of its audio track, from the start or from an anchor.

The upload is hostile until shown otherwise: only `DEMUXERS` read it, and none of them can open
anything else. Called by `decode`.
"""

from __future__ import annotations  # PyAV's Packet is generic in its stubs only

import contextlib
import errno
import io
import itertools
from collections.abc import Iterator

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard

from serve_app.domain import DecodeAnchor
from serve_app.errors import InvalidAudioError, NoAudioStreamError
from serve_app.stages.audio.limits import Deadline

# FFmpeg's demuxers that may read an upload: each takes audio from this file alone. Demuxers left
# out on purpose open other files and addresses (concat, hls, dash, sdp, image2, webm_dash_manifest)
# or render text, pictures or module music.
DEMUXERS = (
    *("wav", "w64", "aiff", "au", "caf", "voc"),  # mostly PCM
    *("flac", "ape", "wv", "tta"),  # lossless
    *("mp3", "aac", "ac3", "eac3", "amr", "amrnb", "amrwb"),  # bare frames; "aac" is ADTS
    *("ogg", "mov", "matroska", "webm"),  # ogg: opus, vorbis, speex; "mov" is also mp4, m4a, 3gp
    *("avi", "flv", "asf", "mpeg", "mpegts"),  # "asf" is also wma and wmv; "mpeg" is vob too
)


def _audio_decoders() -> Iterator[str]:
    for name in av.codecs_available:
        with contextlib.suppress(ValueError):  # an encoder without a decoder
            if (codec := av.Codec(name, "r")).type == "audio":
                yield codec.name


OPEN_OPTIONS = {
    "format_whitelist": ",".join(DEMUXERS),
    # No protocol has this name: whatever a demuxer wants to open beside the upload is refused.
    # PyAV's `io_open` would not do: the concat demuxer opens its entries past it.
    "protocol_whitelist": "none",
    # Decoders of pictures are kept from hostile bytes; to find out about a track, FFmpeg would
    # decode some of it. This also opens an H.264 video of 3 MB in 1.1 ms instead of 8.7.
    "codec_whitelist": ",".join(sorted(set(_audio_decoders()))),
    # FFmpeg looks for DTS and MP3 in 16-bit WAV packets, 2500 by default: 12 ms per open at 48 kHz.
    "max_probe_packets": "4",
}

_READ_BYTES = 1 << 16  # per call from FFmpeg into Python, which takes the GIL
_MAX_READ_ERRORS = 100  # of the demuxer, in one call: some fail for ever without moving on
_MAX_SEEK_PACKETS = 5_000  # looked at for the one wanted, before starting from the file's start

# With each packet's index among the track's packets, in file order.
Packets = Iterator[tuple[int, "Packet[AudioStream]"]]


class _Reader:
    """A seekable file over the upload's memory, which is never copied whole."""

    def __init__(self, view: memoryview, deadline: Deadline) -> None:
        self._view = view
        self._deadline = deadline
        self._offset = 0

    def read(self, n_bytes: int) -> bytes:
        """Return up to `n_bytes` from here; none at the end, which comes when the time is up."""
        if self._deadline.is_over:
            return b""
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
        """Return the offset. PyAV seeks only in files that have this."""
        return self._offset


def open_container(view: memoryview, deadline: Deadline) -> InputContainer:
    """Open the file; the container is known from its bytes, as a reader has no name.

    Closing it is all the cleaning up needed: 3000 decodes with the garbage collector off leave
    the process's memory as it was (PyAV 18.1), unlike in SYSTRAN/faster-whisper#390.

    Raises:
        av.FFmpegError: no demuxer of `DEMUXERS` knows the file, or the time is up.
    """
    return av.open(
        _Reader(view, deadline),
        mode="r",
        metadata_errors="ignore",
        options=OPEN_OPTIONS,
        buffer_size=_READ_BYTES,
    )


def audio_stream(container: InputContainer) -> AudioStream:
    """Return the track to decode; the others are not even read where the container allows.

    Of several, FFmpeg's `av_find_best_stream` chooses: the one marked as default, then the highest
    bit rate where the container tells it, then the first. Tracks for the hard of hearing or of
    sight come after those that are not.

    Raises:
        NoAudioStreamError: there is no audio track.
        InvalidAudioError: FFmpeg has no decoder for it.
    """
    best = container.streams.best("audio")
    if best is None:
        raise NoAudioStreamError()
    if not isinstance(best, AudioStream) or best.codec_context is None:
        raise InvalidAudioError("The audio track's codec is not supported.")
    for stream in container.streams:
        if stream.index != best.index:
            stream.discard = Discard.all
    return best


def skip_packets(
    container: InputContainer, stream: AudioStream, target: DecodeAnchor, deadline: Deadline
) -> Packets:
    """Yield the packets from `target` on, having read all before it.

    Earlier packets that set up the decoder are yielded too.
    """
    for index, packet in _read_packets(container, stream, deadline):
        if index >= target.packet or sets_up_decoder(packet):
            yield index, packet


def seek_packets(
    container: InputContainer, stream: AudioStream, target: DecodeAnchor, deadline: Deadline
) -> Packets:
    """Yield the packets from `target` on, found by a seek; none where the seek misses it.

    Reading a packet costs a quarter of decoding it, so without this the last slice of a long file
    would cost as much as a quarter of the file. A seek only proposes a place: the packet counts as
    found by its timestamp, byte offset and size together.
    """
    if target.identity is None or not stream.time_base:
        return
    pts, _, _ = target.identity
    second = int(1 / stream.time_base)
    # PCM comes in packets that begin where the seek ended; a parser may lose the first packet.
    for seek_pts in (pts, max(0, pts - second)):
        try:
            container.seek(seek_pts, stream=stream)
        except av.FFmpegError:
            return
        packets = (packet for _, packet in _read_packets(container, stream, deadline))
        for packet in itertools.islice(packets, _MAX_SEEK_PACKETS):
            if packet_identity(packet) == target.identity:
                yield from enumerate(itertools.chain([packet], packets), start=target.packet)
                return
            if packet.pts is not None and packet.pts > pts:
                break


def packet_identity(packet: Packet[AudioStream]) -> tuple[int, int, int] | None:
    """Return what tells this packet from every other of the file, where the demuxer knows it."""
    if packet.pts is None or packet.pos is None:
        return None
    return packet.pts, packet.pos, packet.size


def sets_up_decoder(packet: Packet[AudioStream]) -> bool:
    """Tell whether later packets need what this one carries: the headers of a chained ogg."""
    return packet.has_sidedata("new_extradata") or packet.has_sidedata("param_change")


def _read_packets(container: InputContainer, stream: AudioStream, deadline: Deadline) -> Packets:
    """Yield the track's packets from where the container is; go on after an unreadable one."""
    index = 0
    for _ in range(_MAX_READ_ERRORS):
        try:
            for packet in container.demux(stream):
                deadline.check()
                yield index, packet
                index += 1
            deadline.check()  # else it is not the file that ended
            return
        except av.FFmpegError:
            continue  # PyAV's generator is spent, FFmpeg is not: the next one reads on
