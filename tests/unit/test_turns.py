from dataclasses import replace
from itertools import accumulate, pairwise

from serve_app.domain import Segment, Transcript, Turn, Word
from serve_app.stages.turns import assign_speakers, join_channels, smooth_turns
from tests import fakes


def turn(speaker: str, start_s: float, end_s: float) -> Turn:
    return Turn(speaker=speaker, start_s=start_s, end_s=end_s)


def word(text: str, start_s: float, end_s: float) -> Word:
    return Word(text=text, start_s=start_s, end_s=end_s, probability=0.9)


def segment(*words: Word, text: str = "", start_s: float = 0.0, end_s: float = 0.0) -> Segment:
    if not words:
        return fakes.segment(text, start_s, end_s)
    text = "".join(w.text for w in words)
    return fakes.segment(text, words[0].start_s, words[-1].end_s, tokens=(1, 2, 3), words=words)


def said(segments: tuple[Segment, ...]) -> list[tuple[str | None, str]]:
    return [(s.speaker, s.text) for s in segments]


def speaker_of(start_s: float, end_s: float, *turns: Turn) -> str | None:
    return assign_speakers([segment(word(" x", start_s, end_s))], turns)[0].speaker


A, B = turn("A", 0.0, 2.0), turn("B", 2.0, 4.0)


def test_a_segment_is_split_where_the_speaker_changes() -> None:
    words = (word(" how", 0.5, 0.9), word(" much", 1.0, 1.4), word(" two", 2.2, 2.6))
    made = assign_speakers([segment(*words)], [A, B])
    assert said(made) == [("A", " how much"), ("B", " two")]
    assert [(s.id, s.start_s, s.end_s) for s in made] == [(0, 0.5, 1.4), (1, 2.2, 2.6)]
    assert [[w.speaker for w in s.words or ()] for s in made] == [["A", "A"], ["B"]]


def test_a_segment_of_one_speaker_stays_as_it_is() -> None:
    whole = segment(word(" how", 0.5, 0.9), word(" much", 1.0, 1.4))
    [made] = assign_speakers([whole], [A, B])
    assert (made.text, made.tokens, made.start_s, made.end_s) == (" how much", (1, 2, 3), 0.5, 1.4)


def test_all_tokens_are_kept_once_where_a_segment_is_split() -> None:
    made = assign_speakers([segment(word(" a", 1, 1.5), word(" b", 3, 3.5))], [A, B])
    assert [s.tokens for s in made] == [(1, 2, 3), ()]


def test_a_word_across_a_turns_edge_belongs_to_the_speaker_of_its_larger_part() -> None:
    assert speaker_of(1.7, 2.2, A, B) == "A"
    assert speaker_of(1.9, 2.4, A, B) == "B"


def test_overlaps_with_several_turns_of_a_speaker_add_up() -> None:
    turns = [turn("A", 0, 0.3), turn("B", 0.3, 0.7), turn("A", 0.7, 1.0)]
    assert speaker_of(0.0, 1.0, *turns) == "A"


def test_a_word_in_a_gap_belongs_to_the_turn_whose_edge_is_nearest() -> None:
    # The middle of the long turn is farther away than that of the short one.
    turns = [turn("A", 0.0, 20.0), turn("B", 21.5, 22.0)]
    assert speaker_of(20.2, 20.5, *turns) == "A"
    assert speaker_of(21.1, 21.4, *turns) == "B"
    assert speaker_of(22.1, 22.4, *turns) == "B"


def test_a_word_far_from_every_turn_belongs_to_nobody() -> None:
    assert speaker_of(6.0, 6.3, A, B) is None
    assert speaker_of(4.9, 5.2, A, B) == "B"
    assert speaker_of(1.0, 1.3) is None


def test_a_word_without_length_is_assigned_by_its_place() -> None:
    assert speaker_of(1.0, 1.0, A, B) == "A"
    assert speaker_of(2.0, 2.0, A, B) in {"A", "B"}
    assert speaker_of(4.5, 4.5, A, B) == "B"


def test_a_word_stretched_over_silence_is_assigned_by_its_beginning() -> None:
    assert speaker_of(1.5, 9.0, A, turn("B", 3.0, 9.0)) == "A"


def test_a_segment_without_word_times_gets_the_speaker_of_most_of_it() -> None:
    made = assign_speakers([segment(text=" so it is", start_s=1.5, end_s=4.0)], [A, B])
    assert said(made) == [("B", " so it is")]


def test_an_interjection_of_one_word_keeps_its_speaker() -> None:
    turns = [turn("A", 0, 2.0), turn("B", 2.05, 2.35), turn("A", 2.4, 4.0)]
    words = (word(" then", 1.5, 2.0), word(" yes", 2.05, 2.35), word(" we", 2.5, 2.8))
    made = assign_speakers([segment(*words)], turns)
    assert said(made) == [("A", " then"), ("B", " yes"), ("A", " we")]


def test_a_flicker_in_the_midst_of_a_turn_is_smoothed() -> None:
    turns = [turn("A", 0, 2.0), turn("B", 2.0, 2.15), turn("A", 2.15, 4.0)]
    words = (word(" then", 1.5, 2.0), word(" it", 2.0, 2.15), word(" went", 2.2, 2.8))
    assert said(assign_speakers([segment(*words)], turns)) == [("A", " then it went")]


def test_flickers_in_a_row_are_smoothed_and_a_short_turn_with_pauses_around_is_not() -> None:
    flickers = [turn(who, i / 10, (i + 1) / 10) for i, who in enumerate("ABABA")]
    assert {t.speaker for t in smooth_turns(flickers)} == {"A"}
    alone = [turn("A", 0, 1), turn("B", 1.5, 1.7), turn("A", 2, 3)]
    assert smooth_turns(alone) == alone


def test_no_word_is_lost_or_moved_whatever_the_turns() -> None:
    ends = list(accumulate(0.3 for _ in range(100)))
    words = [word(f" {i}", a, b) for i, (a, b) in enumerate(pairwise([0.0, *ends]))]
    turns = [turn("ABC"[i % 3], i * 0.7, i * 0.7 + 0.5) for i in range(30)]
    made = assign_speakers([segment(*words[:50]), segment(*words[50:])], turns)
    assert [w.text for s in made for w in s.words or ()] == [w.text for w in words]
    assert [s.id for s in made] == list(range(len(made)))
    assert all({w.speaker for w in s.words or ()} == {s.speaker} for s in made)


def channel(*segments: Segment, probability: float = 1.0) -> Transcript:
    return Transcript(
        text="".join(s.text for s in segments).strip(),
        language="en",
        language_probability=probability,
        duration_s=9.0,
        model="m",
        segments=segments,
    )


def test_channels_are_joined_in_the_order_of_time() -> None:
    asked = segment(word(" who", 0.1, 0.5), word(" when", 3.0, 3.4), word(" where", 3.5, 3.9))
    answered = segment(word(" me", 1.0, 1.4), word(" now", 4.5, 4.9))
    made = join_channels([("A", channel(asked)), ("B", channel(answered))])
    assert said(made.segments) == [
        ("A", " who"),
        ("B", " me"),
        ("A", " when where"),
        ("B", " now"),
    ]
    assert made.text == "who me when where now"
    assert [(t.speaker, t.start_s) for t in made.turns or ()] == [
        *(("A", 0.1), ("B", 1.0), ("A", 3.0), ("B", 4.5))
    ]


def test_a_silent_channel_adds_nothing() -> None:
    spoken = channel(segment(word(" yes", 0, 0.5)), probability=0.4)
    made = join_channels([("A", channel()), ("B", spoken)])
    assert (said(made.segments), made.language_probability) == ([("B", " yes")], 0.4)


def test_what_is_wrong_with_any_channel_is_told_once_and_that_one_is_silent_is_not() -> None:
    cut = replace(channel(segment(word(" yes", 0, 0.5))), warnings=("truncated",))
    fine = channel(segment(word(" no", 1, 1.5)))
    silent = replace(channel(), warnings=("no_speech",))
    spoken = join_channels([("A", fine), ("B", cut), ("C", silent), ("D", cut)])
    assert spoken.warnings == ("truncated",)
    assert join_channels([("A", silent), ("B", silent)]).warnings == ("no_speech",)
