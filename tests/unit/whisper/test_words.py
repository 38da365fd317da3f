import pytest

from serve_app.stages.whisper.segments import Piece
from serve_app.stages.whisper.words import AlignedWord, place_words


def word(text: str, start: float, end: float, n_tokens: int = 1) -> AlignedWord:
    return {
        "word": text,
        "tokens": [0] * n_tokens,
        "start": start,
        "end": end,
        "probability": 0.5,
    }


def piece(start_s: float, end_s: float) -> Piece:
    return Piece(start_s=start_s, end_s=end_s, tokens=())


def test_each_piece_gets_the_words_of_its_tokens() -> None:
    aligned = [word(" one", 0, 0.4), word(" two", 0.4, 0.8, n_tokens=2), word(" three", 2, 2.4)]
    placed = place_words(aligned, [piece(0, 1), piece(1.8, 2.5)], [3, 1])
    assert [[w.text for w in words] for _, words in placed] == [[" one", " two"], [" three"]]


def test_a_piece_takes_the_times_of_its_words() -> None:
    [(fitted, _)] = place_words([word(" a", 0.2, 0.6), word(" b", 0.6, 0.9)], [piece(0, 1)], [2])
    assert (fitted.start_s, fitted.end_s) == (0.2, 0.9)


def test_a_chunks_first_word_begins_where_the_model_wrote_that_it_does() -> None:
    aligned = [word(" one", 0, 0.7), word(" two", 1.5, 1.9)]
    placed = place_words(aligned, [piece(0.3, 0.8), piece(1.7, 2.0)], [1, 1])
    assert [(fitted.start_s, words[0].start_s) for fitted, words in placed] == [
        (0.3, 0.3),
        (1.5, 1.5),  # the alignment measures where a later word begins
    ]


def test_a_first_timestamp_outside_of_the_first_word_is_not_its_beginning() -> None:
    [(_, words)] = place_words([word(" a", 0, 0.3), word(" b", 0.3, 0.6)], [piece(0.4, 1)], [2])
    assert words[0].start_s == 0


def test_punctuation_goes_to_its_word() -> None:
    aligned = [
        word(" hi", 0, 0.3),
        word(",", 0.3, 0.4),
        word(" you", 0.4, 0.7),
        word("?", 0.7, 0.8),
    ]
    [(_, words)] = place_words(aligned, [piece(0, 1)], [4])
    assert [w.text for w in words] == [" hi,", " you?"]


def test_a_word_stretched_over_a_pause_before_it_is_shortened() -> None:
    steady = [word(f" {i}", 8 + i * 0.3, 8.3 + i * 0.3) for i in range(5)]
    [(_, words)] = place_words([word(" first", 0, 8), *steady], [piece(0, 10)], [6])
    assert words[0].end_s == 8
    assert words[0].start_s == pytest.approx(8 - 2 * 0.3)


def test_a_timestamp_wins_over_a_last_word_that_is_far_too_long() -> None:
    steady = [word(f" {i}", i * 0.3, 0.3 + i * 0.3) for i in range(5)]
    [(fitted, words)] = place_words([*steady, word(" last", 1.5, 9.0)], [piece(0, 2.0)], [6])
    assert words[-1].end_s == fitted.end_s == 2.0


def test_a_piece_without_words_keeps_its_times() -> None:
    assert place_words([], [piece(1, 2)], [0]) == [(piece(1, 2), ())]
