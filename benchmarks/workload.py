"""What is transcribed: speech of any length, as samples and as files in several codecs.

The speech is the project's own synthetic clips (tests/data), laid end to end. A long file is built
by repeating the packets of a short one, so that ten hours take seconds; built files are cached.
"""

import io
from pathlib import Path

import av

from serve_app.domain import SAMPLE_RATE
from tests.clips import Pcm, encode, speech

CACHE = Path.home() / ".cache" / "serve_app" / "benchmark-audio"
PERIOD_S = 600.0  # of the speech that a long file repeats
OPUS_BITS_PER_S = 24_000


def speech_wav(duration_s: float, seed: int = 0) -> bytes:
    """Return continuous speech as a WAV file: its pauses stay under a second."""
    return encode(speech(duration_s, seed))


def speech_opus(duration_s: float) -> bytes:
    """Return speech as Ogg Opus at 24 kbit/s, whatever its length."""
    path = CACHE / f"speech-{duration_s:.0f}s-{OPUS_BITS_PER_S}.opus"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        period = speech(min(duration_s, PERIOD_S))
        unfinished = path.with_suffix(".tmp")
        unfinished.write_bytes(repeated_opus(period, round(max(1.0, duration_s / PERIOD_S))))
        unfinished.rename(path)
    return path.read_bytes()


def repeated_opus(period: Pcm, times: int) -> bytes:
    """Return samples so many times one after the other, as Ogg Opus at 24 kbit/s."""
    return _repeat(_encode_opus(period), times)


def _encode_opus(pcm: Pcm) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="ogg") as out:
        stream = out.add_stream("libopus", rate=SAMPLE_RATE, layout="mono")
        stream.bit_rate = OPUS_BITS_PER_S
        stream.options = {"vbr": "off"}
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    return buffer.getvalue()


def _repeat(file: bytes, times: int) -> bytes:
    """Lay the packets of a file behind each other so many times, without encoding again."""
    buffer = io.BytesIO()
    with av.open(io.BytesIO(file), "r") as source, av.open(buffer, "w", format="ogg") as out:
        read = source.streams.audio[0]
        written = out.add_stream_from_template(read)
        packets = [
            (bytes(p), p.pts, p.duration, p.time_base)
            for p in source.demux(read)
            if p.size and p.pts is not None and p.duration
        ]
        # The last packet is cut short by the encoder, but decodes in full: leave it out.
        length, packets = packets[-1][1] - packets[0][1], packets[:-1]
        for i in range(times):
            for content, pts, duration, time_base in packets:
                packet = av.Packet(content)
                packet.pts = packet.dts = pts + i * length
                packet.duration, packet.time_base = duration, time_base
                packet.stream = written
                out.mux(packet)
    return buffer.getvalue()
