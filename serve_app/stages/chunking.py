"""Speech spans in, groups of spans out: each group is one chunk for the model. Pure.

Called by `pipeline.prepare`. Packing spans toward the window's length matters: the encoder costs
the same for a window that is nearly empty.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from serve_app.domain import SAMPLE_RATE, Chunk, Span


def group_spans(spans: Iterable[Span], *, max_chunk_s: float) -> list[tuple[Span, ...]]:
    """Pack consecutive spans into groups of at most `max_chunk_s` seconds of speech.

    Order is kept and every moment of every span lands in exactly one group; a span that is longer
    than a chunk is cut into pieces.
    """
    groups: list[tuple[Span, ...]] = []
    group: list[Span] = []
    room_s = max_chunk_s
    for span in (piece for s in spans for piece in _split(s, max_chunk_s)):
        if group and span.duration_s > room_s + _HALF_SAMPLE_S:
            groups.append(tuple(group))
            group, room_s = [], max_chunk_s
        group.append(span)
        room_s -= span.duration_s
    if group:
        groups.append(tuple(group))
    return groups


def clip_spans(clips: Sequence[float], *, start_s: float, end_s: float) -> list[Span]:
    """Return the parts of a caller's clips that lie in one slice of the audio.

    Args:
        clips: start, end, start, end, ... in rising order; a last start without an end goes to the
            end of the audio.
        start_s: where the slice begins.
        end_s: where it ends.
    """
    bounds = [*clips, math.inf] if len(clips) % 2 else clips
    return [
        Span(start_s=max(a, start_s), end_s=min(b, end_s))
        for a, b in zip(bounds[::2], bounds[1::2], strict=True)
        if min(b, end_s) > max(a, start_s)
    ]


def hold_back(
    groups: Sequence[tuple[Span, ...]], *, start_s: float, end_s: float, onset_s: float
) -> tuple[list[tuple[Span, ...]], float]:
    """Split off what the next slice of the audio could still change.

    The last group may go on beyond the slice, so the next slice begins where that group does. A
    slice with a single group keeps it, less a span that touches the slice's end; one that fills the
    slice is kept whole. So the next slice always begins later than this one.

    Args:
        groups: the chunks found in a slice that is not the file's last.
        start_s: where the slice begins, on the same clock as the groups.
        end_s: where it ends.
        onset_s: how much audio before the slice's end the next slice hears again where the slice
            ends in silence, so that a word that begins there keeps its onset; of the slice itself
            half at the most.

    Returns:
        The groups that are final, and the time at which the next slice begins.
    """
    if len(groups) > 1:
        return list(groups[:-1]), groups[-1][0].start_s
    quiet_s = end_s - min(onset_s, (end_s - start_s) / 2)
    if not groups:
        return [], quiet_s
    *complete, last = groups[0]
    if last.end_s <= quiet_s and last.end_s < end_s:
        return list(groups), quiet_s
    if last.start_s <= start_s:
        return list(groups), last.end_s
    return ([tuple(complete)] if complete else []), last.start_s


def cut_chunk(
    pcm: NDArray[np.int16],  # (n,), a slice of the audio
    spans: tuple[Span, ...],
    *,
    slice_start_s: float,
) -> Chunk:
    """Lay the samples of `spans` end to end. The spans are in the caller's time."""
    pieces = [
        pcm[_sample(s.start_s - slice_start_s) : _sample(s.end_s - slice_start_s)] for s in spans
    ]
    return Chunk(pcm=np.concatenate(pieces), spans=spans)


_HALF_SAMPLE_S = 0.5 / SAMPLE_RATE  # sums of span lengths are compared to within this


def _sample(time_s: float) -> int:
    return round(time_s * SAMPLE_RATE)


def _split(span: Span, max_s: float) -> Iterable[Span]:
    start_s = span.start_s
    while span.end_s - start_s > max_s + _HALF_SAMPLE_S:
        yield Span(start_s=start_s, end_s=start_s + max_s)
        start_s += max_s
    yield Span(start_s=start_s, end_s=span.end_s)
