"""Hostile files through the whole graph: no 5xx, and the replica that read them lives on."""

from concurrent.futures import ThreadPoolExecutor

from ray import serve

from tests.audio_files import packed_frames
from tests.mutants import mutant
from tests.serve.conftest import TIMEOUT_S, Graph

BOMB = packed_frames(50_000)  # 1.6 MB, 7 GB of frames in one packet


def preprocessor() -> str:
    handle = serve.get_deployment_handle("AudioPreprocessor", "whisper")
    return str(handle.info.remote().result(timeout_s=TIMEOUT_S))


def test_damaged_files_and_bombs_are_200_or_400_and_kill_nothing(graph: Graph) -> None:
    before = preprocessor()
    files = [mutant(number).file for number in range(60)]
    files[20:20] = [BOMB]
    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(graph.post, files))
    assert {answer.status_code for answer in answers} == {200, 400}
    assert answers[20].status_code == 400
    assert answers[20].json()["error"]["code"] == "unprocessable_audio"
    assert preprocessor() == before


def test_a_playlist_over_http_is_invalid_audio(graph: Graph) -> None:
    answer = graph.post(b"ffconcat version 1.0\nfile /etc/passwd\n")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_audio")
    assert "passwd" not in answer.text
