"""Tokens in, pieces with times out. Pure. Times are in the chunk.

Whisper writes `<|0.00|> text <|2.40|><|2.40|> more <|4.00|>`: two timestamps in a row part two
segments.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

TIME_PRECISION_S = 0.02  # of one timestamp token


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One segment's tokens, timestamp tokens included, and its times."""

    start_s: float
    end_s: float
    tokens: tuple[int, ...]


def split_tokens(tokens: Sequence[int], *, first_timestamp: int, duration_s: float) -> list[Piece]:
    """Cut a chunk's tokens at its pairs of timestamps.

    openai/whisper's `transcribe` leaves text after the last pair to its next window. Chunks are
    decoded side by side here, so that text becomes a piece of its own, up to the chunk's end.

    Args:
        tokens: what the model wrote, without the end token.
        first_timestamp: the token `<|0.00|>`; every higher one is a timestamp too.
        duration_s: the chunk's length; no time is beyond it.

    Returns:
        The pieces that hold text, in order.
    """

    def time_of(token: int) -> float:
        return min((token - first_timestamp) * TIME_PRECISION_S, duration_s)

    def is_time(token: int) -> bool:
        return token >= first_timestamp

    cuts = [i for i in range(1, len(tokens)) if is_time(tokens[i - 1]) and is_time(tokens[i])]
    pieces = []
    for start, end in pairwise([0, *cuts, len(tokens)]):
        part = tokens[start:end]
        times = [time_of(token) for token in part if is_time(token)]
        if len(times) == len(part):
            continue  # no text
        start_s = time_of(part[0]) if is_time(part[0]) else 0.0
        end_s = times[-1] if is_time(part[-1]) and times[-1] > 0 else duration_s
        pieces.append(Piece(start_s=start_s, end_s=max(start_s, end_s), tokens=tuple(part)))
    return pieces
