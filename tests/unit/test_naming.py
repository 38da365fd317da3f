import numpy as np

from serve_app.domain import Diarization, Turn
from serve_app.stages.naming import label, match_voices, name_speakers


def found(*speakers: str) -> Diarization:
    turns = tuple(Turn(speaker=s, start_s=i, end_s=i + 1) for i, s in enumerate(speakers))
    return Diarization(turns=turns, exclusive=turns[::-1], duration_s=9.0)


def named(diarization: Diarization, known: dict[str, str]) -> list[str]:
    made = name_speakers(diarization, known)
    assert [t.speaker for t in made.exclusive] == [t.speaker for t in made.turns[::-1]]
    return [t.speaker for t in made.turns]


def test_speakers_are_lettered_as_they_are_first_heard() -> None:
    assert named(found("S7", "S2", "S7", "S0"), {}) == ["A", "B", "A", "C"]


def test_letters_go_on_after_z() -> None:
    assert [label(i) for i in (0, 25, 26, 27, 51, 52, 702)] == [
        *("A", "Z", "AA", "AB", "AZ", "BA", "AAA")
    ]


def test_a_known_speaker_has_its_name_and_the_others_letters() -> None:
    assert named(found("S0", "S1", "S2"), {"S1": "anna"}) == ["A", "anna", "B"]


def test_no_unknown_speaker_gets_a_known_ones_letter() -> None:
    assert named(found("S0", "S1"), {"S1": "A"}) == ["B", "A"]


VOICES = {"S0": np.array([1.0, 0.0]), "S1": np.array([0.6, 0.8])}


def test_voices_are_matched_with_the_most_similar() -> None:
    known = {"anna": np.array([0.0, 2.0]), "ben": np.array([3.0, 0.1])}
    assert match_voices(VOICES, known, min_similarity=0.5) == {"S0": "ben", "S1": "anna"}


def test_each_name_is_given_once() -> None:
    known = {"anna": np.array([1.0, 0.1])}
    assert match_voices(VOICES, known, min_similarity=0.5) == {"S0": "anna"}


def test_a_voice_that_nobody_knows_is_not_matched() -> None:
    known = {"anna": np.array([0.0, -1.0]), "nobody": np.zeros(2)}
    assert match_voices(VOICES, known, min_similarity=0.5) == {}
