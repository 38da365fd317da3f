"""Hostile files through the whole graph: no 5xx, and nobody else pays for them."""

from concurrent.futures import ThreadPoolExecutor

from tests.audio_files import packed_frames
from tests.clips import clip, references
from tests.mutants import mutant
from tests.serve.conftest import Graph

BOMB = packed_frames(50_000)  # 1.6 MB, 7 GB of frames in one packet


def test_damaged_files_are_200_or_400(graph: Graph) -> None:
    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(graph.post, (mutant(number).file for number in range(40))))
    assert {answer.status_code for answer in answers} == {200, 400}


def test_a_file_that_takes_all_memory_is_refused_and_costs_no_other_its_answer(
    graph: Graph,
) -> None:
    sound = clip("light")
    with ThreadPoolExecutor(4) as clients:
        bomb = clients.submit(graph.post, BOMB)
        others = list(clients.map(lambda _: graph.transcribe(sound), range(30)))
        refused = bomb.result()
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unprocessable_audio")
    assert others == [references()["light"]] * 30


def test_a_playlist_over_http_is_invalid_audio(graph: Graph) -> None:
    answer = graph.post(b"ffconcat version 1.0\nfile /etc/passwd\n")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_audio")
    assert "passwd" not in answer.text
