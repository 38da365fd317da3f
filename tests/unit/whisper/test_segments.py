from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.stages.whisper.segments import Piece, before_end, split_tokens

T0 = 1000  # <|0.00|>


def at(time_s: float) -> int:
    return T0 + round(time_s / 0.02)


def split(*tokens: int, duration_s: float = 30.0) -> list[tuple[float, float, tuple[int, ...]]]:
    pieces = split_tokens(tokens, first_timestamp=T0, duration_s=duration_s)
    return [(p.start_s, p.end_s, tuple(t for t in p.tokens if t < T0)) for p in pieces]


def test_a_pair_of_timestamps_parts_two_pieces() -> None:
    assert split(at(0), 1, 2, at(2), at(2.5), 3, at(4)) == [(0, 2, (1, 2)), (2.5, 4, (3,))]


def test_text_without_timestamps_is_one_piece_of_the_chunks_length() -> None:
    assert split(1, 2, 3, duration_s=4.2) == [(0.0, 4.2, (1, 2, 3))]


def test_a_last_timestamp_ends_the_only_piece() -> None:
    assert split(at(0), 1, at(3.1)) == [(0, pytest.approx(3.1), (1,))]


def test_text_after_the_last_pair_is_kept_up_to_the_chunks_end() -> None:
    assert split(at(0), 1, at(2), at(2), 5, duration_s=6.0) == [(0, 2, (1,)), (2, 6.0, (5,))]


def test_timestamps_without_text_give_no_piece() -> None:
    assert split() == []
    assert split(at(0), at(5)) == []
    assert split(at(0), 1, at(2), at(2)) == [(0, 2, (1,))]


def test_text_after_the_audio_s_end_is_left_out_but_for_a_first_segment() -> None:
    def kept(*tokens: int, duration_s: float = 20.0) -> list[int]:
        return before_end(list(tokens), first_timestamp=T0, duration_s=duration_s)

    real = (at(0), 1, at(10))
    assert kept(*real, at(26), 2, at(28), at(28), 3) == list(real)
    assert kept(*real, at(20), 2) == list(real)
    assert kept(*real, at(19.9), 2, at(26)) == [*real, at(19.9), 2, at(26)]
    assert kept(at(0), at(26), 2, at(28)) == [at(0), at(26), 2, at(28)]
    assert kept() == []


@given(st.lists(st.integers(0, T0 + 1500), max_size=40), st.floats(0.1, 30))
def test_every_text_token_is_in_one_piece_and_no_time_beyond_the_chunk(
    tokens: list[int], duration_s: float
) -> None:
    pieces: list[Piece] = split_tokens(tokens, first_timestamp=T0, duration_s=duration_s)
    kept = [t for piece in pieces for t in piece.tokens if t < T0]
    assert kept == [t for t in tokens if t < T0]
    assert all(0 <= p.start_s <= p.end_s <= duration_s for p in pieces)
    assert all(a is not b for a, b in pairwise(pieces))
