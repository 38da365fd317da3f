"""Samples in, spans out: Silero VAD v6, as shipped in faster-whisper, or plain cuts.

Called by `pipeline.prepare` for each decoded slice.
"""

import numpy as np
from numpy.typing import NDArray

from serve_app.domain import SAMPLE_RATE, Span, VadOptions


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
