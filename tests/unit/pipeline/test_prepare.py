import pickle
from itertools import pairwise

import numpy as np
import pytest

from serve_app import pipeline
from serve_app.domain import DecodeCursor, TranscriptionRequest, VadChanges, VadOptions
from serve_app.errors import InvalidAudioError, InvalidRequestError
from serve_app.settings import AppSettings
from serve_app.stages.vad import SpeechDetector
from tests.clips import encode, join, noise, silence, speech

OPTIONS = pipeline.PrepareOptions(max_slice_s=600, max_chunk_s=30, vad=VadOptions())


def prepare_all(
    data: bytes, options: pipeline.PrepareOptions, detector: SpeechDetector
) -> list[pipeline.Prepared]:
    slices = [pipeline.prepare(data, None, options, detector)]
    while (cursor := slices[-1].cursor) is not None:
        slices.append(pipeline.prepare(data, cursor, options, detector))
    return slices


def test_speech_becomes_chunks_that_hold_just_its_samples(detector: SpeechDetector) -> None:
    pcm = np.concatenate([silence(3), join("light"), silence(3)])
    prepared = pipeline.prepare(encode(pcm), None, OPTIONS, detector)
    [chunk] = prepared.chunks
    [span] = chunk.spans
    assert (prepared.cursor, prepared.duration_s) == (None, len(pcm) / 16000)
    assert 2.4 < span.start_s < 3.1
    start = round(span.start_s * 16000)
    assert np.array_equal(chunk.pcm, pcm[start : start + len(chunk.pcm)])


@pytest.mark.parametrize("pcm", [silence(2), noise(2)], ids=["silence", "noise"])
def test_audio_without_speech_gives_no_chunks(pcm: np.ndarray, detector: SpeechDetector) -> None:
    assert pipeline.prepare(encode(pcm), None, OPTIONS, detector).chunks == ()


def test_no_chunk_is_longer_than_the_model_allows(detector: SpeechDetector) -> None:
    options = pipeline.PrepareOptions(max_slice_s=600, max_chunk_s=5, vad=VadOptions())
    prepared = pipeline.prepare(encode(speech(40)), None, options, detector)
    assert len(prepared.chunks) >= 8
    assert all(chunk.duration_s <= 5.001 for chunk in prepared.chunks)


def test_a_file_in_slices_gives_all_the_speech_of_the_file_once(detector: SpeechDetector) -> None:
    data = encode(speech(300))
    [whole] = prepare_all(data, OPTIONS, detector)
    sliced_options = pipeline.PrepareOptions(max_slice_s=61, max_chunk_s=30, vad=VadOptions())
    sliced = prepare_all(data, sliced_options, detector)
    assert len(sliced) > 4
    assert sliced[-1].duration_s == whole.duration_s
    spans = [s for p in sliced for c in p.chunks for s in c.spans]
    assert all(a.end_s <= b.start_s for a, b in pairwise(spans))
    speech_s = sum(s.duration_s for c in whole.chunks for s in c.spans)
    assert sum(s.duration_s for s in spans) == pytest.approx(speech_s, rel=0.01)


def test_any_vad_options_that_are_accepted_come_to_the_end_of_a_file(
    detector: SpeechDetector,
) -> None:
    data = encode(np.concatenate([silence(10), join("light"), silence(250)]))
    vad = VadOptions(min_silence_s=60, speech_pad_s=60, min_speech_s=0.2)
    options = pipeline.PrepareOptions(max_slice_s=60, max_chunk_s=30, vad=vad)
    slices = prepare_all(data, options, detector)
    assert len(slices) < 12
    assert sum(len(p.chunks) for p in slices) >= 1


def test_a_callers_clip_is_not_cut_at_a_slices_end(detector: SpeechDetector) -> None:
    data = encode(speech(150))
    options = pipeline.PrepareOptions(
        max_slice_s=60, max_chunk_s=30, vad=None, clips=(50.0, 70.0, 100.0, 125.0)
    )
    chunks = [chunk for p in prepare_all(data, options, detector) for chunk in p.chunks]
    assert [(c.spans[0].start_s, c.spans[-1].end_s) for c in chunks] == [(50, 70), (100, 125)]


def test_a_word_that_a_slices_end_makes_too_short_is_heard_whole_in_the_next(
    detector: SpeechDetector,
) -> None:
    pcm = np.concatenate([silence(59.3), join("light"), silence(30)])
    vad = VadOptions(min_speech_s=1.0)
    whole_options = pipeline.PrepareOptions(max_slice_s=600, max_chunk_s=30, vad=vad)
    [whole] = prepare_all(encode(pcm), whole_options, detector)
    sliced_options = pipeline.PrepareOptions(max_slice_s=60, max_chunk_s=30, vad=vad)
    sliced = prepare_all(encode(pcm), sliced_options, detector)
    [span] = [s for p in sliced for c in p.chunks for s in c.spans]
    [expected] = [s for c in whole.chunks for s in c.spans]
    assert span.start_s == pytest.approx(expected.start_s, abs=0.1)


def test_bytes_that_are_no_audio_are_refused(detector: SpeechDetector) -> None:
    with pytest.raises(InvalidAudioError):
        pipeline.prepare(b"not audio at all", None, OPTIONS, detector)


def test_the_first_slice_is_short_and_later_ones_long() -> None:
    settings = AppSettings()
    [model] = settings.models
    request = TranscriptionRequest()
    first = pipeline.prepare_options(settings, model, request, is_first=True)
    later = pipeline.prepare_options(settings, model, request, is_first=False)
    assert (first.max_slice_s, later.max_slice_s) == (60, 120)
    assert first.max_chunk_s == model.max_chunk_s


def test_what_a_request_says_about_the_vad_lies_over_the_profiles() -> None:
    settings = AppSettings(vad=VadOptions(threshold=0.6, min_silence_s=0.3))
    [model] = settings.models

    def vad(asked: VadOptions | VadChanges | None) -> VadOptions | None:
        request = TranscriptionRequest(vad=asked)
        return pipeline.prepare_options(settings, model, request, is_first=True).vad

    assert vad(None) == settings.vad
    assert vad(VadChanges(threshold=0.4)) == VadOptions(threshold=0.4, min_silence_s=0.3)
    assert vad(VadOptions(threshold=0.4)) == VadOptions(threshold=0.4)


def test_padding_that_leaves_a_chunk_no_speech_is_refused() -> None:
    settings = AppSettings()
    [model] = settings.models
    request = TranscriptionRequest(vad=VadChanges(speech_pad_s=model.max_chunk_s / 2))
    with pytest.raises(InvalidRequestError, match="padded by at most"):
        pipeline.prepare_options(settings, model, request, is_first=True)


def test_without_vad_everything_is_kept_and_cut_where_it_is_quiet(
    detector: SpeechDetector,
) -> None:
    pcm = np.concatenate([noise(27), silence(0.5), noise(20)])
    options = pipeline.PrepareOptions(max_slice_s=600, max_chunk_s=30, vad=None)
    prepared = pipeline.prepare(encode(pcm), None, options, detector)
    assert sum(len(chunk.pcm) for chunk in prepared.chunks) == len(pcm)
    assert 27.0 <= prepared.chunks[0].duration_s <= 27.5


def test_clips_of_the_caller_replace_the_vad(detector: SpeechDetector) -> None:
    options = pipeline.PrepareOptions(
        max_slice_s=61, max_chunk_s=30, vad=VadOptions(), clips=(1.0, 2.5, 70.0, 110.0, 118.0)
    )
    slices = prepare_all(encode(noise(120)), options, detector)
    spans = [(s.start_s, s.end_s) for p in slices for c in p.chunks for s in c.spans]
    cut_s = spans[1][1]
    assert 94 < cut_s < 100
    assert spans == [(1.0, 2.5), (70.0, cut_s), (cut_s, 110.0), (118.0, 120.0)]


def test_a_clip_longer_than_a_chunk_is_cut_in_a_pause(detector: SpeechDetector) -> None:
    pcm = np.concatenate([noise(25), silence(1), noise(20)])
    options = pipeline.PrepareOptions(max_slice_s=60, max_chunk_s=30, vad=None, clips=(0.5, 45.0))
    [whole] = prepare_all(encode(pcm), options, detector)
    first, second = (chunk.spans for chunk in whole.chunks)
    assert (first[0].start_s, second[-1].end_s) == (0.5, 45.0)
    assert 25 < first[-1].end_s == second[0].start_s < 26


def test_a_clip_without_a_sample_is_left_out(detector: SpeechDetector) -> None:
    clips = (0.50001, 0.50002, 1.0, 2.0)
    options = pipeline.PrepareOptions(max_slice_s=60, max_chunk_s=30, vad=None, clips=clips)
    [whole] = prepare_all(encode(noise(3)), options, detector)
    assert [[s.start_s for s in chunk.spans] for chunk in whole.chunks] == [[1.0]]


def test_a_prepared_slice_crosses_a_process_border(detector: SpeechDetector) -> None:
    options = pipeline.PrepareOptions(max_slice_s=61, max_chunk_s=30, vad=VadOptions())
    prepared = pipeline.prepare(encode(speech(70)), None, options, detector)
    copy: pipeline.Prepared = pickle.loads(pickle.dumps(prepared))
    assert isinstance(copy.cursor, DecodeCursor)
    assert copy.cursor == prepared.cursor
    assert [len(c.pcm) for c in copy.chunks] == [len(c.pcm) for c in prepared.chunks]
