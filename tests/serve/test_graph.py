"""The whole graph on real Ray: HTTP and Python callers, the real engine, the embedded model."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import ray
import requests
from ray import serve

from benchmarks import processes
from serve_app.app import app
from serve_app.cli.graph import RAY_ENVIRONMENT
from serve_app.domain import Transcript, TranscriptionRequest
from serve_app.errors import InvalidAudioError, ModelNotFoundError
from serve_app.models import asset
from serve_app.settings import AppSettings
from serve_app.stages.assemble import NO_SPEECH
from tests.clips import DATA, clip, digits, encode, noise, references, silence, speech
from tests.serve.conftest import Graph
from tests.servers import wait_until


def error_of(answer: requests.Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return answer.status_code, error["code"], error["param"]


def test_the_bundled_clip_is_transcribed_word_for_word(graph: Graph) -> None:
    answer = graph.post(asset("sample/sample.flac").read_bytes())
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["text"] == asset("sample/sample.txt").read_text().strip()
    assert answer.json()["usage"] == {"type": "duration", "seconds": 5}


def test_text_is_the_bare_transcript(graph: Graph) -> None:
    answer = graph.post((DATA / "light.flac").read_bytes(), response_format="text")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == references()["light"] + "\n"


@pytest.mark.parametrize(
    ("container", "codec"),
    [("wav", "pcm_s16le"), ("flac", "flac"), ("ogg", "libopus"), ("mp4", "aac"), ("mp3", "mp3")],
)
def test_containers_are_told_by_their_bytes(container: str, codec: str, graph: Graph) -> None:
    data = encode(clip("timer"), container, codec) if container != "mp3" else _mp3()
    assert graph.post(data).json()["text"] == references()["timer"]


def _mp3() -> bytes:
    return encode(clip("timer"), "mp3", "libmp3lame")


def test_health_and_ready_are_200_once_the_graph_is_up(graph: Graph) -> None:
    assert requests.get(f"{graph.url}/health", timeout=10).status_code == 200
    answer = requests.get(f"{graph.url}/ready", timeout=10)
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


@pytest.mark.parametrize("pcm", [silence(3), noise(3)], ids=["silence", "noise"])
def test_audio_without_speech_is_200_with_an_empty_text(pcm: np.ndarray, graph: Graph) -> None:
    answer = graph.post(encode(pcm))
    assert answer.status_code == 200
    assert (answer.json()["text"], answer.json()["warnings"]) == ("", [NO_SPEECH])


@pytest.mark.parametrize(
    ("audio", "fields", "expected"),
    [
        (b"", {}, (400, "empty_file", "file")),
        (b"these are words, not sounds", {}, (400, "invalid_audio", "file")),
        (np.random.default_rng(0).bytes(5000), {}, (400, "invalid_audio", "file")),
        (encode(clip("light")[:1000]), {}, (400, "audio_too_short", "file")),
        (
            encode(clip("light")),
            {"response_format": "xml"},
            (400, "invalid_value", "response_format"),
        ),
        (encode(clip("light")), {"model": "none"}, (404, "model_not_found", "model")),
        (encode(clip("light")), {"language": "tr"}, (400, "invalid_value", "language")),
        (encode(clip("light")), {"beam_size": "99"}, (400, "invalid_value", "beam_size")),
    ],
    ids=["empty", "text", "random", "too-short", "format", "model", "language", "beam"],
)
def test_bad_input_is_refused_in_openais_shape(
    audio: bytes, fields: dict[str, str], expected: tuple[int, str, str], graph: Graph
) -> None:
    assert error_of(graph.post(audio, **fields)) == expected


def test_a_missing_file_is_refused(graph: Graph) -> None:
    url = f"{graph.url}/v1/audio/transcriptions"
    answer = requests.post(url, files={"model": (None, "demo")}, timeout=30)
    assert error_of(answer) == (400, "missing_required_parameter", "file")


def test_a_truncated_file_gives_what_is_there(graph: Graph) -> None:
    data = encode(speech(10))
    answer = graph.post(data[: len(data) // 2])
    assert answer.status_code == 200
    assert answer.json()["usage"]["seconds"] == 5


def test_every_concurrent_caller_gets_its_own_transcript(graph: Graph) -> None:
    numbers = [str(n) for n in np.random.default_rng(1).choice(np.arange(100, 1000), 32, False)]
    alone = [graph.transcribe(digits(number)) for number in numbers]
    with ThreadPoolExecutor(32) as pool:
        together = list(pool.map(lambda n: graph.transcribe(digits(n)), numbers))
    assert together == alone
    assert len(set(alone)) > 24  # so that a mix-up would show
    assert graph.gate_stats().max_owners >= 4


def test_killing_the_client_leaves_nothing_running(graph: Graph) -> None:
    data = encode(speech(900))
    before = graph.gate_stats()
    code = f"""
import requests, sys
data = sys.stdin.buffer.read()
requests.post({graph.url!r} + "/v1/audio/transcriptions", files={{"file": data}}, timeout=100)
"""
    client = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    assert client.stdin is not None
    client.stdin.write(data)
    client.stdin.close()
    wait_until(lambda: graph.gate_stats().n_batches > before.n_batches)
    client.kill()
    wait_until(lambda: (s := graph.gate_stats()).n_running == 0 and s.n_waiting == 0)
    ended = graph.gate_stats()
    time.sleep(2)
    assert graph.gate_stats() == ended
    assert ended.n_jobs - before.n_jobs < 900 / 5  # of the file's chunks of at most 5 s


def test_a_python_caller_gets_the_same_text_as_http(graph: Graph) -> None:
    data = (DATA / "train.flac").read_bytes()
    made: Transcript = graph.handle.transcribe.remote(data, TranscriptionRequest()).result()
    assert made.text == graph.post(data).json()["text"] == references()["train"]
    assert made.model == "demo"


def test_a_python_caller_gets_segments_and_words_in_the_files_time(graph: Graph) -> None:
    pcm = np.concatenate([silence(4), clip("light"), silence(4), clip("timer")])
    request = TranscriptionRequest(segments=True, words=True)
    made: Transcript = graph.handle.transcribe.remote(encode(pcm), request).result()
    assert made.text.startswith(references()["light"])
    assert made.text.endswith(references()["timer"])
    assert "".join(word.text for word in made.words).strip() == made.text
    later_s = 8 + len(clip("light")) / 16000  # where the second clip begins
    times_s = [word.start_s for word in made.words]
    n_second = len(references()["timer"].split())
    assert all(3.5 < t < later_s - 3.5 for t in times_s[:-n_second])
    assert all(t > later_s - 0.5 for t in times_s[-n_second:])
    assert [segment.id for segment in made.segments] == list(range(len(made.segments)))


def test_options_change_what_is_heard(graph: Graph) -> None:
    pcm = np.concatenate([clip("light"), silence(3), clip("timer")])
    first_only = graph.transcribe(pcm, clip_timestamps=f"0,{len(clip('light')) / 16000}")
    assert first_only == references()["light"]
    assert graph.transcribe(clip("light"), max_new_tokens="2") in references()["light"]
    assert graph.transcribe(silence(3), vad_filter="false") == ""


def test_a_python_caller_catches_typed_errors(graph: Graph) -> None:
    with pytest.raises(InvalidAudioError):
        graph.handle.transcribe.remote(b"no audio", TranscriptionRequest()).result()
    with pytest.raises(ModelNotFoundError):
        graph.handle.transcribe.remote(b"no audio", TranscriptionRequest(model="none")).result()


def test_ready_is_503_while_a_model_cannot_be_loaded(graph: Graph, tmp_path: str) -> None:
    settings = AppSettings.model_validate({"model": str(tmp_path)})
    broken = serve.RunTarget(app(settings), name="broken", route_prefix="/broken")
    serve.run_many([broken], wait_for_applications_running=False)
    try:
        wait_until(lambda: requests.get(f"{graph.url}/broken/health", timeout=60).ok)
        answer = requests.get(f"{graph.url}/broken/ready", timeout=30)
        assert answer.status_code == 503
        waiting = answer.json()["waiting_for"]
        assert any(name.startswith("WhisperTranscriber-") for name in waiting)
        assert requests.get(f"{graph.url}/ready", timeout=30).ok
    finally:
        serve.delete("broken")


def test_the_log_has_a_line_for_each_request_and_none_for_each_of_its_chunks(graph: Graph) -> None:
    logs = Path(ray._private.worker._global_node.get_logs_dir_path()) / "serve"

    def n_lines(deployment: str, text: str) -> int:
        files = logs.glob(f"replica_whisper_{deployment}_*.log")
        return sum(text in line for file in files for line in file.read_text().splitlines())

    before = n_lines("Ingress", "POST /v1/audio/transcriptions 200")
    graph.transcribe(clip("light"))
    wait_until(lambda: n_lines("Ingress", "POST /v1/audio/transcriptions 200") > before)
    for deployment in ("AudioPreprocessor", "WhisperTranscriber-demo"):
        assert n_lines(deployment, "INFO") > 0  # of its start
        assert n_lines(deployment, " OK ") == 0


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_rays_own_processes_allocate_without_caches(name: str, graph: Graph) -> None:
    [pid] = processes.started_as(name)
    assert psutil.Process(pid).environ()["MALLOC_CONF"] == RAY_ENVIRONMENT["RAY_JEMALLOC_CONF"]
