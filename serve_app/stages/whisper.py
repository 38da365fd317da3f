"""Chunks in, chunk transcripts out: Whisper on CTranslate2, one bucket per call.

Called by `pipeline.transcribe_batch`. Prompts, suppressed tokens and the tests for a failed
attempt follow faster-whisper, whose parts do the work that has a library.
"""

import ctypes
import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from importlib import util
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from serve_app.domain import Chunk, ChunkJob, ChunkTranscript, DecodeOptions
from serve_app.settings import ModelSettings

MAX_TOKENS = 448  # of prompt and text together: the length of Whisper's position table
INT16_SCALE = 32768.0


class Engine(Protocol):
    """What decodes a batch. `WhisperEngine` is the real one."""

    def n_prompt_tokens(self, options: DecodeOptions) -> int:
        """Return how many tokens stand before `<|startoftranscript|>`."""
        ...

    def transcribe(self, jobs: Sequence[ChunkJob]) -> list[ChunkTranscript | ChunkJob]:
        """Decode jobs of one bucket; a `ChunkJob` in the answer is an attempt to make next."""
        ...


class WhisperEngine:
    """One loaded model. `transcribe` may be called from as many threads as `n_workers`."""

    def __init__(self, directory: Path, settings: ModelSettings, *, n_cores: int) -> None:
        """Load the model.

        Args:
            directory: a CTranslate2 Whisper model.
            settings: device, compute type, threads and workers.
            n_cores: the cores this process may use, where the settings leave the threads open.
        """
        preload_cublas()
        import ctranslate2
        from faster_whisper import WhisperModel

        cuda = settings.device == "cuda" or (
            settings.device == "auto" and ctranslate2.get_cuda_device_count() > 0
        )
        compute_type = settings.compute_type
        if compute_type == "auto":
            compute_type = "float16" if cuda else "int8"
        self._storage_view = ctranslate2.StorageView
        self._whisper: Any = WhisperModel(
            str(directory),
            device="cuda" if cuda else "cpu",
            compute_type=compute_type,
            cpu_threads=settings.cpu_threads or max(1, n_cores // settings.n_workers),
            num_workers=settings.n_workers,
        )
        # `<|...|>` in a prompt is text that a caller typed, never a token that steers the model.
        self._whisper.hf_tokenizer.encode_special_tokens = True

    @property
    def languages(self) -> list[str]:
        """Return the codes of the languages that the model knows."""
        return list(self._whisper.supported_languages)

    @property
    def is_multilingual(self) -> bool:
        """Tell whether the model knows more than English."""
        return bool(self._whisper.model.is_multilingual)

    def n_prompt_tokens(self, options: DecodeOptions) -> int:
        """Return how many tokens stand before `<|startoftranscript|>`."""
        tokenizer = self._tokenizer(options.language or "en")
        return self._prompt(options, tokenizer).index(tokenizer.sot)

    def transcribe(self, jobs: Sequence[ChunkJob]) -> list[ChunkTranscript | ChunkJob]:
        """Decode jobs of one bucket in one encoder pass and one generate call.

        Returns:
            For each job its transcript or, where the attempt failed, the job of the next attempt.
        """
        features = np.stack([self._features(job.chunk) for job in jobs])
        encoded = self._whisper.model.encode(self._storage_view.from_array(features))
        languages = self._languages(jobs, encoded)
        tokenizers = [self._tokenizer(code) for code, _ in languages]
        prompts = [self._prompt(j.options, t) for j, t in zip(jobs, tokenizers, strict=True)]
        results = self._generate(jobs[0], encoded, prompts)
        return [
            next_step(job, self._read(result, tokenizer, job, language))
            for job, result, tokenizer, language in zip(
                jobs, results, tokenizers, languages, strict=True
            )
        ]

    def _features(self, chunk: Chunk) -> NDArray[np.float32]:  # (n_mels, 3000)
        from faster_whisper.audio import pad_or_trim

        samples = chunk.pcm.astype(np.float32) / INT16_SCALE
        features: NDArray[np.float32] = self._whisper.feature_extractor(samples)
        # The last frame belongs to the padding that the extractor adds.
        return pad_or_trim(features[..., :-1])  # type: ignore[no-any-return]

    def _languages(self, jobs: Sequence[ChunkJob], encoded: Any) -> list[tuple[str, float]]:
        """Return each job's language and its probability, detecting where none was given."""
        if not self.is_multilingual:
            return [("en", 1.0)] * len(jobs)
        if all(job.options.language for job in jobs):
            return [(job.options.language or "", 1.0) for job in jobs]
        detected = self._whisper.model.detect_language(encoded)
        return [
            (job.options.language, 1.0)
            if job.options.language
            else (best[0][0].strip("<|>"), best[0][1])
            for job, best in zip(jobs, detected, strict=True)
        ]

    @lru_cache(maxsize=256)  # noqa: B019 - the engine lives as long as its process
    def _tokenizer(self, language: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        return Tokenizer(
            self._whisper.hf_tokenizer,
            self.is_multilingual,
            task="transcribe",
            language=language,
        )

    def _prompt(self, options: DecodeOptions, tokenizer: Any) -> list[int]:
        previous = tokenizer.encode(" " + options.prompt.strip()) if options.prompt else []
        return self._whisper.get_prompt(  # type: ignore[no-any-return]
            tokenizer, previous, without_timestamps=not options.timestamps
        )

    def _generate(self, lead: ChunkJob, encoded: Any, prompts: list[list[int]]) -> list[Any]:
        from faster_whisper.transcribe import get_suppressed_tokens

        options = lead.options
        search: dict[str, Any] = {"beam_size": options.beam_size}
        if lead.temperature > 0:
            search = {
                "beam_size": 1,
                "num_hypotheses": options.best_of,
                "sampling_topk": 0,  # the whole vocabulary
                "sampling_temperature": lead.temperature,
            }
        return self._whisper.model.generate(  # type: ignore[no-any-return]
            encoded,
            prompts,
            max_length=MAX_TOKENS,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=True,
            suppress_tokens=get_suppressed_tokens(self._tokenizer("en"), [-1]),
            **search,
        )

    def _read(
        self, result: Any, tokenizer: Any, job: ChunkJob, language: tuple[str, float]
    ) -> ChunkTranscript:
        tokens = result.sequences_ids[0]
        text = tokenizer.decode(tokens)
        return ChunkTranscript(
            text=text,
            tokens=tuple(tokens),
            language=language[0],
            language_probability=language[1],
            temperature=job.temperature,
            # CTranslate2 divides by the length without the end token: put it back, divide with it.
            avg_logprob=result.scores[0] * len(tokens) / (len(tokens) + 1),
            compression_ratio=compression_ratio(text.strip()),
            no_speech_prob=result.no_speech_prob,
        )


def next_step(job: ChunkJob, made: ChunkTranscript) -> ChunkTranscript | ChunkJob:
    """Decide what follows an attempt: accept it, call it silence, or try the next temperature.

    The tests and their order are openai/whisper's `decode_with_fallback`. Where every attempt
    failed, the best one stands.
    """
    options = job.options
    if is_silence(made, options):
        return replace(made, text="", tokens=())
    if not has_failed(made, options):
        return made
    best = made if job.best is None else better(job.best, made, options)
    if job.attempt + 1 == len(options.temperatures):
        return best
    return replace(job, attempt=job.attempt + 1, best=best)


def is_silence(made: ChunkTranscript, options: DecodeOptions) -> bool:
    """Tell whether the model both hears no speech and does not believe its own text."""
    return (
        made.no_speech_prob > options.no_speech_threshold
        and made.avg_logprob <= options.log_prob_threshold
    )


def has_failed(made: ChunkTranscript, options: DecodeOptions) -> bool:
    """Tell whether an attempt repeats itself or is too improbable to be kept."""
    return (
        made.compression_ratio > options.compression_ratio_threshold
        or made.avg_logprob < options.log_prob_threshold
    )


def better(one: ChunkTranscript, other: ChunkTranscript, options: DecodeOptions) -> ChunkTranscript:
    """Return the better of two failed attempts: not repetitive first, then the more probable."""

    def rank(made: ChunkTranscript) -> tuple[bool, float]:
        return made.compression_ratio <= options.compression_ratio_threshold, made.avg_logprob

    return max(one, other, key=rank)


def compression_ratio(text: str) -> float:
    """Return utf-8 bytes over zlib bytes: openai/whisper utils.py."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def preload_cublas() -> None:
    """Load the `cuda` extra's cuBLAS 12, which CTranslate2 opens by its bare name.

    A library that is already loaded under that name is used, so LD_LIBRARY_PATH need not be set.
    Nothing happens where the extra is not installed.
    """
    spec = util.find_spec("nvidia.cublas") if util.find_spec("nvidia") else None
    for root in (spec.submodule_search_locations or []) if spec else []:
        for name in ("libcublasLt.so.12", "libcublas.so.12"):  # the second needs the first
            library = Path(root) / "lib" / name
            if library.is_file():
                ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
