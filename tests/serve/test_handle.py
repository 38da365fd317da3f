"""The door for other Ray apps: what may be given, what comes back, and from where it opens."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

from serve_app import (
    Pcm,
    SpeechRequest,
    Transcript,
    TranscriptDelta,
    TranscriptionError,
    TranscriptionRequest,
    to_dict,
    to_srt,
)
from serve_app.app import app
from serve_app.settings import AppSettings
from tests.clips import DATA, clip, encode, join, references, silence, speech
from tests.serve.conftest import TIMEOUT_S, Graph

LIGHT = DATA / "light.flac"
TEXT = references()["light"]


def transcribe(graph: Graph, *args: object) -> Transcript:
    made: Transcript = graph.handle.transcribe.remote(*args).result(timeout_s=TIMEOUT_S)
    return made


def test_bytes_a_path_samples_and_references_give_the_same_text(graph: Graph) -> None:
    data = LIGHT.read_bytes()
    pcm = Pcm(samples=clip("light"), rate=16_000)
    for audio in (data, LIGHT, str(LIGHT), pcm, ray.put(data), ray.put(pcm)):
        assert transcribe(graph, audio).text == TEXT
        assert transcribe(graph, audio, TranscriptionRequest()).text == TEXT


def test_a_stream_gives_deltas_in_order_and_then_the_transcript(graph: Graph) -> None:
    handle = graph.handle.options(stream=True)
    pcm = Pcm(samples=speech(20), rate=16_000)
    *deltas, last = list(handle.transcribe_stream.remote(pcm, TranscriptionRequest()))
    assert len(deltas) > 2
    assert all(isinstance(delta, TranscriptDelta) for delta in deltas)
    assert isinstance(last, Transcript)
    assert "".join(delta.text for delta in deltas) == last.text == transcribe(graph, pcm).text


def test_language_speech_and_models_are_told(graph: Graph) -> None:
    pcm = Pcm(samples=join("light", gap_s=2.0), rate=16_000)
    language = graph.handle.detect_language.remote(pcm).result(timeout_s=TIMEOUT_S)
    assert language.probabilities == (("en", 1.0),)
    [span] = graph.handle.detect_speech.remote(pcm).result(timeout_s=TIMEOUT_S)
    assert span.end_s < len(clip("light")) / 16_000 + 0.5
    asked = SpeechRequest()
    assert graph.handle.detect_speech.remote(pcm, asked).result(timeout_s=TIMEOUT_S) == (span,)
    [card] = graph.handle.list_models.remote().result(timeout_s=TIMEOUT_S)
    assert (card.name, card.state) == ("demo", "ready")


def test_a_transcript_becomes_subtitles_and_openais_object(graph: Graph) -> None:
    made = transcribe(graph, LIGHT, TranscriptionRequest(segments=True, words=True))
    fields = {"response_format": "srt", "timestamp_granularities[]": "word"}
    assert to_srt(made) == graph.post(LIGHT.read_bytes(), **fields).text
    fields = {"response_format": "verbose_json", "timestamp_granularities": "word,segment"}
    assert to_dict(made) == graph.post(LIGHT.read_bytes(), **fields).json()


@pytest.mark.parametrize(
    ("audio", "code", "param"),
    [
        ("/no/such/file.wav", "unreadable_file", "file"),
        (b"no audio", "invalid_audio", "file"),
        (Pcm(samples=silence(1.0), rate=5), "invalid_audio", "file"),
    ],
    ids=["path", "bytes", "samples"],
)
def test_an_error_tells_code_field_and_sentence_without_rays_traceback(
    audio: object, code: str, param: str, graph: Graph
) -> None:
    with pytest.raises(TranscriptionError) as caught:
        transcribe(graph, audio)
    error = caught.value
    assert (error.code, error.param, error.status) == (code, param, 400)
    assert "Traceback" not in error.message
    assert error.message.endswith(".")


def test_a_model_that_is_not_declared_is_the_same_error_as_over_http(graph: Graph) -> None:
    with pytest.raises(TranscriptionError) as caught:
        transcribe(graph, LIGHT, TranscriptionRequest(model="none"))
    error = graph.post(LIGHT.read_bytes(), model="none").json()["error"]
    assert {k: getattr(caught.value, k) for k in ("code", "param", "message")} == {
        k: error[k] for k in ("code", "param", "message")
    }
    assert caught.value.kind == error["type"]


def run_driver(code: str, address: str, **environment: str) -> str:
    """What a program prints that somebody starts in a shell of their own."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    made = subprocess.run(
        [sys.executable, "-c", code],
        env={**own, "RAY_ADDRESS": address, **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return made.stdout


def test_another_driver_gets_in_with_the_clusters_token(graph: Graph, tmp_path: Path) -> None:
    code = f"""
import ray
from ray import serve
from serve_app import TranscriptionError
ray.init(log_to_driver=False)
handle = serve.get_app_handle("whisper")
print(handle.transcribe.remote({str(LIGHT)!r}).result().text)
try:
    handle.transcribe.remote("/no/such/file").result()
except TranscriptionError as error:
    print(error.code)
"""
    address = ray.get_runtime_context().gcs_address
    token = (Path.home() / ".ray" / "auth_token").read_text().strip()
    as_this_user = run_driver(code, address, RAY_AUTH_MODE="token")
    as_another = run_driver(
        code, address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token, HOME=str(tmp_path)
    )
    assert as_this_user.splitlines() == as_another.splitlines() == [TEXT, "unreadable_file"]


@serve.deployment(ray_actor_options={"num_cpus": 0.1})
class Caller:
    """An app of somebody else, with the graph as a part of it."""

    def __init__(self, whisper: DeploymentHandle[Any]) -> None:
        self._whisper = whisper

    async def first_word(self, data: bytes) -> str:
        transcript = await self._whisper.transcribe.remote(data)
        return str(transcript.text.split()[0])


def test_the_graph_can_be_bound_into_another_app(graph: Graph) -> None:
    bound = Caller.bind(app(AppSettings()))
    handle = serve.run(bound, name="caller", route_prefix=None)
    try:
        made = handle.first_word.remote(encode(clip("light"))).result(timeout_s=TIMEOUT_S)
        assert made == TEXT.split()[0]
    finally:
        serve.delete("caller")
