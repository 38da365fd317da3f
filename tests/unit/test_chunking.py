from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.domain import SAMPLE_RATE, Span
from serve_app.stages.chunking import cut_chunk, group_spans, hold_back


def spans_from(lengths: list[tuple[int, int]]) -> list[Span]:
    """Spans from (pause, speech) lengths in samples."""
    spans, at = [], 0
    for pause, speech in lengths:
        start, at = at + pause, at + pause + speech
        spans.append(Span(start_s=start / SAMPLE_RATE, end_s=at / SAMPLE_RATE))
    return spans


Lengths = st.lists(
    st.tuples(st.integers(0, 40 * SAMPLE_RATE), st.integers(1, 70 * SAMPLE_RATE)), max_size=12
)


@given(Lengths)
def test_every_moment_of_speech_is_in_exactly_one_chunk_in_order(
    lengths: list[tuple[int, int]],
) -> None:
    spans = spans_from(lengths)
    pieces = [s for group in group_spans(spans, max_chunk_s=30) for s in group]
    assert sum(p.duration_s for p in pieces) == pytest.approx(sum(s.duration_s for s in spans))
    assert all(a.end_s <= b.start_s for a, b in pairwise(pieces))


@given(Lengths, st.sampled_from([5.0, 30.0]))
def test_no_chunk_is_longer_than_allowed(lengths: list[tuple[int, int]], max_s: float) -> None:
    for group in group_spans(spans_from(lengths), max_chunk_s=max_s):
        n = sum(round(s.end_s * SAMPLE_RATE) - round(s.start_s * SAMPLE_RATE) for s in group)
        assert 0 < n <= max_s * SAMPLE_RATE + len(group)


def test_short_spans_are_packed_together() -> None:
    spans = [Span(start_s=t, end_s=t + 4) for t in (0, 10, 20, 30)]
    assert [len(g) for g in group_spans(spans, max_chunk_s=12)] == [3, 1]


def test_no_speech_gives_no_chunk() -> None:
    assert group_spans([], max_chunk_s=30) == []


def test_the_last_chunk_of_a_slice_is_left_to_the_next_slice() -> None:
    first, second = (Span(start_s=0, end_s=28),), (Span(start_s=30, end_s=59),)
    assert hold_back([first, second], start_s=0, end_s=60, onset_s=1) == ([first], 30)


def test_a_silent_slice_resumes_just_before_its_end() -> None:
    assert hold_back([], start_s=0, end_s=60, onset_s=0.5) == ([], 59.5)


def test_a_lone_chunk_that_ended_before_the_slice_did_is_final() -> None:
    lone = (Span(start_s=0, end_s=20),)
    assert hold_back([lone], start_s=0, end_s=60, onset_s=0.5) == ([lone], 59.5)


def test_a_lone_chunk_keeps_all_but_the_span_that_touches_the_end() -> None:
    early, late = Span(start_s=0, end_s=3), Span(start_s=50, end_s=60)
    assert hold_back([(early, late)], start_s=0, end_s=60, onset_s=0.5) == ([(early,)], 50)
    assert hold_back([(late,)], start_s=0, end_s=60, onset_s=0.5) == ([], 50)


def test_a_span_that_touches_the_end_is_held_back_where_no_onset_is_heard_again() -> None:
    cut = Span(start_s=50, end_s=60)
    assert hold_back([(cut,)], start_s=0, end_s=60, onset_s=0) == ([], 50)


@given(
    st.lists(st.tuples(st.floats(0, 30), st.floats(0.1, 30)), max_size=6),
    st.floats(0, 200),
)
def test_the_next_slice_begins_later_whatever_was_found(
    lengths: list[tuple[float, float]], onset_s: float
) -> None:
    start_s, end_s = 100.0, 160.0
    spans, at_s = [], start_s
    for pause_s, speech_s in lengths:
        if at_s + pause_s < end_s:
            end = min(end_s, at_s + pause_s + speech_s)
            spans.append(Span(start_s=at_s + pause_s, end_s=end))
            at_s = end
    groups = group_spans(spans, max_chunk_s=30)
    final, resume_s = hold_back(groups, start_s=start_s, end_s=end_s, onset_s=onset_s)
    assert start_s < resume_s <= end_s
    assert all(group[-1].end_s <= resume_s for group in final)


def test_a_chunk_holds_the_samples_of_its_spans_end_to_end() -> None:
    pcm = np.arange(SAMPLE_RATE, dtype=np.int16)
    spans = (Span(start_s=10.25, end_s=10.5), Span(start_s=10.75, end_s=11.0))
    chunk = cut_chunk(pcm, spans, slice_start_s=10.0)
    assert chunk.pcm.tolist() == [*range(4000, 8000), *range(12000, 16000)]
    assert chunk.spans == spans
