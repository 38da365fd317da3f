"""The real pyannote.audio with the embedded pipeline, on conversations of tests/data."""

import subprocess
import sys

import numpy as np
import pytest

from serve_app.domain import ANY_SPEAKERS, SAMPLE_RATE, Diarization, KnownSpeaker, SpeakerOptions
from serve_app.errors import InvalidRequestError, ModelLoadError, TooLongToDiarizeError
from serve_app.settings import DiarizationSettings
from serve_app.speakers import diarize_file, load_model
from serve_app.stages.diarization import SpeakerModel
from tests.clips import encode, silence
from tests.conversations import error_rate, opening, recording, reference

# Importing torch and pyannote.audio takes a minute where the disk is cold or the machine busy.
pytestmark = pytest.mark.timeout(400)

# What the embedded pipeline's voices are told apart by: see its card.
SETTINGS = DiarizationSettings(min_similarity=0.7, max_audio_s=60.0)


@pytest.fixture(scope="module")
def model() -> SpeakerModel:
    return load_model(SETTINGS, n_cores=1)


@pytest.fixture(scope="module")
def found_in_two(model: SpeakerModel) -> Diarization:
    return diarize(model, recording("two"))


def diarize(
    model: SpeakerModel, data: bytes, options: SpeakerOptions = ANY_SPEAKERS
) -> Diarization:
    return diarize_file(data, options, model, SETTINGS)


def error_of(name: str, found: Diarization, *, by_name: bool = False) -> float:
    return error_rate(reference(name), found.turns, duration_s=found.duration_s, by_name=by_name)


def test_two_speakers_are_told_apart(found_in_two: Diarization) -> None:
    assert list(dict.fromkeys(turn.speaker for turn in found_in_two.turns)) == ["A", "B"]
    assert error_of("two", found_in_two) < 0.15


def test_three_speakers_are_told_apart(model: SpeakerModel) -> None:
    found = diarize(model, recording("three"))
    assert list(dict.fromkeys(turn.speaker for turn in found.turns)) == ["A", "B", "C"]
    assert error_of("three", found) < 0.15


def test_exclusive_turns_never_overlap(found_in_two: Diarization) -> None:
    turns = found_in_two.exclusive
    ends = [0.0, *(turn.end_s for turn in turns)]
    assert all(turn.start_s >= end_s for turn, end_s in zip(turns, ends, strict=False))


def test_known_voices_are_named(model: SpeakerModel) -> None:
    voices = {turn.speaker for turn in reference("two")}
    known = tuple(KnownSpeaker(name=v, audio=opening("two", v)) for v in sorted(voices))
    found = diarize(model, recording("two"), SpeakerOptions(known=known))
    assert {turn.speaker for turn in found.turns} == voices
    # Under their own names: no mapping between the two sides is sought.
    assert error_of("two", found, by_name=True) < 0.15


def test_a_voice_that_is_not_heard_is_not_named(model: SpeakerModel) -> None:
    in_two = {turn.speaker for turn in reference("two")}
    strange = next(t.speaker for t in reference("three") if t.speaker not in in_two)
    known = (KnownSpeaker(name="stranger", audio=opening("three", strange)),)
    found = diarize(model, recording("two"), SpeakerOptions(known=known))
    assert {turn.speaker for turn in found.turns} == {"A", "B"}


def test_the_number_of_speakers_is_aimed_at(model: SpeakerModel) -> None:
    found = diarize(model, recording("two"), SpeakerOptions(num_speakers=1))
    assert {turn.speaker for turn in found.turns} == {"A"}


def test_audio_without_speech_has_no_turns(model: SpeakerModel) -> None:
    assert diarize(model, encode(silence(3.0))).turns == ()


def test_no_turn_goes_beyond_the_audio(model: SpeakerModel) -> None:
    loud = (np.random.default_rng(0).standard_normal(4000) * 9000).astype(np.int16)
    found = diarize(model, encode(loud))
    assert found.duration_s == len(loud) / SAMPLE_RATE
    assert all(turn.end_s <= found.duration_s for turn in (*found.turns, *found.exclusive))


def test_longer_audio_than_the_limit_is_refused(model: SpeakerModel) -> None:
    settings = DiarizationSettings(max_audio_s=5.0)
    with pytest.raises(TooLongToDiarizeError):
        diarize_file(recording("two"), ANY_SPEAKERS, model, settings)


@pytest.mark.parametrize(
    "clip", [b"no audio", encode(silence(0.5)), encode(silence(2.0)), encode(silence(31.0))]
)
def test_a_clip_of_a_known_voice_that_cannot_be_used_is_refused(
    clip: bytes, model: SpeakerModel
) -> None:
    known = (KnownSpeaker(name="anna", audio=clip),)
    with pytest.raises(InvalidRequestError) as caught:
        diarize(model, recording("two"), SpeakerOptions(known=known))
    assert caught.value.param == "known_speaker_references"


def test_batch_sizes_are_the_settings() -> None:
    settings = DiarizationSettings(segmentation_batch_size=3, embedding_batch_size=5)
    pipeline = load_model(settings, n_cores=1)._pipeline
    assert (pipeline.segmentation_batch_size, pipeline.embedding_batch_size) == (3, 5)


def test_a_pipeline_that_cannot_be_had_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    settings = DiarizationSettings(source="pyannote/speaker-diarization-3.1", token_env="MY_TOKEN")
    with pytest.raises(ModelLoadError) as caught:
        load_model(settings, n_cores=1)
    for part in (settings.source, "speaker-diarization-community-1", "MY_TOKEN", "conditions"):
        assert part in str(caught.value)


def test_a_missing_extra_is_named() -> None:
    # A fresh interpreter in which torch cannot be imported, as after a core installation.
    code = """
import sys
sys.modules["torch"] = None
from serve_app.settings import DiarizationSettings
from serve_app.speakers import load_model
load_model(DiarizationSettings(), n_cores=1)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert "pip install 'serve_app[diarization]'" in ended.stderr


def test_nothing_is_sent_to_the_makers_of_pyannote(model: SpeakerModel) -> None:
    from pyannote.audio.telemetry import metrics

    assert not metrics.is_metrics_enabled()
