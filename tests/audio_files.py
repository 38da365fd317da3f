"""Audio and video files, encoded here from a fixed signal: no binary file needs explaining."""

import io
import struct
from functools import cache

import av
import numpy as np

from serve_app.domain import SAMPLE_RATE, DecodeLimits
from serve_app.stages.audio import decode_audio

# name -> container, codec, rate in Hz, channels
LOSSLESS = {
    "wav_8k": ("wav", "pcm_s16le", 8000, 1),
    "wav_16k": ("wav", "pcm_s16le", 16000, 1),
    "wav_44k_stereo": ("wav", "pcm_s16le", 44100, 2),
    "wav_48k_stereo": ("wav", "pcm_s16le", 48000, 2),
    "wav_prime_rate": ("wav", "pcm_s16le", 44101, 1),
    "wav_float": ("wav", "pcm_f32le", 22050, 1),
    "w64": ("w64", "pcm_s16le", 44100, 1),
    "aiff": ("aiff", "pcm_s16be", 44100, 1),
    "au": ("au", "pcm_s16be", 16000, 1),
    "caf": ("caf", "pcm_s16be", 16000, 1),
    "voc": ("voc", "pcm_u8", 8000, 1),
    "flac_16k": ("flac", "flac", 16000, 1),
    "flac_44k_stereo": ("flac", "flac", 44100, 2),
    "flac_in_ogg": ("ogg", "flac", 48000, 1),
    "wavpack": ("wv", "wavpack", 44100, 1),
    "tta": ("tta", "tta", 44100, 1),
    "alac": ("ipod", "alac", 44100, 2),
}
LOSSY = {
    "mp3_8k": ("mp3", "libmp3lame", 8000, 1),
    "mp3_44k_stereo": ("mp3", "libmp3lame", 44100, 2),
    "mp2": ("mp2", "mp2", 48000, 2),
    "opus": ("ogg", "libopus", 48000, 1),
    "vorbis": ("ogg", "vorbis", 44100, 2),
    "m4a": ("ipod", "aac", 44100, 2),
    "adts": ("adts", "aac", 44100, 2),
    "ac3": ("ac3", "ac3", 48000, 2),
    "eac3": ("eac3", "eac3", 48000, 2),
    "mkv_opus": ("matroska", "libopus", 48000, 1),
    "webm": ("webm", "libopus", 48000, 2),
    "avi_mp3": ("avi", "libmp3lame", 44100, 2),
    "flv": ("flv", "aac", 44100, 2),
    "wma": ("asf", "wmav2", 44100, 2),
    "mpeg_ps": ("mpeg", "mp2", 44100, 2),
    "mpeg_ts": ("mpegts", "aac", 44100, 2),
    "amr": ("amr", "libopencore_amrnb", 8000, 1),
    "3gp": ("3gp", "libopencore_amrnb", 8000, 1),
}
FORMATS = LOSSLESS | LOSSY
CLIP_S = 6.7
LAYOUTS = {1: "mono", 2: "stereo", 8: "7.1"}


def signal(duration_s, rate, n_channels=1, seed=0):
    """Three gliding tones and some noise, shape (n_channels, n)."""
    t = np.arange(round(duration_s * rate)) / rate
    tones = sum(0.2 * np.sin(2 * np.pi * f * t * (1 + 0.1 * np.sin(t))) for f in (220, 700, 1900))
    noisy = tones + 0.02 * np.random.default_rng(seed).standard_normal(len(t))
    return np.stack([np.roll(noisy, 7 * i) for i in range(n_channels)]).astype(np.float32)


def mux_audio(container, stream, samples, rate):
    codec = stream.codec_context
    layout = LAYOUTS[len(samples)]
    resampler = av.AudioResampler(codec.format.name, layout, rate, codec.frame_size or None)
    for start in range(0, samples.shape[1], 4096):
        block = samples[:, start : start + 4096].T.reshape(1, -1)  # PyAV 18.1: <= 7 planes
        frame = av.AudioFrame.from_ndarray(block, format="flt", layout=layout)
        frame.sample_rate, frame.pts = rate, start
        for ready in resampler.resample(frame):
            container.mux(stream.encode(ready))
    for ready in resampler.resample(None):
        container.mux(stream.encode(ready))
    container.mux(stream.encode(None))


def mux_video(container, stream):
    for i in range(10):
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 20 * i, np.uint8), "rgb24")
        frame.pts = i
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def add_video(container, codec="mpeg4", pix_fmt="yuv420p"):
    stream = container.add_stream(codec, rate=5)
    stream.width, stream.height, stream.pix_fmt = 64, 64, pix_fmt
    return stream


@cache
def encode(container_name, codec, rate, n_channels, **more):
    """A file of the signal. `more`: seed, duration_s, and muxer (pairs of its options)."""
    file = io.BytesIO()
    samples = signal(more.get("duration_s", CLIP_S), rate, n_channels, more.get("seed", 0))
    with av.open(
        file, "w", format=container_name, options=dict(more.get("muxer", ()))
    ) as container:
        stream = container.add_stream(
            codec,
            rate=rate,
            layout=LAYOUTS[n_channels],
            options={"strict": "experimental"},  # FFmpeg's own vorbis encoder
        )
        if codec == "wmav2":
            stream.bit_rate = 128_000  # it has no default
        mux_audio(container, stream, samples, rate)
    return file.getvalue()


def clip(name):
    return encode(*FORMATS[name])


@cache
def video(container_name, audio_codec=None):
    file = io.BytesIO()
    with av.open(file, "w", format=container_name) as container:
        pictures = add_video(container)
        sound = audio_codec and container.add_stream(audio_codec, rate=48000, layout="mono")
        mux_video(container, pictures)
        if sound:
            mux_audio(container, sound, signal(3.0, 48000), 48000)
    return file.getvalue()


def wav_file(pcm, rate=SAMPLE_RATE, n_channels=1, format_tag=1):
    frame = 2 * n_channels
    fmt = struct.pack("<HHIIHH", format_tag, n_channels, rate, rate * frame % 2**32, frame, 16)
    chunks = b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", len(pcm)) + pcm
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def packed_frames(n_frames):
    """A Matroska file with one packet, which holds that many FLAC frames of 8 channels."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as out:
        stream = out.add_stream("flac", rate=48_000, layout="7.1")
        blank = av.AudioFrame.from_ndarray(np.zeros((1, 8 * 48_000), np.int16), "s16", "7.1")
        blank.sample_rate = 48_000
        one = stream.encode(blank)[1]
        packet = av.Packet(bytes(one) * n_frames)
        packet.stream, packet.time_base, packet.pts, packet.dts = stream, one.time_base, 0, 0
        out.mux(packet)
    return file.getvalue()


def png():
    file = io.BytesIO()
    with av.open(file, "w", format="image2pipe") as container:
        mux_video(container, add_video(container, "png", "rgb24"))
    return file.getvalue()


def raw_wav(frames, rate, n_channels, *, tag=1, bits=16):
    """A wav of any sample format; `frames` are the bytes of its data."""
    frame = n_channels * bits // 8
    fmt = struct.pack("<HHIIHH", tag, n_channels, rate, rate * frame, frame, bits)
    body = b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", len(frames))
    return b"RIFF" + struct.pack("<I", len(body) + len(frames)) + body + frames


class PacketList(list):
    """Takes packets as a container does."""

    mux = list.extend


def pull(file, *, slice_s=120.0, **limits):
    """Decode slice after slice, as the Ingress does; return the samples of all."""
    pieces = [decode_audio(file, max_s=slice_s, limits=DecodeLimits(**limits))]
    while not pieces[-1].is_last:
        cursor = pieces[-1].cursor_at(pieces[-1].end_s)
        pieces.append(decode_audio(file, cursor, max_s=slice_s, limits=DecodeLimits(**limits)))
    return np.concatenate([piece.samples for piece in pieces])


def length_s(file, **more):
    return len(pull(file, **more)) / SAMPLE_RATE


def peak_rss_bytes_of(function):
    """How far the resident memory rises above where it is now; FFmpeg's own is in it."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # resets VmHWM: man 5 proc
    before = status_bytes("VmRSS")
    function()
    return status_bytes("VmHWM") - before


def status_bytes(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(key))
