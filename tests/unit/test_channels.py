import asyncio
import io
from collections.abc import AsyncGenerator

import av
import numpy as np
import pytest

from serve_app.channels import collect_all, count_channels, join_channels, select_channels
from serve_app.domain import NO_LIMITS, DecodeCursor, DecodeLimits, Transcript, TranscriptDelta
from serve_app.errors import DecodeTimeoutError, InvalidRequestError
from serve_app.stages.audio import decode_audio
from serve_app.stages.audio.resampling import pick_channel
from tests.clips import Pcm, clip
from tests.unit.test_turns import segment, word

STEREO_CODECS = [
    ("wav", "pcm_s16le", "s16"),
    ("wav", "pcm_f32le", "flt"),
    ("wav", "pcm_u8", "u8"),
    ("flac", "flac", "s16"),
    ("wav", "pcm_s32le", "s32"),
]


def stereo(left: Pcm, right: Pcm, container: str, codec: str, sample_format: str) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as out:
        stream = out.add_stream(codec, rate=16000, layout="stereo", format=sample_format)
        packed = np.stack([left, right], axis=1).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="s16", layout="stereo")
        frame.sample_rate = 16000
        resampler = av.AudioResampler(format=sample_format, layout="stereo", rate=16000)
        for ready in resampler.resample(frame):
            out.mux(stream.encode(ready))
        out.mux(stream.encode(None))
    return buffer.getvalue()


LEFT, RIGHT = clip("light")[:30000], clip("timer")[:30000]


@pytest.mark.parametrize(("container", "codec", "sample_format"), STEREO_CODECS)
def test_a_channel_is_decoded_alone(container: str, codec: str, sample_format: str) -> None:
    data = stereo(LEFT, RIGHT, container, codec, sample_format)
    assert count_channels(data, NO_LIMITS) == 2
    for channel, expected in enumerate([LEFT, RIGHT]):
        got = decode_audio(data, DecodeCursor(channel=channel), max_s=60).samples
        assert len(got) == len(expected)
        rounding = 256 if sample_format == "u8" else 1
        assert np.abs(got.astype(int) - expected.astype(int)).max() <= rounding


def test_a_channel_in_slices_is_the_channel_whole() -> None:
    data = stereo(LEFT, RIGHT, "wav", "pcm_s16le", "s16")
    first = decode_audio(data, DecodeCursor(channel=1), max_s=1)
    rest = decode_audio(data, first.cursor_at(first.end_s), max_s=60)
    assert (first.n_channels, rest.n_channels, rest.channel) == (2, 2, 1)
    assert np.array_equal(np.concatenate([first.samples, rest.samples]), RIGHT)


def test_planar_frames_have_the_same_channels() -> None:
    samples = np.stack([LEFT, RIGHT]).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
    frame.sample_rate = 16000
    assert np.array_equal(pick_channel(frame, 1).to_ndarray()[0], samples[1])


def test_a_channel_that_a_frame_does_not_have_is_silent() -> None:
    frame = av.AudioFrame.from_ndarray(LEFT[None], format="s16", layout="mono")
    frame.sample_rate = 16000
    assert not pick_channel(frame, 1).to_ndarray().any()


def test_a_mono_file_is_decoded_as_it_is() -> None:
    assert select_channels(1) == [None]
    assert select_channels(3) == [0, 1, 2]


def test_counting_the_channels_may_take_as_long_as_decoding_a_slice() -> None:
    file = stereo(LEFT, RIGHT, "flac", "flac", "s16")
    with pytest.raises(DecodeTimeoutError):
        count_channels(file, DecodeLimits(timeout_s=0.0))


def test_more_channels_than_are_taken_is_a_clients_error() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        select_channels(9)
    assert caught.value.param == "multichannel"


def channel(*words: tuple[str, float]) -> Transcript:
    segments = tuple(segment(word(text, start_s, start_s + 0.3)) for text, start_s in words)
    return Transcript(
        text="".join(s.text for s in segments).strip(),
        language="en",
        duration_s=9.0,
        model="m",
        segments=segments,
    )


def test_the_first_channels_speaker_is_a_and_deltas_make_the_text() -> None:
    *deltas, last = join_channels([channel((" why", 2.0)), channel((" who", 1.0), (" me", 3.0))])
    assert isinstance(last, Transcript)
    assert [s.speaker for s in last.segments] == ["B", "A", "B"]
    assert last.text == "who why me"
    assert "".join(d.text for d in deltas if isinstance(d, TranscriptDelta)) == last.text


def test_a_file_without_speech_in_any_channel_is_an_empty_transcript() -> None:
    [made] = join_channels([channel(), channel()])
    assert isinstance(made, Transcript)
    assert (made.text, made.turns) == ("", ())


async def counting(n: int, closed: list[int]) -> AsyncGenerator[int]:
    try:
        for i in range(n):
            await asyncio.sleep(0)
            yield i
        if n == 0:
            raise ValueError("planted")
        await asyncio.sleep(0.01)
    finally:
        closed.append(n)


async def test_runs_are_collected_side_by_side() -> None:
    assert await collect_all([counting(2, []), counting(3, [])]) == [[0, 1], [0, 1, 2]]


async def test_where_one_run_fails_the_others_are_ended() -> None:
    closed: list[int] = []
    with pytest.raises(ValueError, match="planted"):
        await collect_all([counting(1000, closed), counting(0, closed)])
    assert sorted(closed) == [0, 1000]
