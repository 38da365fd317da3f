from types import SimpleNamespace
from typing import Any

import pytest

from serve_app.domain import ChunkTranscript, DecodeOptions, Task
from serve_app.stages.assemble import GrowingText
from serve_app.stages.whisper.reading import Decoded, read
from serve_app.stages.whisper.words import AlignedWord
from tests.fakes import job

FIRST_TIMESTAMP = 0x110000  # a token below is the letter of that number


def text_of(tokens: list[int]) -> list[int]:
    return [token for token in tokens if token < FIRST_TIMESTAMP]


LETTERS: Any = SimpleNamespace(
    first_timestamp=FIRST_TIMESTAMP,
    text_of=text_of,
    room=lambda options, language: 440,
    decode=lambda tokens: "".join(map(chr, text_of(tokens))),
)


def read_text(text: str, language: str = "tr", **options: object) -> ChunkTranscript:
    """What is made of a text that the model wrote as one segment of one word."""
    tokens = list(map(ord, text))
    generated = SimpleNamespace(sequences_ids=[tokens], scores=[-0.5], no_speech_prob=0.0)
    word = AlignedWord(word=text, tokens=tokens, start=0.0, end=1.0, probability=1.0)
    decoded = Decoded(
        generated=generated, tokens=tokens, language=(language, 1.0), aligned=[word] if text else []
    )
    return read(job(options=DecodeOptions(**options)), decoded, LETTERS)  # type: ignore[arg-type]


def texts_of(made: ChunkTranscript) -> list[str]:
    """Its text, by itself and by its segments and words."""
    words = [word.text for segment in made.segments for word in segment.words or ()]
    return [made.text, "".join(s.text for s in made.segments), "".join(words)]


@pytest.mark.parametrize(
    ("text", "language", "task", "expected"),
    [
        (" Merhaba.", "tr", Task.TRANSCRIBE, " Merhaba."),
        ("Merhaba.", "tr", Task.TRANSCRIBE, " Merhaba."),
        ("こんにちは", "ja", Task.TRANSCRIBE, "こんにちは"),
        ("Hello.", "ja", Task.TRANSLATE, " Hello."),
    ],
)
def test_a_transcript_begins_with_a_space_where_its_language_has_spaces(
    text: str, language: str, task: Task, expected: str
) -> None:
    made = read_text(text, language, task=task, words=True)
    assert texts_of(made) == [expected] * 3


def test_an_empty_transcript_stays_empty() -> None:
    assert read_text("").text == ""


def test_words_of_two_chunks_are_not_glued_together() -> None:
    growing = GrowingText()
    added = [growing.add(read_text(text).text) for text in ("Merhaba.", "Nasılsın")]
    assert "".join(added) == "Merhaba. Nasılsın"


def test_a_text_as_long_as_its_budget_is_marked_as_truncated() -> None:
    budget = {"tokens_per_s": 1.0, "token_margin": 4}
    assert read_text(" abc", **budget).is_truncated
    assert not read_text(" ab", **budget).is_truncated
