import gc
import io
import pickle
import struct
import tracemalloc
from functools import cache

import av
import faster_whisper
import numpy as np
import pytest
from av.stream import Disposition

from serve_app.domain import SAMPLE_RATE, DecodeCursor
from serve_app.errors import (
    AudioTooShortError,
    EmptyFileError,
    InvalidAudioError,
    NoAudioStreamError,
)
from serve_app.stages.audio import container as audio_container
from serve_app.stages.audio import decode_audio, to_float32
from serve_app.stages.audio.decode import fill_slice
from serve_app.stages.audio.limits import Deadline
from tests.audio_files import (
    CLIP_S,
    FORMATS,
    LOSSLESS,
    LOSSY,
    PacketList,
    clip,
    encode,
    mux_audio,
    peak_rss_bytes_of,
    png,
    signal,
    video,
    wav_file,
)


@pytest.fixture(autouse=True, scope="module")
def cheap_garbage_collection():
    """faster_whisper.decode_audio collects garbage each time: 69 ms, all that was ever imported."""
    gc.freeze()
    yield
    gc.unfreeze()


def whole(file):
    decoded = decode_audio(file, max_s=3600)
    assert decoded.is_last
    return decoded.samples


@cache
def whole_clip(name):
    return whole(clip(name))


def in_slices(file, max_s, cut_s):
    """Decode slice after slice, each beginning `cut_s` after the one before."""
    parts, cursor = [], None
    while True:
        decoded = decode_audio(file, cursor, max_s=max_s)
        assert decoded.start_sample == sum(map(len, parts))
        if decoded.is_last:
            return np.concatenate([*parts, decoded.samples])
        assert len(decoded.samples) == round(max_s * SAMPLE_RATE)
        cut = round(cut_s * SAMPLE_RATE)
        parts.append(decoded.samples[:cut])
        cursor = pickle.loads(pickle.dumps(decoded.cursor_at(decoded.start_s + cut / SAMPLE_RATE)))


@pytest.mark.parametrize("name", FORMATS)
def test_a_whole_file_gives_the_samples_that_faster_whisper_gives(name):
    expected = faster_whisper.decode_audio(io.BytesIO(clip(name))) * 32768
    np.testing.assert_array_equal(whole_clip(name), expected)


@pytest.mark.parametrize("name", LOSSLESS)
@pytest.mark.parametrize(("max_s", "cut_s"), [(4.0, 2.7113125), (3.3, 3.3)])
def test_slices_of_a_lossless_file_are_the_samples_of_the_whole(name, max_s, cut_s):
    np.testing.assert_array_equal(in_slices(clip(name), max_s, cut_s), whole_clip(name))


@pytest.mark.parametrize("name", LOSSY)
def test_slices_of_a_lossy_file_have_its_length_and_nearly_its_samples(name):
    sliced, expected = in_slices(clip(name), 4.0, 2.7113125), whole_clip(name)
    assert len(sliced) == len(expected)
    # AAC and AC-3 decoders fill bands with random noise, which differs.
    noise = np.std(sliced.astype(float) - expected)
    assert noise < 0.02 * np.std(expected)


@pytest.mark.parametrize("name", ["wav_44k_stereo", "flac_16k", "mp3_44k_stereo", "opus", "m4a"])
def test_a_slice_found_by_a_seek_is_the_slice_found_by_reading_all_before_it(name):
    cursor = decode_audio(clip(name), max_s=6).cursor_at(5.5)
    view, n_samples, deadline = memoryview(clip(name)), SAMPLE_RATE // 2, Deadline(60)
    sought = fill_slice(view, cursor, n_samples, audio_container.seek_packets, deadline)
    read = (
        fill_slice(view, cursor, n_samples, audio_container.skip_packets, deadline).build().samples
    )
    assert sought.is_full and sought.is_sound  # so decode_audio believes it
    assert np.std(sought.build().samples.astype(float) - read) <= (0 if name in LOSSLESS else 30)


@pytest.mark.parametrize("name", ["wav_16k", "wav_44k_stereo", "opus"])
def test_a_slice_that_ends_with_the_file_is_the_last(name):
    n_samples = len(whole(clip(name)))
    assert decode_audio(clip(name), max_s=n_samples / SAMPLE_RATE).is_last
    assert not decode_audio(clip(name), max_s=(n_samples - 1) / SAMPLE_RATE).is_last


def test_a_cursor_at_the_end_of_the_file_gives_an_empty_last_slice():
    decoded = decode_audio(clip("wav_16k"), max_s=60)
    after = decode_audio(clip("wav_16k"), decoded.cursor_at(decoded.end_s), max_s=60)
    assert (len(after.samples), after.is_last, after.start_s) == (0, True, decoded.end_s)


def test_a_cursor_at_the_start_of_a_slice_gives_that_slice_again():
    first = decode_audio(clip("flac_44k_stereo"), max_s=5)
    second = decode_audio(clip("flac_44k_stereo"), first.cursor_at(5), max_s=2)
    again = decode_audio(clip("flac_44k_stereo"), second.cursor_at(second.start_s), max_s=2)
    np.testing.assert_array_equal(again.samples, second.samples)


@pytest.mark.parametrize("time_s", [1.9, 4.1])
def test_a_cursor_outside_the_slice_is_refused(time_s):
    first = decode_audio(clip("wav_16k"), max_s=2)
    second = decode_audio(clip("wav_16k"), first.cursor_at(2), max_s=2)
    with pytest.raises(ValueError, match="not within"):
        second.cursor_at(time_s)


def test_a_cursor_is_small():
    cursor = decode_audio(clip("opus"), max_s=6).cursor_at(6)
    assert len(pickle.dumps(cursor)) < 1000
    assert pickle.loads(pickle.dumps(cursor)) == cursor


@pytest.mark.parametrize(
    ("container_name", "codec"), [("mp4", "aac"), ("matroska", "libopus"), ("avi", "libmp3lame")]
)
def test_the_audio_track_of_a_video_is_decoded(container_name, codec):
    file = video(container_name, codec)
    assert abs(len(whole(file)) - 3 * SAMPLE_RATE) < 0.1 * SAMPLE_RATE
    assert len(in_slices(file, 2.0, 1.5)) == len(whole(file))


def video_of_two_tracks(codec, n_channels, default):
    """Track 0 lasts 1 s, track 1 lasts 2 s."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        layouts = ["mono" if n == 1 else "stereo" for n in n_channels]
        tracks = [container.add_stream(codec, rate=48000, layout=layout) for layout in layouts]
        for i, track in enumerate(tracks):
            track.disposition = Disposition.default if i == default else Disposition(0)
        for i, track in enumerate(tracks):
            mux_audio(container, track, signal(1.0 + i, 48000, n_channels[i]), 48000)
    return file.getvalue()


@pytest.mark.parametrize(
    ("codec", "n_channels", "default", "expected"),
    [
        ("libopus", (2, 1), 1, 1),  # the default track
        ("pcm_s16le", (1, 2), 0, 0),  # also where another has the higher bit rate
        ("pcm_s16le", (1, 2), None, 1),  # without a default, the highest bit rate
        ("libopus", (1, 2), None, 0),  # where that is unknown, the first
    ],
)
def test_of_two_tracks_every_slice_takes_the_same(codec, n_channels, default, expected):
    file = video_of_two_tracks(codec, n_channels, default)
    assert len(whole(file)) == (1 + expected) * SAMPLE_RATE
    assert len(in_slices(file, 0.8, 0.7)) == (1 + expected) * SAMPLE_RATE


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda b: np.frombuffer(b, "u1")])
def test_bytes_views_and_read_only_arrays_are_accepted(kind):
    np.testing.assert_array_equal(whole(kind(clip("wav_16k"))), whole(clip("wav_16k")))


@pytest.mark.parametrize("name", ["wav_16k", "mp3_44k_stereo", "flac_44k_stereo", "opus", "adts"])
def test_a_file_cut_short_gives_what_there_is(name):
    file = clip(name)
    cut, full = whole(file[: len(file) * 6 // 10]), whole(file)
    assert 0.4 * len(full) < len(cut) < 0.8 * len(full)
    n_same = len(cut) - 2000  # the last frame is damaged, the resampler's end rings
    np.testing.assert_array_equal(cut[:n_same], full[:n_same])


@pytest.mark.parametrize("name", ["mp3_44k_stereo", "flac_44k_stereo", "opus", "adts", "webm"])
def test_damage_in_the_middle_costs_that_part_only(name):
    file = bytearray(clip(name))
    middle = len(file) // 2
    file[middle : middle + 2000] = np.random.default_rng(1).bytes(2000)
    damaged, full = whole(bytes(file)), whole(clip(name))
    assert len(damaged) > 0.5 * len(full)  # Matroska loses the rest of a cluster
    assert len(in_slices(bytes(file), 4.0, 3.0)) == len(damaged)


def test_a_hole_at_which_the_demuxer_gives_an_error_is_passed_over():
    file = bytearray(clip("flac_in_ogg"))
    page = file.index(b"OggS", 150_000)
    file[page - 1000 : page + 2000] = bytes(3000)
    assert len(whole(file)) > 0.7 * CLIP_S * SAMPLE_RATE


def test_a_slice_behind_very_many_small_packets_is_found():
    file = bytearray(clip("caf"))
    file[40:44] = struct.pack(">I", 2**30)  # "frames per packet": each 2 bytes are a packet now
    cursor = decode_audio(file, max_s=2.1).cursor_at(2.1)
    assert cursor.anchor.packet - cursor.warmup.packet > 10_000  # thrown away, not a barren file
    decoded = decode_audio(file, cursor, max_s=0.1)
    np.testing.assert_array_equal(decoded.samples, whole(clip("caf"))[33600:35200])


@pytest.mark.parametrize(
    "links",
    [
        [("ogg", "flac", 44100, 2), ("ogg", "flac", 16000, 1)],
        [("ogg", "libopus", 48000, 1), ("ogg", "libopus", 48000, 1)],
        [("adts", "aac", 44100, 2), ("adts", "aac", 16000, 1)],
        [("mp3", "libmp3lame", 44100, 2), ("mp3", "libmp3lame", 16000, 1)],
    ],
)
def test_a_change_of_rate_and_channels_in_mid_stream_is_followed(links):
    file = b"".join(encode(*link, seed=seed) for seed, link in enumerate(links))
    expected = whole(file)
    assert abs(len(expected) - 2 * CLIP_S * SAMPLE_RATE) < 0.3 * SAMPLE_RATE
    sliced = in_slices(file, 3.0, 2.6)
    assert len(sliced) == len(expected)
    assert np.std(sliced.astype(float) - expected) < 0.02 * np.std(expected)


def test_a_slice_behind_a_packet_that_sets_up_the_decoder_anew_is_decoded_with_its_setting():
    first, second = (encode("flv", "aac", rate, n) for rate, n in [(44100, 2), (16000, 1)])
    file = first + second[13:]  # without the file's header
    expected = whole(file)
    assert len(expected) > 2 * CLIP_S * SAMPLE_RATE
    assert len(in_slices(file, 3.0, 2.6)) == len(expected)


def test_a_tag_that_is_not_utf_8_is_no_reason_to_refuse_a_file():
    file = wav_file(bytes(8000))
    tag = b"LIST" + struct.pack("<I", 16) + b"INFOINAM" + struct.pack("<I", 4) + b"\xff\xfe\xfd\0"
    assert len(whole(file[:12] + tag + file[12:])) == 4000


def test_no_bytes_are_an_empty_file():
    for empty in (b"", np.empty(0, np.uint8)):
        with pytest.raises(EmptyFileError):
            decode_audio(empty, max_s=1)


@pytest.mark.parametrize("container_name", ["mp4", "matroska", "avi"])
def test_a_silent_video_has_no_audio_stream(container_name):
    with pytest.raises(NoAudioStreamError):
        decode_audio(video(container_name), max_s=1)


@pytest.mark.parametrize("n_samples", [0, 1, 1599])
def test_under_a_tenth_of_a_second_is_too_short(n_samples):
    with pytest.raises(AudioTooShortError):
        decode_audio(wav_file(bytes(2 * n_samples)), max_s=1)


def test_a_tenth_of_a_second_is_enough():
    assert len(whole(wav_file(bytes(3200)))) == 1600


def test_a_slice_shorter_than_a_sample_is_refused():
    with pytest.raises(ValueError, match="max_s"):
        decode_audio(clip("wav_16k"), max_s=0)


@pytest.mark.parametrize(
    "file",
    [
        b"x",
        b"hello world\n" * 1000,
        b"\xff\xfb\x90\x00" * 1000,
        bytes(100_000),
        np.random.default_rng(0).bytes(300_000),
        png(),
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        b"<!doctype html><html><body>404</body></html>" * 50,
        b"PK\x03\x04" + bytes(200),
        b'{"file": "audio.wav"}' * 30,
        wav_file(bytes(8000), format_tag=0x1234),  # no codec has it
        clip("wav_16k")[:30],
        clip("flac_16k")[:60],
        clip("m4a")[:500],
    ],
    ids=lambda file: repr(file[:12]),
)
def test_what_is_not_audio_is_invalid(file):
    with pytest.raises(InvalidAudioError) as caught:
        decode_audio(file, max_s=1)
    assert type(caught.value) is not EmptyFileError


@pytest.mark.parametrize(
    ("rate", "n_channels"), [(0, 1), (1, 1), (2**31 - 1, 1), (2**32 - 1, 1), (16000, 65)]
)
def test_a_header_with_an_impossible_rate_or_channel_count_is_invalid(rate, n_channels):
    with pytest.raises(InvalidAudioError):
        decode_audio(wav_file(bytes(130 * 4000), rate, n_channels), max_s=1)


def test_every_demuxer_allowed_exists():
    aliases = {"mov": "mov,mp4,m4a,3gp,3g2,mj2", "matroska": "matroska,webm"}
    for name in audio_container.DEMUXERS:
        assert av.ContainerFormat(aliases.get(name, name), "r").is_input


def test_decoding_a_large_upload_does_not_copy_it():
    file = np.frombuffer(wav_file(bytes(40_000_000)), np.uint8)
    cursor = decode_audio(file, max_s=1).cursor_at(1)
    tracemalloc.start()
    try:
        decode_audio(file, cursor, max_s=1)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 2_000_000


def hour_of_opus():
    """The packets of one minute, sixty times."""
    file, minute = io.BytesIO(), PacketList()
    with av.open(file, "w", format="ogg") as container:
        options = {"frame_duration": "60"}
        stream = container.add_stream("libopus", rate=SAMPLE_RATE, layout="mono", options=options)
        stream.bit_rate = 16_000
        mux_audio(minute, stream, signal(60, SAMPLE_RATE), SAMPLE_RATE)
        for i, payload in enumerate([bytes(packet) for packet in minute[:1000]] * 60):
            packet = av.Packet(payload)
            packet.stream, packet.time_base = stream, minute[0].time_base
            packet.pts = packet.dts = minute[0].pts + 960 * i
            packet.duration = 960
            container.mux(packet)
    return file.getvalue()


def test_a_slice_of_a_long_file_takes_the_memory_of_a_slice():
    file = hour_of_opus()
    cursor = decode_audio(file, max_s=20).cursor_at(20)
    rise_bytes = peak_rss_bytes_of(lambda: decode_audio(file, cursor, max_s=20))
    assert rise_bytes < 12_000_000  # 20 s are 0.64 MB, the hour is 115 MB


def test_float_samples_are_the_integers_over_32768():
    scaled = to_float32(np.array([-32768, 0, 16384], np.int16))
    assert scaled.dtype == np.float32
    assert scaled.tolist() == [-1.0, 0.0, 0.5]


def test_the_default_cursor_is_the_start():
    from_cursor = decode_audio(clip("opus"), DecodeCursor(), max_s=60)
    np.testing.assert_array_equal(from_cursor.samples, whole(clip("opus")))
