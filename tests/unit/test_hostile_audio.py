"""Files that explode, and files that take for ever: a clear 400 within bounds.

Memory, time and crashes are looked at in a process of its own (`tests.isolated`).
"""

import io
import pickle
import struct
import time

import av
import numpy as np
import pytest

from serve_app.domain import SAMPLE_RATE, DecodeLimits, TranscriptionRequest
from serve_app.errors import (
    AudioTooLongError,
    DecodeTimeoutError,
    InvalidAudioError,
)
from serve_app.pipeline import prepare_options
from serve_app.settings import AppSettings, AudioSettings
from serve_app.stages.audio import decode_audio
from tests.audio_files import (
    LAYOUTS,
    PacketList,
    clip,
    encode,
    length_s,
    mux_audio,
    packed_frames,
    peak_rss_bytes_of,
    pull,
    raw_wav,
    signal,
    wav_file,
)
from tests.isolated import ACCEPTED, DIED, HANG_S, MEMORY_BYTES, REFUSED, Decoder
from tests.mutants import seed, set_checksums

MB = 1_000_000


@pytest.fixture(scope="module")
def decoder():
    made = Decoder()
    yield made
    made.end()


def silence(container, codec, rate, duration_s):
    """One packet of silence, over and over: the smallest file of that length."""
    file, packets = io.BytesIO(), PacketList()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout="mono")
        mux_audio(packets, stream, np.zeros((1, 10 * rate), np.float32), rate)
        first, second, *_ = packets
        step, payload = second.pts - first.pts, bytes(packets[len(packets) // 2])
        for i in range(round(duration_s / float(step * second.time_base))):
            packet = av.Packet(payload)
            packet.stream, packet.time_base, packet.duration = stream, second.time_base, step
            packet.pts = packet.dts = first.pts + i * step
            out.mux(packet)
    return file.getvalue()


@pytest.mark.parametrize(("container", "codec"), [("flac", "flac"), ("ogg", "libopus")])
def test_silence_that_expands_is_cut_at_the_limit_of_its_length(container, codec):
    bomb = silence(container, codec, 16_000, 900)
    assert len(bomb) < MB
    rise_bytes = peak_rss_bytes_of(lambda: assert_too_long(bomb, limit_s=400))
    assert rise_bytes < 30 * MB  # 900 s are 29 MB as samples, 58 MB as floats


def assert_too_long(file, *, limit_s):
    with pytest.raises(AudioTooLongError) as caught:
        pull(file, max_audio_s=limit_s)
    assert (caught.value.status, caught.value.code) == (413, "audio_too_long")
    assert f"{limit_s} seconds" in str(caught.value)


def test_a_file_just_as_long_as_allowed_is_taken():
    file = wav_file(bytes(2 * 3 * SAMPLE_RATE))
    assert length_s(file, max_audio_s=3.0) == 3.0
    assert_too_long(file + b"\0\0", limit_s=2)


def test_what_lies_behind_the_limit_is_not_decoded():
    bomb = silence("flac", "flac", 16_000, 3600)
    began_s = time.monotonic()
    assert_too_long(bomb, limit_s=10)
    assert time.monotonic() - began_s < 0.5  # one slice


def test_a_packet_of_very_many_frames_ends_the_process_where_its_memory_ends(decoder):
    """640 kB that become 3 GB, as PyAV decodes a packet whole."""
    began_s = time.monotonic()
    verdict = decoder.judge(packed_frames(20_000))
    assert (verdict.outcome, verdict.told) == (DIED, "exit code -9")
    assert time.monotonic() - began_s < HANG_S / 2
    assert decoder.judge(clip("wav_16k")).outcome == ACCEPTED  # in the next process


def test_a_process_may_hold_what_it_held_at_first_and_the_limit(decoder):
    verdict = decoder.judge(packed_frames(1000))  # 150 MB
    assert verdict.outcome == ACCEPTED
    assert verdict.grown_bytes < MEMORY_BYTES


@pytest.mark.parametrize("kind", ["ogg", "matroska", "mp4"])
def test_thousands_of_streams_cost_little(kind, decoder):
    file = {"ogg": ogg_streams, "matroska": matroska_tracks, "mp4": mp4_tracks}[kind](3000)
    verdict = decoder.judge(file)
    assert verdict.outcome in (ACCEPTED, REFUSED)
    assert verdict.took_s < 2
    assert peak_rss_bytes_of(lambda: decoder.judge(file)) < 100 * MB


def ogg_streams(n):
    sound = seed("opus")
    page = bytearray(sound[: sound.index(b"OggS", 4)])
    pages = bytearray()
    for serial in range(n):
        page[14:18] = struct.pack("<I", serial + 1000)
        pages += page
    pages += sound
    set_checksums(pages)
    return bytes(pages)


def matroska_tracks(n):
    sound = encode("matroska", "pcm_s16le", 16_000, 1, duration_s=0.5)
    tracks = sound.index(b"\x16\x54\xae\x6b", sound.index(b"\x16\x54\xae\x6b") + 1)
    n_bytes = 9 - sound[tracks + 4].bit_length()
    length = int.from_bytes(sound[tracks + 4 : tracks + 4 + n_bytes], "big")
    start = tracks + 4 + n_bytes
    end = start + length - (1 << 7 * n_bytes)
    entry = sound[sound.index(b"\xae", start) : end]
    entries = entry * n
    head = sound[: tracks + 4] + b"\x01" + len(entries).to_bytes(7, "big")
    return head + entries + sound[end:]


def mp4_tracks(n):
    sound = encode("mp4", "aac", 16_000, 1, duration_s=0.5)
    moov, trak = sound.index(b"moov") - 4, sound.index(b"trak") - 4
    n_moov, n_trak = (int.from_bytes(sound[at : at + 4], "big") for at in (moov, trak))
    grown = struct.pack(">I", n_moov + (n - 1) * n_trak)
    entry = sound[trak : trak + n_trak]
    return sound[:moov] + grown + sound[moov + 4 : trak] + entry * n + sound[trak + n_trak :]


def test_many_chained_oggs_are_decoded_or_refused_in_bounded_time(decoder):
    verdict = decoder.judge(encode("ogg", "libopus", 48_000, 1, duration_s=0.02) * 2000)
    assert verdict.outcome == ACCEPTED
    assert verdict.took_s < 2


@pytest.mark.parametrize(
    ("file", "expected_s"),
    [
        (lambda: raw_wav(np.tile(loud(192_000, 8), 5).tobytes(), 192_000, 8, tag=3, bits=64), 5.0),
        (lambda: flac_of_8_channels(655_350, 2.0), 2.0),
        (lambda: raw_wav(bytes(24 * 2 * 96_000 * 2), 96_000, 24), 2.0),
    ],
    ids=["192 kHz x 8 x 64 bit", "655350 Hz x 8 FLAC", "96 kHz x 24"],
)
def test_very_high_rates_and_many_channels_are_decoded_in_bounded_memory(file, expected_s):
    upload = file()
    assert peak_rss_bytes_of(lambda: decode_audio(upload, max_s=60)) < 200 * MB
    assert length_s(upload) == pytest.approx(expected_s, abs=0.001)


def loud(rate, n_channels):
    return signal(1.0, rate, n_channels).T.astype("<f8").reshape(-1)


def flac_of_8_channels(rate, duration_s):
    file = io.BytesIO()
    with av.open(file, "w", format="flac") as out:
        stream = out.add_stream("flac", rate=rate, layout=LAYOUTS[8])
        mux_audio(out, stream, np.zeros((8, round(rate * duration_s)), np.float32), rate)
    return file.getvalue()


def test_a_rate_and_channels_that_are_too_much_together_are_invalid():
    with pytest.raises(InvalidAudioError):
        decode_audio(raw_wav(bytes(16 * 2 * 100_000), 768_000, 16), max_s=1)


def test_a_slice_that_takes_too_long_is_given_up():
    file = np.frombuffer(wav_file(bytes(40_000_000)), np.uint8)
    began_s = time.monotonic()
    with pytest.raises(DecodeTimeoutError) as caught:
        decode_audio(file, max_s=600, limits=DecodeLimits(timeout_s=0.02))
    assert time.monotonic() - began_s < 0.5
    assert (caught.value.status, caught.value.code) == (400, "decode_timeout")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert len(decode_audio(file, max_s=1).samples) == SAMPLE_RATE  # the next one is untouched


def test_the_time_counts_while_ffmpeg_reads_and_gives_nothing():
    """Packets of a picture track, which are never seen, between two of the sound."""
    file = io.BytesIO()
    with av.open(file, "w", format="avi") as out:
        sound = out.add_stream("pcm_s16le", rate=16_000, layout="mono")
        picture = out.add_stream("rawvideo", rate=25)
        picture.width, picture.height, picture.pix_fmt = 640, 480, "yuv420p"
        frame = av.VideoFrame(640, 480, "yuv420p")
        for i in range(60):
            frame.pts = i
            out.mux(picture.encode(frame))
        mux_audio(out, sound, signal(1.0, 16_000), 16_000)
    assert len(file.getvalue()) > 20 * MB
    with pytest.raises(DecodeTimeoutError):
        decode_audio(file.getvalue(), max_s=60, limits=DecodeLimits(timeout_s=0.001))


def test_the_settings_reach_the_decoder():
    settings = AppSettings(audio=AudioSettings(max_audio_s=7.0, decode_timeout_s=3.0))
    for is_first in (True, False):
        options = prepare_options(
            settings, settings.models[0], TranscriptionRequest(), is_first=is_first
        )
        assert options.limits == DecodeLimits(max_audio_s=7.0, timeout_s=3.0)


def test_ten_hours_are_allowed_unless_a_profile_says_otherwise():
    assert AudioSettings().limits.max_audio_s > 10 * 3600
