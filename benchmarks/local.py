"""The pipeline in this process, without Ray or HTTP: what the graph is compared with.

It does the same work as the graph: decode, find speech, cut, features, generate, assemble.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.random_model import end_token, random_model
from serve_app import models, pipeline
from serve_app.domain import (
    Chunk,
    ChunkJob,
    ChunkTranscript,
    DecodeOptions,
    Transcript,
    TranscriptionRequest,
)
from serve_app.settings import EMBEDDED, AppSettings
from serve_app.stages.vad import SpeechDetector
from serve_app.stages.whisper import WhisperEngine

DEFAULT_SUPPRESSED = -1  # the symbols that are no speech
N_TOKENS = 64  # per chunk, where the number is fixed


@dataclass(frozen=True, kw_only=True)
class Workpiece:
    """A model under test, and what a request must say so that the work is fixed."""

    name: str
    args: Mapping[str, Any]  # AppSettings
    fields: Mapping[str, str]  # of the HTTP form
    request: TranscriptionRequest  # the same
    fixed_tokens: bool  # every chunk costs N_TOKENS


def random_workpiece(
    shape: str, *, threads: int, quantization: str = "int8", **model: Any
) -> Workpiece:
    """Return a model of that shape with random weights; every chunk costs N_TOKENS tokens.

    Args:
        shape: a key of `random_model.SHAPES`.
        threads: of the engine, on a CPU.
        quantization: how the weights are stored.
        model: further `ModelSettings`.
    """
    directory = random_model(shape, quantization=quantization)
    suppressed = (DEFAULT_SUPPRESSED, end_token(directory))
    return Workpiece(
        name=f"random {shape}",
        args=_args(str(directory), threads, {"tokens_per_s": None, **model}),
        fields={
            "language": "en",
            "max_new_tokens": str(N_TOKENS),
            "suppress_tokens": ",".join(map(str, suppressed)),
        },
        request=TranscriptionRequest(
            language="en", max_new_tokens=N_TOKENS, suppress_tokens=suppressed
        ),
        fixed_tokens=True,
    )


def embedded_workpiece(*, threads: int, **model: Any) -> Workpiece:
    """Return the demo model, cut at about 5 s as its profile does; tokens as they come."""
    return Workpiece(
        name="embedded",
        args=_args(EMBEDDED, threads, {"max_chunk_s": 5.0, **model}),
        fields={"language": "en"},
        request=TranscriptionRequest(language="en"),
        fixed_tokens=False,
    )


def _args(source: str, threads: int, model: Mapping[str, Any]) -> dict[str, Any]:
    settings = {
        "name": "demo",
        "source": source,
        "device": "cpu",
        "compute_type": "int8",
        "cpu_threads": threads,
        "temperatures": [0.0],  # no fallback: it would multiply the work by chance
        **model,
    }
    return {"models": [settings]}


class LocalPipeline:
    """The stages in this process, for one model."""

    def __init__(
        self,
        work: Workpiece,
        *,
        max_batch_size: int = 16,
        on_stage: Callable[[str, float], None] = lambda stage, took_s: None,
    ) -> None:
        self.settings = AppSettings.model_validate(work.args)
        self.model = self.settings.models[0]
        self._request = work.request
        self._max_batch_size = max_batch_size
        self._detector = SpeechDetector()
        self.engine = WhisperEngine(
            models.locate_model(self.model.source),
            self.model,
            n_cores=self.model.cpu_threads,
            on_stage=on_stage,
        )
        pipeline.warm_up(self.engine, self.model.source)
        known = models.describe(self.model, self.engine.languages)
        self.options: DecodeOptions = pipeline.decode_options(self._request, self.model, known)

    @property
    def directory(self) -> Path:
        """Return where the model's files lie."""
        return models.locate_model(self.model.source)

    def prepare(self, audio: bytes) -> tuple[list[Chunk], float]:
        """Decode a file and cut it into chunks; return them and its length in seconds."""
        chunks: list[Chunk] = []
        cursor = None
        while True:
            options = pipeline.prepare_options(
                self.settings, self.model, self._request, is_first=cursor is None
            )
            made = pipeline.prepare(audio, cursor, options, self._detector)
            chunks += made.chunks
            cursor = made.cursor
            if cursor is None:
                return chunks, made.duration_s

    def decode(
        self, chunks: Sequence[Chunk], options: DecodeOptions | None = None
    ) -> list[ChunkTranscript]:
        """Transcribe chunks in batches of at most `max_batch_size`."""
        made: list[ChunkTranscript] = []
        for i in range(0, len(chunks), self._max_batch_size):
            jobs = [
                ChunkJob(chunk=chunk, options=options or self.options, request_id="local")
                for chunk in chunks[i : i + self._max_batch_size]
            ]
            made += self._finish_jobs(jobs)
        return made

    def transcribe(self, files: Sequence[bytes]) -> list[Transcript]:
        """Transcribe files, all their chunks together."""
        prepared = [self.prepare(audio) for audio in files]
        made = iter(self.decode([chunk for chunks, _ in prepared for chunk in chunks]))
        return [
            pipeline.finish(
                [(chunk.spans, next(made)) for chunk in chunks],
                self._request,
                duration_s=duration_s,
                model=self.model.name,
            )
            for chunks, duration_s in prepared
        ]

    def _finish_jobs(self, jobs: Sequence[ChunkJob]) -> list[ChunkTranscript]:
        """Decode jobs of one bucket, with further attempts where the model's settings allow."""
        made = []
        for outcome in pipeline.transcribe_batch(self.engine, jobs):
            step = outcome
            while isinstance(step, ChunkJob):
                [step] = pipeline.transcribe_batch(self.engine, [step])
            if isinstance(step, Exception):
                raise step
            made.append(step)
        return made
