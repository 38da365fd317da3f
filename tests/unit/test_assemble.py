from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.domain import ChunkTranscript, Segment, Span, Task, Transcript, Word
from serve_app.stages.assemble import NO_SPEECH, GrowingText, assemble
from tests import fakes
from tests.fakes import transcript

SPANS = (Span(start_s=10, end_s=12), Span(start_s=20, end_s=23))  # 5 s of speech


def join(*chunks: tuple[tuple[Span, ...], ChunkTranscript], duration_s: float = 30.0) -> Transcript:
    return assemble(chunks, task=Task.TRANSCRIBE, duration_s=duration_s, model="demo")


def segment(start_s: float, end_s: float, *words: tuple[float, float]) -> Segment:
    own = tuple(Word(text=" a", start_s=a, end_s=b, probability=1.0) for a, b in words)
    return fakes.segment(" a", start_s, end_s, words=own or None)


def test_texts_are_joined_in_order_without_adding_spaces() -> None:
    made = join((SPANS, transcript(" one")), (SPANS, transcript(" two")), duration_s=4.0)
    assert (made.text, made.duration_s, made.model, made.warnings) == ("one two", 4.0, "demo", ())


@given(st.lists(st.text(alphabet=" ab\n", max_size=4), max_size=6))
def test_what_the_text_grows_by_is_the_whole_and_never_ends_in_spaces(texts: list[str]) -> None:
    growing = GrowingText()
    added = [growing.add(text) for text in texts]
    made = join(*((SPANS, transcript(text)) for text in texts), duration_s=4.0)
    assert "".join(added) == made.text == "".join(texts).strip()
    assert all(one == one.rstrip() for one in added)


def test_no_chunks_give_an_empty_text_and_a_warning() -> None:
    made = join()
    assert (made.text, made.language, made.warnings) == ("", None, (NO_SPEECH,))


def test_chunks_that_the_model_takes_for_silence_give_the_same_warning() -> None:
    assert join((SPANS, transcript("")), (SPANS, transcript(""))).warnings == (NO_SPEECH,)
    assert join((SPANS, transcript("")), (SPANS, transcript(" a"))).warnings == ()


def test_a_chunk_whose_text_was_cut_off_is_told_with_its_place() -> None:
    cut = transcript(" a", is_truncated=True)
    [warning] = join((SPANS, cut), (SPANS, transcript(" b"))).warnings
    assert warning.startswith("truncated: ")
    assert "10.0 to 23.0 s" in warning


def test_the_language_is_the_surest_chunks() -> None:
    unsure = transcript("a", language="en", language_probability=0.4)
    sure = transcript("b", language="tr", language_probability=0.9)
    made = join((SPANS, unsure), (SPANS, sure))
    assert (made.language, made.language_probability) == ("tr", 0.9)


def test_what_the_model_took_for_silence_does_not_tell_the_language() -> None:
    silent = transcript("", language="en", language_probability=0.93)
    spoken = transcript(" merhaba", language="tr", language_probability=0.8)
    made = join((SPANS, silent), (SPANS, spoken))
    assert (made.language, made.language_probability) == ("tr", 0.8)
    assert join((SPANS, silent)).language == "en"


def test_times_go_back_through_the_pauses_that_were_cut_out() -> None:
    chunk = transcript("a", segments=(segment(0.5, 2.0), segment(2.0, 4.5)))
    made = join((SPANS, chunk))
    assert [(s.start_s, s.end_s) for s in made.segments] == [(10.5, 12.0), (20.0, 22.5)]
    assert [(s.id, s.seek) for s in made.segments] == [(0, 1000), (1, 1000)]


def test_a_word_does_not_reach_over_a_pause() -> None:
    chunk = transcript("a", segments=(segment(0, 5, (1.5, 2.2), (2.2, 3.0)),))
    [one] = join((SPANS, chunk)).segments
    assert one.words is not None
    assert [(w.start_s, w.end_s) for w in one.words] == [(11.5, 12.0), (20.2, 21.0)]
    assert (one.start_s, one.end_s) == (11.5, 21.0)


@pytest.mark.parametrize(
    ("start_s", "end_s", "expected"),
    [
        (0.0, 2.08, (10.0, 12.0)),  # the end hangs over the seam, the speech does not
        (1.7, 4.5, (20.0, 22.5)),
        (1.6, 2.02, (11.6, 12.0)),  # short: it is where most of it is
        (1.98, 2.4, (20.0, 20.4)),
        (1.0, 3.0, (11.0, 21.0)),  # it does reach over the pause
    ],
)
def test_a_segment_that_only_just_reaches_over_a_pause_stays_on_its_side(
    start_s: float, end_s: float, expected: tuple[float, float]
) -> None:
    [one] = join((SPANS, transcript("a", segments=(segment(start_s, end_s),)))).segments
    assert (one.start_s, one.end_s) == pytest.approx(expected)


def test_a_segment_may_end_just_past_a_seam_without_a_pause() -> None:
    spans = (Span(start_s=0, end_s=24), Span(start_s=24, end_s=28))
    [one] = join((spans, transcript("a", segments=(segment(20, 24.3),)))).segments
    assert one.end_s == pytest.approx(24.3)


def test_segments_count_through_all_chunks() -> None:
    chunk = transcript("a", segments=(segment(0, 1), segment(1, 2)))
    later = (Span(start_s=25, end_s=30),)
    made = join((SPANS, chunk), (later, chunk))
    assert [s.id for s in made.segments] == [0, 1, 2, 3]
    assert made.segments[2].start_s == pytest.approx(25.0)


Times = st.lists(st.tuples(st.floats(0, 6), st.floats(0, 6)), max_size=5)


@given(Times, Times)
def test_no_time_is_negative_out_of_range_or_before_what_precedes_it(
    segments: list[tuple[float, float]], words: list[tuple[float, float]]
) -> None:
    first = transcript("a", segments=tuple(segment(a, b) for a, b in segments))
    second = transcript("b", segments=(segment(0, 3, *words),))
    later = (Span(start_s=25, end_s=28), Span(start_s=28.5, end_s=30))
    made = join((SPANS, first), (later, second))
    times = [t for s in made.segments for t in (s.start_s, s.end_s)]
    assert all(0 <= t <= 30 for t in times)
    assert all(a <= b for a, b in pairwise(times))
    spoken = [t for w in made.words for t in (w.start_s, w.end_s)]
    assert all(a <= b for a, b in pairwise(spoken))
    for s in made.segments:
        assert all(s.start_s <= w.start_s <= w.end_s <= s.end_s for w in s.words or ())
