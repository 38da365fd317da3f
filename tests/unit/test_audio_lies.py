"""Files that lie about what they hold, and odd ones that are sound: what is there, or a 400."""

import io
import math
import struct

import av
import numpy as np
import pytest

from serve_app.domain import SAMPLE_RATE
from serve_app.errors import AudioTooShortError, InvalidAudioError, NoAudioStreamError
from serve_app.stages.audio import decode_audio
from tests.audio_files import (
    CLIP_S,
    PacketList,
    clip,
    encode,
    length_s,
    mux_audio,
    mux_video,
    pull,
    raw_wav,
    signal,
    wav_file,
)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e30, -1e-40])
@pytest.mark.parametrize("bits", [32, 64])
def test_float_samples_that_are_no_sound_do_no_harm(value, bits):
    frames = np.full(SAMPLE_RATE, value, f"<f{bits // 8}")
    decoded = decode_audio(raw_wav(frames.tobytes(), SAMPLE_RATE, 1, tag=3, bits=bits), max_s=9)
    assert decoded.samples.dtype == np.int16
    assert len(decoded.samples) == SAMPLE_RATE


@pytest.mark.parametrize("level", [32767, -32768])
def test_a_constant_at_full_scale_stays_what_it_is(level):
    decoded = decode_audio(wav_file(np.full(SAMPLE_RATE, level, "<i2").tobytes()), max_s=9)
    assert (decoded.samples == level).all()


@pytest.mark.parametrize("n_bytes", [2**32 - 1, 2**32 - 37, 2**31, 0, 7])
def test_a_wav_that_promises_another_length_gives_what_is_there(n_bytes):
    file = bytearray(clip("wav_16k"))
    at = file.index(b"data") + 4
    file[at : at + 4] = file[4:8] = struct.pack("<I", n_bytes)
    if n_bytes == 7:  # a size that is believed
        with pytest.raises(AudioTooShortError):
            decode_audio(bytes(file), max_s=60)
    else:
        assert length_s(bytes(file)) == pytest.approx(CLIP_S, abs=0.01)


@pytest.mark.parametrize(
    ("name", "field", "n_bytes"),
    [
        ("mp3_44k_stereo", b"Info", 8),  # flags, then the number of frames
        ("m4a", b"mvhd", 20),
        ("m4a", b"mdhd", 20),
        ("mkv_opus", b"\x44\x89", 7),  # Duration
        ("flac_16k", b"fLaC", 26),  # the number of samples
    ],
)
def test_a_header_that_lies_about_the_length_is_not_believed(name, field, n_bytes):
    file = bytearray(clip(name))
    at = file.index(field) + len(field) + n_bytes - 4
    for lie in (b"\x7f\xff\xff\xfe", b"\0\0\0\1"):
        file[at : at + 4] = lie
        assert length_s(bytes(file)) == pytest.approx(CLIP_S, abs=0.1)


def test_a_picture_of_a_cover_alone_is_no_audio():
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        cover = out.add_stream("mjpeg", rate=1)
        cover.width = cover.height = 64
        cover.pix_fmt = "yuvj420p"
        mux_video(out, cover)
    with pytest.raises(NoAudioStreamError):
        decode_audio(file.getvalue(), max_s=60)


def test_a_file_with_two_natures_is_one_of_them_in_every_slice():
    for first, second in (("wav_16k", "mp3_44k_stereo"), ("m4a", "webm"), ("flac_16k", "opus")):
        both = clip(first) + clip(second)
        assert len(pull(both, slice_s=3.0)) == len(pull(both))


@pytest.mark.parametrize("n_kept", [1, 4, 12, 44, 100, 300, 1000])
@pytest.mark.parametrize("name", ["wav_16k", "mp3_44k_stereo", "flac_16k", "opus", "webm", "amr"])
def test_a_file_cut_anywhere_in_its_head_gives_what_is_there_or_400(name, n_kept):
    try:
        assert length_s(clip(name)[:n_kept]) < CLIP_S
    except InvalidAudioError as error:
        assert error.status == 400


@pytest.mark.parametrize(
    "codec",
    [
        *("pcm_u8", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_alaw", "pcm_mulaw"),
        *("adpcm_ms", "adpcm_ima_wav", "adpcm_yamaha", "g722", "g726"),
    ],
)
def test_every_common_coding_in_a_wav_is_decoded(codec):
    rate = 8_000 if codec in ("g726", "pcm_alaw", "pcm_mulaw") else 16_000
    decoded = pull(encode("wav", codec, rate, 1))
    expected = pull(encode("wav", "pcm_s16le", rate, 1))
    assert abs(len(decoded) - len(expected)) < 0.2 * SAMPLE_RATE  # a last block is padded
    if codec != "g722":  # which delays by some samples
        n = min(len(decoded), len(expected))
        assert np.corrcoef(decoded[:n], expected[:n])[0, 1] > 0.98


@pytest.mark.parametrize(
    ("container", "codec", "muxer"),
    [
        ("mp4", "aac", {}),  # the index at the end, an edit list for the codec's delay
        ("mp4", "aac", {"moov_size": "20000"}),  # the index first
        ("mp4", "aac", {"movflags": "frag_keyframe+empty_moov"}),
        ("mp4", "aac", {"movflags": "dash+frag_keyframe", "frag_duration": "500000"}),
        ("mp4", "aac", {"use_editlist": "0"}),
        ("mov", "pcm_s16le", {}),
        ("webm", "libopus", {"live": "1"}),  # neither a duration nor an index
        ("matroska", "aac", {"cluster_time_limit": "100"}),
        ("ogg", "libopus", {"page_duration": "1"}),
        ("caf", "alac", {}),
    ],
    ids=str,
)
def test_every_layout_of_a_container_gives_the_whole_length(container, codec, muxer):
    file = encode(container, codec, 48_000, 1, muxer=tuple(muxer.items()))
    assert length_s(file) == pytest.approx(CLIP_S, abs=0.05)
    assert len(pull(file, slice_s=3.0)) == len(pull(file))


def test_an_edit_list_that_begins_late_does_not_change_the_length():
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        late = PacketList()
        stream = out.add_stream("aac", rate=16_000, layout="mono")
        mux_audio(late, stream, signal(2.0, 16_000), 16_000)
        for packet in late:
            packet.pts, packet.dts = packet.pts + 80_000, packet.dts + 80_000  # 5 s
            out.mux(packet)
    assert file.getvalue().count(b"elst") == 1
    assert length_s(file.getvalue()) == pytest.approx(2.0, abs=0.15)  # frames of 64 ms
