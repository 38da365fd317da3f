import math
import pickle
from collections.abc import Sequence

import numpy as np
import pytest
from faster_whisper.vad import VadOptions as SileroOptions
from faster_whisper.vad import get_speech_timestamps

from serve_app import detection, pipeline
from serve_app.domain import (
    SAMPLE_RATE,
    Chunk,
    DecodeCursor,
    DetectedLanguage,
    Span,
    SpeechRequest,
    VadOptions,
)
from serve_app.errors import InvalidAudioError, InvalidRequestError
from serve_app.stages.audio import to_float32
from serve_app.stages.vad import SpeechDetector, join_spans, pad_spans, split_open
from serve_app.stages.whisper import WhisperEngine
from tests.clips import Pcm, clip, encode, join, noise, silence, speech


async def speech_of(
    pcm: Pcm, detector: SpeechDetector, request: SpeechRequest, *, slice_s: float = 600
) -> list[tuple[float, float]]:
    data = encode(pcm)
    options = detection.SpeechOptions(max_slice_s=slice_s, request=request)

    async def pull(cursor: DecodeCursor | None) -> detection.SpeechSlice:
        found = detection.find_speech(data, cursor, options, detector)
        assert found == pickle.loads(pickle.dumps(found))  # it crosses a process border
        return found

    return [(s.start_s, s.end_s) for s in await detection.collect_speech(pull, request)]


PAUSES = np.concatenate([silence(2), clip("light"), silence(1.5), clip("timer"), silence(0.6)])


@pytest.mark.parametrize(
    "request_",
    [
        SpeechRequest(),
        SpeechRequest(vad=VadOptions(speech_pad_s=0.4, min_silence_s=0.3)),
        SpeechRequest(vad=VadOptions(speech_pad_s=1.0, min_silence_s=0.1)),
        SpeechRequest(vad=VadOptions(min_speech_s=0.4, min_silence_s=0.1, speech_pad_s=0.0)),
        SpeechRequest(vad=VadOptions(neg_threshold=0.1, speech_pad_s=0.03), max_speech_s=2.0),
    ],
    ids=["defaults", "padded", "pads-meet", "no-short-speech", "cut"],
)
async def test_a_file_of_one_slice_gives_what_silero_gives(
    request_: SpeechRequest, detector: SpeechDetector
) -> None:
    vad = request_.vad
    expected = get_speech_timestamps(
        to_float32(PAUSES),
        SileroOptions(
            threshold=vad.threshold,
            neg_threshold=vad.neg_threshold,
            min_speech_duration_ms=round(vad.min_speech_s * 1000),
            max_speech_duration_s=request_.max_speech_s,
            min_silence_duration_ms=round(vad.min_silence_s * 1000),
            speech_pad_ms=round(vad.speech_pad_s * 1000),
        ),
    )
    found = await speech_of(PAUSES, detector, request_)
    assert len(found) == len(expected) > 0
    for (start_s, end_s), want in zip(found, expected, strict=True):
        assert start_s == pytest.approx(want["start"] / SAMPLE_RATE, abs=0.001)
        assert end_s == pytest.approx(want["end"] / SAMPLE_RATE, abs=0.001)


@pytest.mark.parametrize("slice_s", [60.0, 61.7, 75.0])
async def test_where_a_file_is_sliced_does_not_show(
    slice_s: float, detector: SpeechDetector
) -> None:
    pcm = np.concatenate(
        [part for i in range(12) for part in (speech(13, seed=i), silence(1.2 + i % 3))]
    )
    whole = await speech_of(pcm, detector, SpeechRequest())
    sliced = await speech_of(pcm, detector, SpeechRequest(), slice_s=slice_s)
    assert len(whole) >= 12
    assert len(sliced) == len(whole)
    assert np.abs(np.array(sliced) - np.array(whole)).max() < 0.25


async def test_speech_longer_than_a_slice_stays_one_span(detector: SpeechDetector) -> None:
    request = SpeechRequest(vad=VadOptions(threshold=0.5, min_silence_s=2.0, speech_pad_s=0.0))
    pcm = np.concatenate([silence(3), speech(200), silence(3)])
    [(start_s, end_s)] = await speech_of(pcm, detector, request, slice_s=60)
    assert start_s == pytest.approx(3, abs=0.5)
    assert end_s == pytest.approx(203, abs=1.0)


async def test_no_span_is_longer_than_asked_for(detector: SpeechDetector) -> None:
    request = SpeechRequest(vad=VadOptions(speech_pad_s=0.1), max_speech_s=5.0)
    found = await speech_of(speech(150), detector, request, slice_s=60)
    assert len(found) > 25
    assert all(end_s - start_s <= 5.001 for start_s, end_s in found)


@pytest.mark.parametrize("pcm", [silence(2), noise(2)], ids=["silence", "noise"])
async def test_audio_without_speech_has_no_spans(pcm: Pcm, detector: SpeechDetector) -> None:
    assert await speech_of(pcm, detector, SpeechRequest()) == []


async def test_bytes_that_are_no_audio_are_refused(detector: SpeechDetector) -> None:
    options = detection.SpeechOptions(max_slice_s=60, request=SpeechRequest())
    with pytest.raises(InvalidAudioError):
        detection.find_speech(b"no audio", None, options, detector)


@pytest.mark.parametrize("max_speech_s", [0.0, 0.5, math.nan, -math.inf])
def test_a_limit_that_leaves_no_speech_is_refused(max_speech_s: float) -> None:
    with pytest.raises(InvalidRequestError, match=r"at least 0\.9 s"):
        SpeechRequest(vad=VadOptions(speech_pad_s=0.4), max_speech_s=max_speech_s)


def spans(*times: float) -> list[Span]:
    return [Span(start_s=a, end_s=b) for a, b in zip(times[::2], times[1::2], strict=True)]


@pytest.mark.parametrize(
    ("found", "final", "resume_s"),
    [
        ([], [], 99.488),  # silence: only an onset could be missed; in whole frames of 32 ms
        ([10, 20], [10, 20], 99.488),  # the last span is closed
        ([10, 20, 80, 99.9], [10, 20], 79.488),  # the last one may go on: the next slice has it
        ([10, 79.8, 80, 100], [10, 79.8], 79.8),  # ... but nothing is heard twice
        ([10, 99.9], [10, 99.9], 99.9),  # it fills the slice: the next one goes on with it
    ],
)
def test_an_open_span_is_left_to_the_next_slice_unless_it_fills_this_one(
    found: Sequence[float], final: Sequence[float], resume_s: float
) -> None:
    made = split_open(spans(*found), 0.0, 100.0, min_silence_s=1.0, onset_s=0.5)
    assert made == (spans(*final), pytest.approx(resume_s))


@pytest.mark.parametrize(
    ("following", "max_s", "joined"),
    [
        ([5.5, 7], math.inf, [1, 7]),
        ([6, 7], math.inf, [1, 5, 6, 7]),  # a pause of a second ends a span
        ([5.5, 7], 5.0, [1, 5, 5.5, 7]),  # together they would be too long
        ([], math.inf, [1, 5]),
    ],
)
def test_two_spans_at_a_slices_end_are_one_unless_a_pause_parts_them(
    following: Sequence[float], max_s: float, joined: Sequence[float]
) -> None:
    made = join_spans(spans(1, 5), spans(*following), min_silence_s=1.0, max_span_s=max_s)
    assert made == spans(*joined)


def test_padding_ends_at_the_files_borders_and_in_the_middle_of_a_pause() -> None:
    made = pad_spans(spans(0.25, 1.0, 1.5, 2.0, 5.0, 5.75), 0.5, duration_s=6.0)
    assert made == spans(0.0, 1.25, 1.25, 2.5, 4.5, 6.0)


async def test_the_language_is_told_by_the_first_slice_with_speech() -> None:
    chunk = pipeline.whole_chunk(silence(1))
    cursors = [DecodeCursor(start_sample=i) for i in range(1, 3)]
    slices = {None: ((), cursors[0]), cursors[0]: ((chunk,), cursors[1])}

    async def prepare(cursor: DecodeCursor | None) -> pipeline.Prepared:
        chunks, following = slices[cursor]
        return pipeline.Prepared(
            chunks=chunks, cursor=following, duration_s=1.0, decode_s=0.0, vad_s=0.0
        )

    assert await detection.first_chunk(prepare) is chunk


async def test_a_file_without_speech_has_no_chunk_to_tell_by() -> None:
    async def prepare(_: DecodeCursor | None) -> pipeline.Prepared:
        return pipeline.Prepared(chunks=(), cursor=None, duration_s=1, decode_s=0, vad_s=0)

    assert await detection.first_chunk(prepare) is None


def test_a_model_of_one_language_is_sure_of_it(engine: WhisperEngine) -> None:
    chunk: Chunk = pipeline.whole_chunk(join("light"))
    found = DetectedLanguage(probabilities=tuple(engine.detect_languages(chunk)))
    assert found.probabilities == (("en", 1.0),)
    assert pickle.loads(pickle.dumps(found)) == found
