"""The routes beside the transcriptions, through Serve's proxy and by a Python handle."""

import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests

from serve_app.domain import DetectedLanguage, Span, SpeechRequest, VadOptions
from serve_app.errors import InvalidAudioError, ModelNotFoundError
from tests.clips import clip, encode, references, silence, speech
from tests.serve.conftest import TIMEOUT_S, Graph

CLIP = encode(clip("light"))
AUDIO = {"content-type": "audio/wav"}


def post(graph: Graph, path: str, audio: bytes, **fields: str) -> requests.Response:
    return requests.post(
        graph.url + path, files={"file": ("upload", audio)}, data=fields, timeout=TIMEOUT_S
    )


def test_speech_is_found_where_it_is(graph: Graph) -> None:
    pcm = np.concatenate([silence(2), clip("light"), silence(2), clip("timer"), silence(2)])
    answer = post(graph, "/v1/audio/speech/timestamps", encode(pcm), threshold="0.5")
    first, second = answer.json()
    light_ms, timer_ms = (len(clip(name)) / 16 for name in ("light", "timer"))
    assert 1900 < first["start"] < 2600
    assert first["end"] < 2100 + light_ms
    assert second["start"] > 3900 + light_ms
    assert second["end"] < 4100 + light_ms + timer_ms


def test_the_speech_of_a_file_of_many_slices_is_found(graph: Graph) -> None:
    pcm = np.concatenate([speech(100), silence(30), speech(600), silence(8)])
    fields = {"threshold": "0.5", "min_silence_duration_ms": "5000"}
    answer = post(graph, "/v1/audio/speech/timestamps", encode(pcm), **fields)
    first, second = answer.json()
    assert first["end"] == pytest.approx(100_000, abs=1500)
    assert second["start"] == pytest.approx(130_000, abs=1500)
    assert second["end"] == pytest.approx(730_000, abs=1500)


def test_a_python_caller_gets_spans_and_languages_too(graph: Graph) -> None:
    request = SpeechRequest(vad=VadOptions(speech_pad_s=0.1))
    [span] = graph.handle.detect_speech.remote(CLIP, request).result()
    assert isinstance(span, Span)
    found: DetectedLanguage = graph.handle.detect_language.remote(CLIP).result()
    assert found.probabilities == (("en", 1.0),)
    with pytest.raises(InvalidAudioError):
        graph.handle.detect_speech.remote(b"no audio", request).result()
    with pytest.raises(ModelNotFoundError):
        graph.handle.detect_language.remote(CLIP, "none").result()


def test_the_language_of_a_file_is_told(graph: Graph) -> None:
    assert post(graph, "/v1/audio/language", CLIP, model="demo").json() == {
        "language": "english",
        "language_code": "en",
        "language_probability": 1.0,
        "probabilities": {"en": 1.0},
    }
    assert post(graph, "/v1/audio/language", encode(silence(3))).json()["language"] is None
    assert post(graph, "/v1/audio/language", b"no audio").status_code == 400
    assert post(graph, "/v1/audio/language", CLIP, model="none").status_code == 404


def test_fifty_bare_files_ten_at_a_time_are_all_answered(graph: Graph) -> None:
    url = f"{graph.url}/v1/audio/transcriptions?model=demo"

    def send(_: int) -> requests.Response:
        return requests.post(url, data=CLIP, headers=AUDIO, timeout=TIMEOUT_S)

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(send, range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["text"] for answer in answers} == {references()["light"]}


@pytest.mark.skipif(not shutil.which("ab"), reason="ab (apache2-utils) is not installed")
def test_apache_bench_gets_only_answers_of_200(graph: Graph, tmp_path: Path) -> None:
    (tmp_path / "clip.mp3").write_bytes(encode(clip("light"), "mp3", "libmp3lame"))
    url = f"{graph.url}/v1/audio/transcriptions?model=demo"
    command = ["ab", "-n", "50", "-c", "10", "-p", "clip.mp3", "-T", "audio/mpeg", url]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert re.search(r"Complete requests: +50\n", done.stdout)
    assert "Non-2xx" not in done.stdout


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("GET", "/v1/nothing", 404),
        ("PUT", "/v1/models", 405),
        ("POST", "/v1/audio/transcriptions", 400),
    ],
)
def test_every_answer_has_one_request_id(method: str, path: str, status: int, graph: Graph) -> None:
    for sent in ({}, {"x-request-id": "mine"}):
        answer = requests.request(method, graph.url + path, headers=sent, timeout=TIMEOUT_S)
        assert answer.status_code == status
        request_id = answer.headers["x-request-id"]  # two would be joined by a comma
        assert request_id == sent.get("x-request-id", request_id)
        assert "," not in request_id


def test_the_schema_and_the_page_are_served(graph: Graph) -> None:
    schema = requests.get(f"{graph.url}/openapi.json", timeout=TIMEOUT_S).json()
    assert "/v1/audio/transcriptions" in schema["paths"]
    assert "openapi.json" in requests.get(f"{graph.url}/docs", timeout=TIMEOUT_S).text


def test_the_five_requests_of_halkspeechs_clients_are_answered(graph: Graph) -> None:
    for name in ("demo", "embedded", "whisper-1"):
        answer = requests.post(f"{graph.url}/v1/models/{name}", timeout=TIMEOUT_S)
        assert (answer.status_code, answer.json()["state"]) == (200, "ready")
    running = requests.get(f"{graph.url}/api/ps", timeout=TIMEOUT_S).json()
    assert running == {"models": ["demo"], "replicas": {"demo": 1}}
