"""Stand-ins for the parts in which a fault or a delay must be planted."""

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from serve_app.domain import Chunk, ChunkJob, ChunkTranscript, DecodeOptions


def transcript(text: str = "", **fields: object) -> ChunkTranscript:
    """A chunk transcript that passes every test for a failed attempt, but for what is given."""
    good = dict(
        text=text,
        tokens=(1, 2),
        language="en",
        language_probability=1.0,
        temperature=0.0,
        avg_logprob=-0.2,
        compression_ratio=1.0,
        no_speech_prob=0.01,
    )
    return ChunkTranscript(**{**good, **fields})  # type: ignore[arg-type]


def job(value: int = 0, *, owner: str = "a", options: DecodeOptions | None = None) -> ChunkJob:
    """A job whose one sample is `value`, so that its answer can be told from others."""
    chunk = Chunk(pcm=np.array([value], np.int16), spans=())
    return ChunkJob(chunk=chunk, options=options or DecodeOptions(), request_id=owner)


class EchoEngine:
    """Answers each job with its first sample as text; can be slow, and can fail on a value."""

    def __init__(
        self,
        *,
        batch_s: float = 0.0,
        fails_on: Callable[[int], bool] = lambda value: False,
    ) -> None:
        self.batches: list[list[int]] = []
        self.busiest = 0  # batches that ran at the same time, at most
        self._batch_s = batch_s
        self._fails_on = fails_on
        self._running = 0
        self._lock = threading.Lock()

    def n_prompt_tokens(self, options: DecodeOptions) -> int:
        return len(options.prompt or "")

    def n_frames(self, chunk: Chunk) -> int:
        return 3000

    def transcribe(self, jobs: Sequence[ChunkJob]) -> list[ChunkTranscript | ChunkJob]:
        values = [int(j.chunk.pcm[0]) for j in jobs]
        with self._lock:
            self.batches.append(values)
            self._running += 1
            self.busiest = max(self.busiest, self._running)
        time.sleep(self._batch_s)
        with self._lock:
            self._running -= 1
        if any(self._fails_on(value) for value in values):
            raise RuntimeError("planted")
        return [transcript(str(value)) for value in values]
