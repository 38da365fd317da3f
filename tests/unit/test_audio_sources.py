import os
from pathlib import Path

import numpy as np
import pytest

from serve_app.domain import Pcm
from serve_app.errors import FileTooLargeError, InvalidAudioError, UnreadableFileError
from serve_app.stages.audio import decode_audio, header_duration_s, read_file
from tests.clips import DATA, clip, encode

NO_LIMIT = 2**40


def decoded(pcm: Pcm) -> np.ndarray:
    return decode_audio(read_file(pcm, max_bytes=NO_LIMIT), max_s=60).samples


def test_int16_at_16_khz_is_decoded_to_itself() -> None:
    assert np.array_equal(decoded(Pcm(samples=clip("light"), rate=16_000)), clip("light"))


def test_floats_are_the_same_samples_as_int16() -> None:
    for dtype in (np.float32, np.float64):
        floats = (clip("light") / 32768).astype(dtype)
        assert np.array_equal(decoded(Pcm(samples=floats, rate=16_000)), clip("light"))


def test_samples_at_another_rate_are_resampled_as_a_file_is() -> None:
    twice = np.repeat(clip("light"), 2)
    made = decoded(Pcm(samples=twice, rate=32_000))
    assert len(made) == len(clip("light"))
    middle = slice(1000, -1000)
    likeness = np.corrcoef(made[middle].astype(float), clip("light")[middle].astype(float))[0, 1]
    assert likeness > 0.95


def test_channels_are_mixed() -> None:
    both = np.stack([clip("light"), np.zeros_like(clip("light"))], axis=1)
    made = decoded(Pcm(samples=both, rate=16_000))
    assert np.abs(made - clip("light") / 2).max() <= 1


@pytest.mark.parametrize(
    ("samples", "rate"),
    [
        (np.zeros(16_000, np.int32), 16_000),
        (np.zeros((2, 2, 2), np.int16), 16_000),
        (np.array([0.0, np.nan]), 16_000),
        (np.zeros(16_000, np.int16), 0),
        (np.zeros(16_000, np.int16), -1),
        (np.zeros(16_000, np.int16), 2**40),
        (np.zeros((16, 70_000), np.int16), 16_000),
    ],
    ids=["int32", "3-d", "nan", "no-rate", "negative", "huge-rate", "channels"],
)
def test_samples_that_are_not_audio_are_refused(samples: np.ndarray, rate: int) -> None:
    with pytest.raises(InvalidAudioError):
        decoded(Pcm(samples=samples, rate=rate))


def test_a_path_and_its_bytes_are_the_same_file() -> None:
    path = DATA / "light.flac"
    for audio in (path, str(path), path.read_bytes()):
        assert bytes(read_file(audio, max_bytes=NO_LIMIT)) == path.read_bytes()


@pytest.mark.parametrize("name", ["missing.wav", "folder", "pipe", "nul\0"])
def test_a_path_that_is_no_file_is_refused_by_name(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableFileError) as caught:
        read_file(tmp_path / name, max_bytes=NO_LIMIT)
    assert repr(name)[1:-1] in caught.value.message


@pytest.mark.parametrize("kind", ["bytes", "path", "samples"])
def test_what_is_too_large_is_not_read(kind: str) -> None:
    path = DATA / "light.flac"
    audio = {
        "bytes": path.read_bytes(),
        "path": path,
        "samples": Pcm(samples=clip("light"), rate=1),
    }
    with pytest.raises(FileTooLargeError):
        read_file(audio[kind], max_bytes=1000)


def test_an_array_without_its_rate_is_refused() -> None:
    with pytest.raises(InvalidAudioError, match="Pcm"):
        read_file(clip("light"), max_bytes=NO_LIMIT)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "pcm",
    [
        Pcm(samples=[[0.0], [0.0, 0.5]], rate=16_000),  # type: ignore[arg-type]
        Pcm(samples=["a"], rate=16_000),  # type: ignore[arg-type]
        Pcm(samples=clip("light"), rate=None),  # type: ignore[arg-type]
        Pcm(samples=clip("light"), rate=16_000.0),  # type: ignore[arg-type]
    ],
    ids=["ragged", "words", "no rate", "fraction"],
)
def test_samples_that_are_no_array_or_have_no_whole_rate_are_refused(pcm: Pcm) -> None:
    with pytest.raises(InvalidAudioError, match="amples"):
        read_file(pcm, max_bytes=NO_LIMIT)


def test_a_list_of_floats_is_taken_as_samples() -> None:
    listed = Pcm(samples=[0.0, 0.5], rate=16_000)  # type: ignore[arg-type]
    array = Pcm(samples=np.array([0.0, 0.5]), rate=16_000)
    assert bytes(read_file(listed, max_bytes=NO_LIMIT)) == bytes(
        read_file(array, max_bytes=NO_LIMIT)
    )


def test_a_view_of_bytes_may_have_gaps() -> None:
    spread = bytes(byte for pair in zip(b"RIFF", b"....", strict=True) for byte in pair)
    assert bytes(read_file(memoryview(spread)[::2], max_bytes=NO_LIMIT)) == b"RIFF"  # type: ignore[arg-type]


def test_a_header_tells_the_length_where_it_has_one() -> None:
    assert header_duration_s(encode(clip("light"))) == pytest.approx(len(clip("light")) / 16_000)
    assert header_duration_s(b"no audio") is None
