"""Samples in, the encoder's input out: log-mel features, and how wide their window is."""

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from serve_app.domain import SAMPLE_RATE, WINDOW_S

INT16_SCALE = 32768.0
FRAME_SAMPLES = 160  # 10 ms, one column of features
FULL_WINDOW = round(WINDOW_S * SAMPLE_RATE) // FRAME_SAMPLES  # frames
FIT_STEP = FULL_WINDOW // 6  # 5 s in frames: a fitted window is a multiple of this


def window_frames(n_samples: int, encoder_window: Literal["full", "fit"]) -> int:
    """Return the width of the encoder window that a chunk gets, in frames of 10 ms."""
    if encoder_window == "full":
        return FULL_WINDOW
    steps = math.ceil(n_samples / FRAME_SAMPLES / FIT_STEP)
    return min(FULL_WINDOW, max(1, steps) * FIT_STEP)


def extract_features(
    pcm: NDArray[np.int16],  # (n,)
    extractor: Any,
    n_frames: int,
) -> NDArray[np.float32]:  # (n_mels, n_frames)
    """Return a chunk's features, padded or cut to the window.

    Args:
        pcm: the chunk's samples at SAMPLE_RATE.
        extractor: the model's `faster_whisper.feature_extractor.FeatureExtractor`.
        n_frames: the width of the window.
    """
    from faster_whisper.audio import pad_or_trim

    features: NDArray[np.float32] = extractor(pcm.astype(np.float32) / INT16_SCALE)
    # The last frame belongs to the padding that the extractor adds.
    return pad_or_trim(features[..., :-1], n_frames)  # type: ignore[no-any-return]
