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


def before_end(tokens: list[int], *, first_timestamp: int, duration_s: float) -> list[int]:
    """Return the tokens less the segments that begin when the chunk is over.

    The model makes such text up from the padding of its window. A first segment stays.

    Args:
        tokens: what the model wrote, without the end token.
        first_timestamp: as for `split_tokens`.
        duration_s: the chunk's length.
    """
    for cut in _cuts(tokens, first_timestamp):
        is_over = (tokens[cut] - first_timestamp) * TIME_PRECISION_S >= duration_s
        if is_over and any(token < first_timestamp for token in tokens[:cut]):
            return tokens[:cut]
    return tokens


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

    pieces = []
    for start, end in pairwise([0, *_cuts(tokens, first_timestamp), len(tokens)]):
        part = tokens[start:end]
        times = [time_of(token) for token in part if is_time(token)]
        if len(times) == len(part):
            continue  # no text
        start_s = time_of(part[0]) if is_time(part[0]) else 0.0
        end_s = times[-1] if is_time(part[-1]) and times[-1] > 0 else duration_s
        pieces.append(Piece(start_s=start_s, end_s=max(start_s, end_s), tokens=tuple(part)))
    return pieces


def _cuts(tokens: Sequence[int], first_timestamp: int) -> list[int]:
    """Return where a segment begins: at the second of two timestamps in a row."""
    pairs = enumerate(pairwise(tokens), 1)
    return [i for i, pair in pairs if min(pair) >= first_timestamp]
