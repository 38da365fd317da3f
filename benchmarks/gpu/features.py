"""Log-mel features: by numpy on one core and on all, and by torch on the GPU, where it is there."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from benchmarks.gpu.budget import Deadline
from benchmarks.gpu.engine import MS, Row, windows
from benchmarks.gpu.plan import Plan
from benchmarks.results import seconds
from serve_app.domain import SAMPLE_RATE, WINDOW_S
from serve_app.stages.audio import to_float32
from tests.clips import Pcm

N_MELS = 128  # of large-v3 and turbo
FRAME, HOP = 400, 160  # samples: openai/whisper, audio.py
BATCH = 64  # or the plan's largest
ROUNDS = 3


def features(plan: Plan, deadline: Deadline) -> Iterator[Row]:
    """Measure the features of a batch of full windows."""
    from faster_whisper.feature_extractor import FeatureExtractor

    extractor = FeatureExtractor(feature_size=N_MELS)
    batch = min(BATCH, max(plan.batches))
    clips = [chunk.pcm for chunk in windows(batch)]

    def on_one_core(pcm: Pcm) -> Any:
        return extractor(to_float32(pcm))[..., :-1]

    for n_threads in dict.fromkeys((1, os.cpu_count() or 1)):
        with ThreadPoolExecutor(n_threads) as pool:
            took_s = _best_s(lambda pool=pool: list(pool.map(on_one_core, clips)))
        yield {
            "by": "numpy",
            "threads": n_threads,
            "batch": batch,
            "ms_per_window": took_s / batch * MS,
        }
    try:
        torch_features = _TorchFeatures(extractor.mel_filters, plan.device)
    except ImportError as error:
        yield {"by": "torch", "left_out": str(error)}
        return

    def on_device() -> None:
        torch_features(clips)[0, 0, 0].item()  # waits for the device

    farthest = np.abs(torch_features(clips[:1])[0].cpu().numpy() - on_one_core(clips[0])).max()
    yield {
        "by": "torch",
        "on": plan.device,
        "batch": batch,
        "ms_per_window": _best_s(on_device) / batch * MS,
        "farthest_from_numpy": float(farthest),
    }


class _TorchFeatures:
    """openai/whisper's `log_mel_spectrogram` for full windows, from int16 samples."""

    def __init__(self, mel_filters: Any, device: str) -> None:
        import torch

        self._torch = torch
        self._device = torch.device(device)
        self._filters = torch.from_numpy(np.asarray(mel_filters, np.float32)).to(self._device)
        self._window = torch.hann_window(FRAME, device=self._device)

    def __call__(self, clips: Sequence[Pcm]) -> Any:
        """Return features of shape (n, n_mels, 3000), on the device."""
        torch = self._torch
        pcm = torch.from_numpy(np.stack(clips)).to(self._device).to(torch.float32) / 32768.0
        # As faster-whisper: a second window of silence behind the first keeps its last frames.
        pcm = torch.nn.functional.pad(pcm, (0, FRAME))
        spectrum = torch.stft(pcm, FRAME, HOP, window=self._window, return_complex=True)
        power = spectrum[..., : round(WINDOW_S * SAMPLE_RATE) // HOP].abs() ** 2
        log = torch.clamp(self._filters @ power, min=1e-10).log10()
        return (torch.maximum(log, log.amax((1, 2), keepdim=True) - 8.0) + 4.0) / 4.0


def _best_s(work: Any) -> float:
    work()
    return min(seconds(work) for _ in range(ROUNDS))
