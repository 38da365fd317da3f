"""Aligned words in, the words of each piece out. Pure. Times are in the chunk.

The rules for words that the alignment stretches over a pause are openai/whisper's
`add_word_timestamps` (timing.py), as faster-whisper keeps them. One is ours: the alignment's path
starts at a chunk's first frame whatever is heard there, so the first word would get the silence
before it; where the model wrote a later time, that is where the word begins.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import TypedDict

from serve_app.domain import Word
from serve_app.stages.whisper.segments import Piece

SENTENCE_ENDS = ".。!！?？"
PREPENDED = "\"'“¿([{-"  # punctuation that belongs to the word after it
APPENDED = "\"'.。,，!！?？:：”)]}、"  # punctuation that belongs to the word before it
LONGEST_MEDIAN_S = 0.7  # a word's typical length is taken to be no more than this


class AlignedWord(TypedDict):
    """One word as the model's attention places it (`WhisperModel.find_alignment`)."""

    word: str
    tokens: list[int]
    start: float  # s
    end: float  # s
    probability: float


def place_words(
    aligned: list[AlignedWord], pieces: Sequence[Piece], n_text_tokens: Sequence[int]
) -> list[tuple[Piece, tuple[Word, ...]]]:
    """Give each piece its words, and the piece the times of its first and last word.

    Args:
        aligned: the chunk's words in order. They are changed.
        pieces: the chunk's pieces in order.
        n_text_tokens: how many of each piece's tokens are text.
    """
    from faster_whisper.transcribe import merge_punctuations

    typical_s = _typical_length_s(aligned)
    _cut_at_sentence_ends(aligned, 2 * typical_s)
    merge_punctuations(aligned, PREPENDED, APPENDED)
    rest = iter(aligned)
    last_end_s = 0.0
    placed = []
    for piece, n_tokens in zip(pieces, n_text_tokens, strict=True):
        own = list(_take(rest, n_tokens))
        fitted = piece
        if own:
            _shorten_after_pause(own, last_end_s, typical_s)
            if last_end_s == 0.0:
                _begin_where_written(own[0], piece)
            fitted = _fit(own, piece, typical_s)
            last_end_s = fitted.end_s
        placed.append((fitted, tuple(_word(word) for word in own)))
    return placed


def _typical_length_s(aligned: Sequence[AlignedWord]) -> float:
    lengths_s = [w["end"] - w["start"] for w in aligned if w["end"] > w["start"]]
    return min(LONGEST_MEDIAN_S, median(lengths_s)) if lengths_s else 0.0


def _cut_at_sentence_ends(aligned: Sequence[AlignedWord], longest_s: float) -> None:
    """Shorten an overlong word beside the end of a sentence, in place."""
    for before, word in pairwise(aligned):
        if longest_s > 0 and word["end"] - word["start"] > longest_s:
            if word["word"] in SENTENCE_ENDS:
                word["end"] = word["start"] + longest_s
            elif before["word"] in SENTENCE_ENDS:
                word["start"] = word["end"] - longest_s


def _take(words: Iterator[AlignedWord], n_tokens: int) -> Iterator[AlignedWord]:
    """Take words until they account for that many tokens; empty ones were merged into others."""
    while n_tokens > 0 and (word := next(words, None)):
        n_tokens -= len(word["tokens"])
        if word["word"]:
            yield word


def _shorten_after_pause(words: list[AlignedWord], last_end_s: float, typical_s: float) -> None:
    """Shorten the first words after a pause, which the alignment tends to begin too early."""
    first, longest_s = words[0], 2 * typical_s
    second = words[1] if len(words) > 1 else None
    if first["end"] - last_end_s <= 4 * typical_s:
        return
    first_is_long = first["end"] - first["start"] > longest_s
    if first_is_long or (second and second["end"] - first["start"] > 2 * longest_s):
        if second and second["end"] - second["start"] > longest_s:
            boundary_s = max(second["end"] / 2, second["end"] - longest_s)
            first["end"] = second["start"] = boundary_s
        first["start"] = max(0.0, first["end"] - longest_s)


def _begin_where_written(first: AlignedWord, piece: Piece) -> None:
    """Begin a chunk's first word at the timestamp before it, where that lies within the word."""
    if first["start"] < piece.start_s < first["end"]:
        first["start"] = piece.start_s


def _fit(words: list[AlignedWord], piece: Piece, typical_s: float) -> Piece:
    """Make a piece and its outer words agree: a timestamp wins where a word is far too long."""
    first, last = words[0], words[-1]
    if piece.start_s < first["end"] and piece.start_s - 0.5 > first["start"]:
        first["start"] = max(0.0, min(first["end"] - typical_s, piece.start_s))
    if piece.end_s > last["start"] and piece.end_s + 0.5 < last["end"]:
        last["end"] = max(last["start"] + typical_s, piece.end_s)
    return replace(piece, start_s=first["start"], end_s=max(first["start"], last["end"]))


def _word(word: AlignedWord) -> Word:
    return Word(
        text=word["word"],
        start_s=float(word["start"]),
        end_s=float(word["end"]),
        probability=float(word["probability"]),
    )
