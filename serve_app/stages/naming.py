"""The speakers that a model tells apart in, their names out. Pure; called by `speakers`.

The model's own labels mean nothing to a caller: speakers get the names of the known voices that
they match, and A, B, C ... in the order in which they are first heard.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count
from string import ascii_uppercase

import numpy as np
from numpy.typing import NDArray

from serve_app.domain import Diarization, Turn

Vector = NDArray[np.float64]  # (d,): a voice, as the model's embedding describes it


def label(index: int) -> str:
    """Return the letter of the speaker of that index: A to Z, then AA, AB ..."""
    higher, letter = divmod(index, len(ascii_uppercase))
    return (label(higher - 1) if higher else "") + ascii_uppercase[letter]


def name_speakers(found: Diarization, known: Mapping[str, str]) -> Diarization:
    """Return the turns under the speakers' names.

    Args:
        found: under the model's labels.
        known: the names of those that are known, by label. No letter means one of them as well.
    """
    letters = _letters(taken=set(known.values()))
    names: dict[str, str] = {}
    for turn in (*found.turns, *found.exclusive):
        if turn.speaker not in names:
            names[turn.speaker] = known.get(turn.speaker) or next(letters)

    def named(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
        return tuple(replace(turn, speaker=names[turn.speaker]) for turn in turns)

    return replace(found, turns=named(found.turns), exclusive=named(found.exclusive))


def match_voices(
    heard: Mapping[str, Vector], known: Mapping[str, Vector], *, min_similarity: float
) -> dict[str, str]:
    """Return which of the speakers heard are known: label -> name, each at most once.

    The most similar pair is matched first.

    Args:
        heard: the voice of each speaker of the file, by label.
        known: the voices that the caller knows, by name.
        min_similarity: cosine of two voices that may be one speaker's.
    """
    pairs = sorted(
        (
            (similarity(voice, reference), speaker, name)
            for speaker, voice in heard.items()
            for name, reference in known.items()
        ),
        reverse=True,
    )
    matched: dict[str, str] = {}
    for alike, speaker, name in pairs:
        is_free = speaker not in matched and name not in matched.values()
        if is_free and alike >= min_similarity:
            matched[speaker] = name
    return matched


def similarity(one: Vector, other: Vector) -> float:
    """Return the cosine of the angle between two voices; -1 where one is all zeros."""
    norm = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / norm if norm else -1.0


def _letters(taken: set[str]) -> Iterator[str]:
    return (letter for letter in map(label, count()) if letter not in taken)
