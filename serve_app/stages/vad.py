"""Samples in, spans out: Silero VAD v6, as shipped in faster-whisper, or plain cuts.

Called by `pipeline.prepare` and `detection` for each decoded slice.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serve_app.domain import SAMPLE_RATE, Span, VadOptions

FRAME_S = 512 / SAMPLE_RATE  # what Silero judges at a time


class SpeechDetector:
    """Silero VAD, loaded once per process. It keeps no state between calls."""

    def __init__(self) -> None:
        from faster_whisper import vad

        self._vad = vad
        vad.get_vad_model()

    def find_speech(
        self,
        samples: NDArray[np.float32],  # (n,) at SAMPLE_RATE
        options: VadOptions,
        *,
        max_span_s: float,
    ) -> list[Span]:
        """Return the spans of speech, in order, none longer than `max_span_s`.

        A span that would be longer is cut at its last pause of about 0.1 s, else at the limit.
        Times are in the samples given: 0 is the first of them.
        """
        silero = self._vad.VadOptions(
            threshold=options.threshold,
            neg_threshold=options.neg_threshold,
            min_speech_duration_ms=round(options.min_speech_s * 1000),
            max_speech_duration_s=max_span_s,
            min_silence_duration_ms=round(options.min_silence_s * 1000),
            speech_pad_ms=round(options.speech_pad_s * 1000),
        )
        found = self._vad.get_speech_timestamps(samples, silero)
        return [
            Span(start_s=s["start"] / SAMPLE_RATE, end_s=s["end"] / SAMPLE_RATE)
            for s in found
            if s["end"] > s["start"]
        ]


def cut_at_quiet(
    samples: NDArray[np.float32],  # (n,) at SAMPLE_RATE
    *,
    max_span_s: float,
) -> list[Span]:
    """Return spans that cover all samples, each cut at the quietest moment of its last fifth.

    For audio whose silence is to be kept: a cut in a pause spares a word.
    """
    spans = []
    start, longest = 0, round(max_span_s * SAMPLE_RATE)
    while len(samples) - start > longest:
        search = start + longest * 4 // 5
        end = search + _quietest(samples[search : start + longest])
        spans.append(Span(start_s=start / SAMPLE_RATE, end_s=end / SAMPLE_RATE))
        start = end
    if len(samples) > start:
        spans.append(Span(start_s=start / SAMPLE_RATE, end_s=len(samples) / SAMPLE_RATE))
    return spans


def _quietest(samples: NDArray[np.float32]) -> int:
    """Return the middle of the 0.1 s with the least energy."""
    width = SAMPLE_RATE // 10
    energy = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    return int(np.argmin(energy[width:] - energy[:-width])) + width // 2


def split_open(
    spans: Sequence[Span],
    start_s: float,
    end_s: float,
    *,
    min_silence_s: float,
    onset_s: float,
) -> tuple[list[Span], float]:
    """Split off the last span of a slice where it may go on in the next one.

    Args:
        spans: of a slice that is not the file's last, without padding.
        start_s: where the slice begins, on the same clock as the spans.
        end_s: where it ends.
        min_silence_s: a shorter pause does not end a span.
        onset_s: how much of the silence before speech the next slice is to hear again.

    Returns:
        The spans that are final, and the time at which the next slice begins. A span that fills
        half of the slice or more is kept as far as it goes; `join_spans` joins its parts.
    """
    if not spans:
        return [], max(start_s, _on_frame(end_s - onset_s, start_s))
    *before, last = spans
    if last.end_s <= end_s - min_silence_s:
        return [*before, last], max(last.end_s, _on_frame(end_s - onset_s, start_s))
    if last.start_s >= (start_s + end_s) / 2:
        floor_s = before[-1].end_s if before else start_s
        return before, max(floor_s, _on_frame(last.start_s - onset_s, start_s))
    return [*before, last], last.end_s


def _on_frame(time_s: float, start_s: float) -> float:
    """Return the begin of the frame in which a time lies, in frames from a slice's start.

    A next slice that begins there has the frames that an uncut file would have.
    """
    return start_s + math.floor((time_s - start_s) / FRAME_S + 1e-6) * FRAME_S


def join_spans(
    spans: Sequence[Span], following: Sequence[Span], *, min_silence_s: float, max_span_s: float
) -> list[Span]:
    """Put the spans of a slice and of the following one together.

    The last and the first of them become one where the pause between them does not end a span.
    """
    if spans and following:
        before, after = spans[-1], following[0]
        is_one = after.start_s - before.end_s < min_silence_s
        if is_one and after.end_s - before.start_s <= max_span_s:
            joined = Span(start_s=before.start_s, end_s=after.end_s)
            return [*spans[:-1], joined, *following[1:]]
    return [*spans, *following]


def pad_spans(spans: Sequence[Span], pad_s: float, *, duration_s: float) -> list[Span]:
    """Widen spans on both sides, as far as half the pause to the next one (Silero's rule)."""
    padded = []
    for i, span in enumerate(spans):
        room_before_s = (span.start_s - spans[i - 1].end_s) / 2 if i else span.start_s
        is_last = i == len(spans) - 1
        room_after_s = (duration_s if is_last else spans[i + 1].start_s) - span.end_s
        padded.append(
            Span(
                start_s=span.start_s - min(pad_s, room_before_s),
                end_s=span.end_s + min(pad_s, room_after_s if is_last else room_after_s / 2),
            )
        )
    return padded
