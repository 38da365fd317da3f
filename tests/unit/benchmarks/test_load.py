"""The load itself against a server that answers each file by its content."""

import time
from pathlib import Path

import click
import pytest

from benchmarks.clients import Client, client_of, named_urls, record
from benchmarks.load import Load
from benchmarks.utterances import Clip, Utterance, clips_in, told_apart
from benchmarks.verdicts import Verdict
from tests.clips import clip, encode
from tests.transcription_server import transcription_server

TEXTS = {
    b"<a>": "turn on the light in the kitchen",
    b"<b>": "the train leaves at nine thirty",
    b"<c>": "set a timer for ten minutes",
}
CLIPS = [Clip(audio=audio, duration_s=2.0) for audio in TEXTS]


def own_text(body: bytes) -> tuple[int, str]:
    return 200, next(text for audio, text in TEXTS.items() if audio in body)


def test_a_closed_loop_ends_after_as_many_requests_as_it_may_send() -> None:
    with transcription_server(own_text) as url:
        utterances = record(url, Client(), CLIPS)
        load = Load(url, utterances, Client(), exact=False, n_at_most=7)
        with load.closed_loop(4):
            waited_s = load.wait(30.0)
    assert waited_s < 20.0
    assert [row.request_id for row in sorted(load.rows, key=lambda r: r.request_id)] == [*range(7)]
    assert {row.verdict for row in load.rows} == {Verdict.OK}
    assert {row.audio_s for row in load.rows} == {2.0}


def test_an_open_loop_sends_on_while_nothing_is_answered_and_counts_from_when_it_was_due() -> None:
    def slowly(body: bytes) -> tuple[int, str]:
        time.sleep(0.5)
        return own_text(body)

    with transcription_server(slowly) as url:
        load = Load(url, record(url, Client(), CLIPS), Client(), n_at_most=20)
        with load.open_loop(100.0):
            waited_s = load.wait(30.0)
    assert waited_s < 8.0  # one after the other would take 10 s
    assert all(row.took_s >= 0.5 for row in load.rows)
    assert len(load.rows) == 20


def test_a_wrong_clips_text_is_counted_and_a_changed_word_is_not() -> None:
    calls = iter(range(100))

    def confuse(body: bytes) -> tuple[int, str]:
        i = next(calls)
        if i < len(CLIPS) or b"<a>" not in body:  # recorded first
            return own_text(body)
        return 200, "turn off the light in the kitchen" if i % 2 else TEXTS[b"<b>"]

    with transcription_server(confuse) as url:
        load = Load(url, record(url, Client(), CLIPS), Client(), exact=False, n_at_most=6)
        with load.closed_loop(1):
            load.wait(30.0)
    verdicts = [row.verdict for row in load.rows]
    assert verdicts.count(Verdict.VARIED) == 1
    assert verdicts.count(Verdict.MIXED) == 1
    assert verdicts.count(Verdict.OK) == 4


def test_the_fields_of_the_form_the_model_and_the_key_reach_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOME_KEY", "k-1")
    client = client_of("org/m", "SOME_KEY", ["language=en"])
    bodies: list[bytes] = []

    def keep(body: bytes) -> tuple[int, str]:
        bodies.append(body)
        return own_text(body)

    with transcription_server(keep) as url:
        record(url, client, CLIPS)
    assert b'name="language"\r\n\r\nen\r\n' in bodies[0]
    assert b'name="model"\r\n\r\norg/m\r\n' in bodies[0]
    assert client.api_key == "k-1"
    assert "k-1" not in repr(client)


def test_a_key_that_is_not_set_and_a_field_without_a_value_are_usage_errors() -> None:
    with pytest.raises(click.UsageError, match="NOT_SET_KEY"):
        client_of("m", "NOT_SET_KEY", [])
    with pytest.raises(click.UsageError, match="language"):
        client_of("m", None, ["language"])


def test_a_peer_has_a_name_and_a_url_with_or_without_v1() -> None:
    assert named_urls(["a=http://h:1", "b=http://h:2/v1/"]) == {
        "a": "http://h:1",
        "b": "http://h:2",
    }
    with pytest.raises(click.UsageError, match="NAME=URL"):
        named_urls(["http://h:1"])


def test_a_server_that_refuses_is_told_of_at_once() -> None:
    server = transcription_server(lambda _: (401, ""))
    with server as url, pytest.raises(click.ClickException, match="401"):
        record(url, Client(), CLIPS)


def test_a_server_that_says_the_same_of_every_clip_cannot_be_checked() -> None:
    server = transcription_server(lambda _: (200, "thank you"))
    with server as url, pytest.raises(click.ClickException, match="same text"):
        record(url, Client(), CLIPS)


def test_clips_with_nearly_the_same_words_are_not_told_apart() -> None:
    texts = ["one two three four five", "one two three four six", "seven eight", " "]
    utterances = [Utterance(audio=b"", text=text) for text in texts]
    assert [u.text for u in told_apart(utterances)] == ["one two three four five", "seven eight"]


def test_a_folder_gives_its_audio_files_with_their_names_and_lengths(tmp_path: Path) -> None:
    (tmp_path / "b.wav").write_bytes(encode(clip("light")))
    (tmp_path / "a.wav").write_bytes(encode(clip("timer")))
    (tmp_path / "notes.txt").write_text("no audio")
    clips = clips_in(tmp_path, 10)
    assert [c.name for c in clips] == ["a.wav", "b.wav"]
    assert clips[1].duration_s == pytest.approx(len(clip("light")) / 16_000, abs=0.01)
    assert [c.name for c in clips_in(tmp_path, 1)] == ["a.wav"]
