"""Speakers in one process: the same stages as the SpeakerDiarizer's, on conversations."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from serve_app import TranscriptionRequest, local
from serve_app.cli import main
from serve_app.domain import ResponseFormat
from serve_app.errors import InvalidRequestError, TooLongToDiarizeError
from serve_app.settings import COMMUNITY_PIPELINE, DiarizationSettings
from tests.clips import DATA
from tests.conversations import FOLDER, error_rate, recording, reference

# Importing torch and pyannote.audio takes a minute where the disk is cold or the machine busy.
pytestmark = pytest.mark.timeout(400)

DIARIZED = TranscriptionRequest(response_format=ResponseFormat.DIARIZED_JSON)
TIMED = TranscriptionRequest(segments=True)
TWO, LIGHT = FOLDER / "two.ogg", DATA / "light.flac"


@pytest.fixture(scope="module")
def whisper() -> Iterator[local.Whisper]:
    with local.load("embedded") as loaded:
        yield loaded


@pytest.fixture(scope="module")
def diarizing() -> Iterator[local.Whisper]:
    with local.load("embedded") as loaded:
        loaded.load_diarization("embedded")
        yield loaded


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["transcribe", "-m", "embedded", *words])


@pytest.mark.parametrize(
    ("request_", "param"),
    [(TranscriptionRequest(diarize=True), "diarize"), (DIARIZED, "response_format")],
    ids=["diarize", "diarized_json"],
)
def test_speakers_are_refused_where_nothing_tells_them_apart(
    request_: TranscriptionRequest, param: str, whisper: local.Whisper
) -> None:
    with pytest.raises(InvalidRequestError, match="load_diarization") as caught:
        whisper.transcribe(TWO, request_)
    assert caught.value.param == param


def test_each_channel_is_a_speaker_without_a_pipeline(whisper: local.Whisper) -> None:
    seen: list[local.Progress] = []
    request = TranscriptionRequest(multichannel=True, segments=True)
    made = whisper.transcribe(recording("stereo"), request, on_progress=seen.append)
    assert {segment.speaker for segment in made.segments} == {"A", "B"}
    assert [one.done_s for one in seen] == sorted(one.done_s for one in seen)
    assert seen[-1].done_s == made.duration_s


def test_two_speakers_are_told_apart_in_this_process(diarizing: local.Whisper) -> None:
    made = diarizing.transcribe(TWO, DIARIZED)
    assert {segment.speaker for segment in made.segments} == {"A", "B"}
    assert error_rate(reference("two"), made.turns, duration_s=made.duration_s) < 0.15
    assert " ".join(s.text.strip() for s in made.segments) == made.text
    assert all(s.speaker is None for s in diarizing.transcribe(LIGHT, TIMED).segments)


def test_the_example_in_readme_prints_who_said_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    [example] = re.findall(r"^```python\n([^`]*load_diarization[^`]*)^```$", readme, re.MULTILINE)
    (tmp_path / "conversation.ogg").write_bytes(TWO.read_bytes())
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    lines = [line for line in capsys.readouterr().out.splitlines() if line[1:2] == " "]
    assert {line[0] for line in lines} == {"A", "B"}


def test_a_program_that_ends_amid_a_diarization_ends_cleanly() -> None:
    """torch's threads must be awaited: the interpreter would abort on them."""
    code = f"""
import threading, time
from serve_app import ResponseFormat, TranscriptionRequest, local
whisper = local.load("embedded")
whisper.load_diarization("embedded")
request = TranscriptionRequest(response_format=ResponseFormat.DIARIZED_JSON)
threading.Thread(target=whisper.transcribe, args=({str(TWO)!r}, request), daemon=True).start()
while "serve_app diarizer" not in {{thread.name for thread in threading.enumerate()}}:
    time.sleep(0.01)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, "terminate called" in ended.stderr) == (0, False), ended.stderr


def test_a_file_that_is_too_long_for_the_pipelines_settings_is_refused() -> None:
    with local.load("embedded") as loaded:
        loaded.load_diarization(DiarizationSettings(max_audio_s=5.0))
        with pytest.raises(TooLongToDiarizeError):
            loaded.transcribe(TWO, DIARIZED)


def test_the_command_line_tells_speakers_apart_in_every_format(tmp_path: Path) -> None:
    words = (str(TWO), "--diarization-model", "embedded", "-f", "verbose_json", "diarized_json")
    answer = run(*words, "--word-timestamps", "-o", str(tmp_path))
    assert answer.exit_code == 0, answer.stderr
    assert "speakers by embedded" in answer.stderr
    for name, key in (("two.diarized.json", "segments"), ("two.verbose.json", "words")):
        told = json.loads((tmp_path / name).read_text())
        assert {piece["speaker"] for piece in told[key]} == {"A", "B"}


def test_nothing_but_the_transcript_is_printed_on_stdout() -> None:
    answer = run(str(TWO), "--diarization-model", "embedded")
    assert {line.partition(": ")[0] for line in answer.stdout.splitlines()} == {"A", "B"}
    told = answer.stderr.splitlines()
    assert len(told) == 2, told  # the models, and the file


def test_a_pipeline_that_cannot_be_had_ends_the_command_with_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    answer = run(str(TWO), "--diarize", "--num-speakers", "2")
    assert answer.exit_code == 1
    assert f"accepted the conditions of '{COMMUNITY_PIPELINE}'" in answer.stderr.splitlines()[-1]
