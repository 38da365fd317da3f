"""Samples in, speech spans out: Silero VAD v6, as shipped in faster-whisper.

Called by `pipeline.prepare` for each decoded slice.
"""

import numpy as np
from numpy.typing import NDArray

from serve_app.domain import SAMPLE_RATE, Span
from serve_app.settings import VadSettings


class SpeechDetector:
    """Silero VAD, loaded once per process. It keeps no state between calls."""

    def __init__(self) -> None:
        from faster_whisper import vad

        self._vad = vad
        vad.get_vad_model()

    def find_speech(
        self,
        samples: NDArray[np.float32],  # (n,) at SAMPLE_RATE
        settings: VadSettings,
        *,
        max_span_s: float,
    ) -> list[Span]:
        """Return the spans of speech, in order, none longer than `max_span_s`.

        A span that would be longer is cut at its last pause of about 0.1 s, else at the limit.
        Times are in the samples given: 0 is the first of them.
        """
        options = self._vad.VadOptions(
            threshold=settings.threshold,
            min_speech_duration_ms=round(settings.min_speech_s * 1000),
            max_speech_duration_s=max_span_s,
            min_silence_duration_ms=round(settings.min_silence_s * 1000),
            speech_pad_ms=round(settings.speech_pad_s * 1000),
        )
        found = self._vad.get_speech_timestamps(samples, options)
        return [
            Span(start_s=s["start"] / SAMPLE_RATE, end_s=s["end"] / SAMPLE_RATE)
            for s in found
            if s["end"] > s["start"]
        ]
