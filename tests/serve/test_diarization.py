"""Speakers in the whole graph: a second app on the same Ray, with the embedded pipeline."""

import io
import json
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
import ray
import requests
import srt
import webvtt
from click.testing import CliRunner
from openai.types.audio import TranscriptionDiarized
from ray import serve

from serve_app.api.fields import read_fields
from serve_app.api.forms import group_fields
from serve_app.app import app
from serve_app.cli import main
from serve_app.domain import Diarization, SpeakerOptions, Task
from serve_app.settings import AppSettings, DiarizationSettings
from serve_app.stages.render import render
from tests.clips import encode, join, speech
from tests.conversations import error_rate, recording, reference
from tests.serve.conftest import TIMEOUT_S, Graph

# Importing torch and pyannote.audio takes a minute where the disk is cold or the machine busy.
pytestmark = pytest.mark.timeout(400)

APP = "diarized"
SETTINGS = AppSettings(
    diarization=DiarizationSettings(min_similarity=0.7, max_audio_s=60.0),
    cold_start_wait_s=120.0,  # of a diarizer that is replaced on a busy machine
)


@pytest.fixture(scope="module")
def diarized(graph: Graph) -> Iterator[Graph]:
    """An app that tells speakers apart, beside the one that does not."""
    handle = serve.run(app(SETTINGS), name=APP, route_prefix="/diarized")
    yield Graph(f"{graph.url}/diarized", handle)
    serve.delete(APP)


@pytest.fixture(scope="module")
def client(diarized: Graph) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{diarized.url}/v1", api_key="none", max_retries=0)


def n_files() -> int:
    handle = serve.get_deployment_handle("SpeakerDiarizer", APP)
    return int(handle.n_files.remote().result(timeout_s=TIMEOUT_S))


def diarizer_tag() -> str:
    handle = serve.get_deployment_handle("SpeakerDiarizer", APP)
    return str(handle.info.remote().result(timeout_s=TIMEOUT_S))


def diarizer_actor(tag: str) -> Any:
    names = [a["name"] for a in ray.util.list_named_actors(all_namespaces=True)]
    return ray.get_actor(next(n for n in names if n.endswith(tag)), namespace="serve")


def test_a_request_that_does_not_ask_never_reaches_the_diarizer(diarized: Graph) -> None:
    before = n_files()
    for response_format in ("json", "verbose_json", "vtt"):
        assert diarized.post(recording("two"), response_format=response_format).ok
    assert diarized.post(recording("stereo"), multichannel="true").ok
    assert n_files() == before


def test_diarized_json_is_what_the_official_client_expects(client: openai.OpenAI) -> None:
    made = client.audio.transcriptions.create(
        model="gpt-4o-transcribe-diarize",
        file=("upload", recording("two")),
        response_format="diarized_json",
        chunking_strategy="auto",
    )
    assert isinstance(made, TranscriptionDiarized)
    TranscriptionDiarized.model_validate(made.model_dump(), strict=True)
    assert {segment.speaker for segment in made.segments} == {"A", "B"}
    assert " ".join(s.text for s in made.segments).split() == made.text.split()


def test_words_are_given_to_who_speaks_them(diarized: Graph) -> None:
    body = diarized.post(
        recording("two"),
        response_format="verbose_json",
        diarize="true",
        **{"timestamp_granularities[]": "word"},
    ).json()
    assert "warnings" not in body
    names: dict[str, str] = {}
    right = [
        names.setdefault(turn.speaker, word["speaker"]) == word["speaker"]
        for word in body["words"]
        for turn in reference("two")
        if turn.start_s <= (word["start"] + word["end"]) / 2 <= turn.end_s
    ]
    assert len(right) > 20
    assert sum(right) / len(right) > 0.85


@pytest.mark.usefixtures("one_blas_thread")
def test_every_door_tells_the_same_speakers(diarized: Graph, tmp_path: Path) -> None:
    # Understood without a fallback, which samples: its text would differ from door to door.
    file = tmp_path / "two.flac"
    file.write_bytes(encode(join("light", "timer"), "flac", "flac"))
    fields = {"response_format": "verbose_json", "diarize": "true"}
    fields["timestamp_granularities"] = "word,segment"
    over_http = diarized.post(file.read_bytes(), **fields).json()
    request = read_fields(group_fields(tuple(fields.items())), Task.TRANSCRIBE).request
    made = diarized.handle.transcribe.remote(str(file), request).result(timeout_s=TIMEOUT_S)
    words = ["transcribe", str(file), "--diarization-model", "embedded", "-m", "embedded"]
    words += ["--word-timestamps", "-f", "verbose_json"]
    answer = CliRunner().invoke(main, words)
    assert {word["speaker"] for word in over_http["words"]} <= {"A", "B"}
    assert json.loads(render(made, request).content) == over_http
    assert json.loads(answer.stdout) == over_http


def test_the_call_in_readme_tells_two_speakers(diarized: Graph) -> None:
    root = Path(__file__).parents[2]
    [line] = re.findall(r"^curl .*two\.ogg \\\n.*$", (root / "README.md").read_text(), re.MULTILINE)
    command = line.replace("http://127.0.0.1:8000", diarized.url)
    told = subprocess.run(["bash", "-c", command], cwd=root, capture_output=True, check=True)
    assert {segment["speaker"] for segment in json.loads(told.stdout)["segments"]} == {"A", "B"}


def test_subtitles_say_who_speaks(diarized: Graph) -> None:
    vtt = diarized.post(recording("two"), response_format="vtt", diarize="true").text
    assert {cue.voice for cue in webvtt.from_buffer(io.StringIO(vtt))} == {"A", "B"}
    text = diarized.post(recording("two"), response_format="srt", diarize="true").text
    assert {cue.content.partition(": ")[0] for cue in srt.parse(text)} == {"A", "B"}


def events_of(answer: requests.Response) -> list[dict[str, Any]]:
    assert answer.headers["content-type"].startswith("text/event-stream")
    *events, done = [line for line in answer.text.split("\n\n") if line.startswith("data: ")]
    assert done == "data: [DONE]"
    return [json.loads(one.removeprefix("data: ")) for one in events]


def test_a_stream_has_segments_with_speakers_before_its_end(diarized: Graph) -> None:
    events = events_of(
        diarized.post(recording("two"), response_format="diarized_json", stream="true")
    )
    kinds = [event["type"].removeprefix("transcript.text.") for event in events]
    assert list(dict.fromkeys(kinds)) == ["delta", "segment", "done"]
    text = "".join(e["delta"] for e in events if "delta" in e)
    assert text == events[-1]["text"]
    assert {e["speaker"] for e in events if e["type"].endswith("segment")} == {"A", "B"}


def test_turns_are_told_without_a_transcript(diarized: Graph) -> None:
    answer = requests.post(
        f"{diarized.url}/v1/audio/diarization",
        files={"file": ("upload", recording("three"))},
        timeout=TIMEOUT_S,
    )
    assert {turn["speaker"] for turn in answer.json()["segments"]} == {"A", "B", "C"}
    found: Diarization = diarized.handle.diarize.remote(
        recording("three"), SpeakerOptions(num_speakers=3)
    ).result(timeout_s=TIMEOUT_S)
    truth = reference("three")
    assert error_rate(truth, found.turns, duration_s=found.duration_s) < 0.15


def test_each_channel_is_a_speaker(graph: Graph) -> None:
    """In the app without a diarizer: it needs none."""
    body = graph.post(
        recording("stereo"), response_format="diarized_json", multichannel="true"
    ).json()
    left, right = dict.fromkeys(turn.speaker for turn in reference("stereo"))
    voices = {"A": left, "B": right}
    assert {segment["speaker"] for segment in body["segments"]} == {"A", "B"}
    for segment in body["segments"]:
        own = [t for t in reference("stereo") if t.speaker == voices[segment["speaker"]]]
        assert any(t.start_s - 0.5 <= segment["start"] < t.end_s for t in own)
    starts = [segment["start"] for segment in body["segments"]]
    assert starts == sorted(starts)


def test_the_channels_of_a_mono_file_are_one_speaker(graph: Graph) -> None:
    body = graph.post(recording("two"), response_format="diarized_json", multichannel="1").json()
    assert {segment["speaker"] for segment in body["segments"]} == {"A"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"diarize": "true"}, "diarize"), ({"response_format": "diarized_json"}, "response_format")],
)
def test_an_app_without_a_diarizer_says_what_its_profile_lacks(
    fields: dict[str, str], param: str, graph: Graph
) -> None:
    answer = graph.post(recording("two"), **fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert "no 'diarization:'" in answer.json()["error"]["message"]


def test_audio_beyond_the_limit_is_refused_only_with_speakers(diarized: Graph) -> None:
    long = encode(speech(61))
    refused = diarized.post(long, diarize="true", response_format="verbose_json")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "too_long_to_diarize")
    assert diarized.post(long).ok


def test_where_the_diarizer_dies_another_one_finds_the_speakers(diarized: Graph) -> None:
    audio, first, before = recording("two"), diarizer_tag(), n_files()
    with ThreadPoolExecutor(2) as pool:
        may = pool.submit(diarized.post, audio, diarize="true", response_format="verbose_json")
        must = pool.submit(diarized.post, audio, response_format="diarized_json")
        while n_files() < before + 2 and diarizer_tag() == first:
            assert not (may.done() and must.done()), (may.result().text, must.result().text)
            time.sleep(0.05)
        if diarizer_tag() == first:  # Serve may have replaced it on a busy machine
            ray.kill(diarizer_actor(first))
    for answer in (may.result(), must.result()):
        assert {segment["speaker"] for segment in answer.json()["segments"]} == {"A", "B"}
    assert "warnings" not in may.result().json()
    assert diarizer_tag() != first
