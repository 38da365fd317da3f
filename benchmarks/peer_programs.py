"""The other programs of `peers`, each in this process, with options that its users would set."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peer_sides import Asked, Clip, Heard
from benchmarks.results import say
from serve_app.domain import SAMPLE_RATE

N_PROMPT_TOKENS = 4  # start, language, task, no timestamps


class FasterWhisper:
    """faster-whisper's `WhisperModel`: one window after the other."""

    name = "faster-whisper"
    compute_type = "int8"
    batch = 1

    def __init__(self, directory: Path, *, threads: int) -> None:
        from faster_whisper import WhisperModel

        self.model = WhisperModel(
            str(directory), device="cpu", compute_type=self.compute_type, cpu_threads=threads
        )

    def transcribe(self, clips: Sequence[Clip], asked: Asked) -> list[Heard]:
        """Transcribe one clip after the other."""
        options = _faster_whisper_options(asked)
        if asked.n_tokens:
            options |= dict.fromkeys(
                ("compression_ratio_threshold", "log_prob_threshold", "no_speech_threshold")
            )
        return [
            _join(self.model.transcribe(clip.samples, without_timestamps=True, **options)[0])
            for clip in clips
        ]


class FasterWhisperBatched:
    """faster-whisper's `BatchedInferencePipeline` over all clips, as one file that is cut there."""

    name = "faster-whisper batched"

    def __init__(self, one: FasterWhisper, *, batch: int) -> None:
        from faster_whisper import BatchedInferencePipeline

        self._pipeline = BatchedInferencePipeline(one.model)
        self.compute_type = one.compute_type
        self.batch = batch

    def transcribe(self, clips: Sequence[Clip], asked: Asked) -> list[Heard]:
        """Transcribe the clips laid end to end; each is a window."""
        ends = np.cumsum([len(clip.samples) for clip in clips]) / SAMPLE_RATE
        starts = [0.0, *ends[:-1]]
        segments, _ = self._pipeline.transcribe(
            np.concatenate([clip.samples for clip in clips]),
            clip_timestamps=[
                {"start": start, "end": end} for start, end in zip(starts, ends, strict=True)
            ],
            vad_filter=False,
            batch_size=self.batch,
            **_faster_whisper_options(asked),
        )
        made: list[list[Any]] = [[] for _ in clips]
        for segment in segments:
            made[int(np.searchsorted(ends, segment.start + 0.01))].append(segment)
        return [_join(own) for own in made]


class OpenAIWhisper:
    """openai-whisper: one window after the other, at float32, as it runs on a CPU."""

    name = "openai-whisper"
    compute_type = "float32"
    batch = 1

    def __init__(self, checkpoint: Path, *, threads: int) -> None:
        import torch
        import whisper

        torch.set_num_threads(threads)
        self._model = whisper.load_model(str(checkpoint), device="cpu")

    def transcribe(self, clips: Sequence[Clip], asked: Asked) -> list[Heard]:
        """Transcribe one clip after the other."""
        options: dict[str, Any] = {
            "language": "en",
            "fp16": False,
            "without_timestamps": True,
            "condition_on_previous_text": False,
            "suppress_tokens": list(asked.suppressed),
        }
        if asked.n_tokens:
            options |= {"sample_len": asked.n_tokens, "temperature": 0.0} | dict.fromkeys(
                ("compression_ratio_threshold", "logprob_threshold", "no_speech_threshold")
            )
        made = [self._model.transcribe(clip.samples, **options) for clip in clips]
        return [
            Heard(text=m["text"].strip(), n_tokens=sum(len(s["tokens"]) for s in m["segments"]))
            for m in made
        ]


class Transformers:
    """transformers' pipeline, which insanely-fast-whisper runs, at float32."""

    name = "transformers"
    compute_type = "float32"

    def __init__(self, directory: Path, *, threads: int, batch: int) -> None:
        import torch
        from transformers import logging, pipeline

        logging.set_verbosity_error()  # it warns of options that its own pipeline hands over
        torch.set_num_threads(threads)
        self._pipeline: Any = pipeline(
            "automatic-speech-recognition", model=str(directory), device="cpu", dtype=torch.float32
        )
        self.batch = batch

    def transcribe(self, clips: Sequence[Clip], asked: Asked) -> list[Heard]:
        """Transcribe the clips in batches."""
        counter = _TokenCounter()
        made = self._pipeline(
            [{"raw": clip.samples, "sampling_rate": SAMPLE_RATE} for clip in clips],
            batch_size=self.batch,
            generate_kwargs={
                "language": "en",
                "task": "transcribe",
                "num_beams": 1,  # its own default is 5
                "max_new_tokens": asked.n_tokens,
                "suppress_tokens": [token for token in asked.suppressed if token >= 0],
                "logits_processor": [counter],
            },
        )
        return [
            Heard(text=m["text"].strip(), n_tokens=n)
            for m, n in zip(made, counter.n_tokens, strict=True)
        ]


class _TokenCounter:
    """Counts the tokens of each window: transformers shows it the logits of each step."""

    def __init__(self) -> None:
        self.n_tokens: list[int] = []  # by window
        self._length = 0  # of the sequences, prompt included

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        n_rows, length = input_ids.shape
        if length <= self._length:  # the next batch begins
            self._length = 0
        if not self._length:
            self.n_tokens += [0] * n_rows
        self._length = length
        for row in range(len(self.n_tokens) - n_rows, len(self.n_tokens)):
            self.n_tokens[row] += 1
        return scores


# Modules that a side needs beyond this project's own packages.
NEEDS = {OpenAIWhisper.name: "whisper", Transformers.name: "transformers"}


def present(names: Sequence[str]) -> list[str]:
    """Return which of the sides of these names can run; say how the others would be installed."""
    missing = [name for name in names if name in NEEDS and find_spec(NEEDS[name]) is None]
    for name in missing:
        say(f"{name} is not installed and left out: pip install 'serve_app[peers]'")
    return [name for name in names if name not in missing]


def _faster_whisper_options(asked: Asked) -> dict[str, Any]:
    options: dict[str, Any] = {
        "language": "en",
        "beam_size": 1,
        "condition_on_previous_text": False,
        "suppress_tokens": list(asked.suppressed),
    }
    if asked.n_tokens:
        # CTranslate2 generates half of `max_length` at most, and faster-whisper hands over prompt
        # and max_new_tokens together: ask for what makes n_tokens.
        options |= {"temperature": [0.0], "max_new_tokens": 2 * asked.n_tokens - N_PROMPT_TOKENS}
    return options


def _join(segments: Any) -> Heard:
    """Return what the segments of one clip say together."""
    made = list(segments)
    return Heard(
        text="".join(s.text for s in made).strip(), n_tokens=sum(len(s.tokens) for s in made)
    )
