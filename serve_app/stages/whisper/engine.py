"""The model itself: encoder, language, generation and alignment of one bucket."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from serve_app.domain import MAX_TOKENS, Chunk, ChunkJob, ChunkTranscript, DecodeOptions
from serve_app.settings import ModelSettings
from serve_app.stages.whisper import device, logprobs
from serve_app.stages.whisper.attempts import next_step, token_budget, within_budget
from serve_app.stages.whisper.features import FRAME_SAMPLES, extract_features, window_frames
from serve_app.stages.whisper.opening import open_model
from serve_app.stages.whisper.reading import Decoded, Language, read
from serve_app.stages.whisper.segments import before_end
from serve_app.stages.whisper.vocabulary import Vocabulary
from serve_app.stages.whisper.words import AlignedWord


class Engine(Protocol):
    """What decodes a batch. `WhisperEngine` is the real one."""

    def n_prompt_tokens(self, options: DecodeOptions) -> int:
        """Return how many tokens stand before `<|startoftranscript|>`."""
        ...

    def n_frames(self, chunk: Chunk) -> int:
        """Return the width of the encoder window that the chunk gets."""
        ...

    def transcribe(self, jobs: Sequence[ChunkJob]) -> list[ChunkTranscript | ChunkJob]:
        """Decode jobs of one bucket; a `ChunkJob` in the answer is an attempt to make next."""
        ...


def _likeliest(found: Sequence[tuple[str, float]], among: Sequence[str]) -> Language:
    """Return the first of the languages found, the likeliest first, that may be answered."""
    codes = [(token.strip("<|>"), probability) for token, probability in found]
    return next((one for one in codes if not among or one[0] in among), codes[0])


class WhisperEngine:
    """One loaded model. `transcribe` may be called from as many threads as `n_workers`."""

    def __init__(
        self,
        directory: Path,
        settings: ModelSettings,
        *,
        n_cores: int,
        on_stage: Callable[[str, float], None] = lambda stage, took_s: None,
    ) -> None:
        """Load the model.

        Args:
            directory: a CTranslate2 Whisper model.
            settings: device, compute type, threads, workers and window.
            n_cores: the cores this process may use, where the settings leave the threads open.
            on_stage: told the name of each of a batch's stages (features, encode, generate, align)
                and the seconds that it took, in the thread of the batch.

        Raises:
            ModelLoadError: see `open_model`.
        """
        device.preload_cublas()
        import ctranslate2

        self.placement = device.choose_placement(
            settings,
            n_cuda_devices=ctranslate2.get_cuda_device_count(),
            compute_types=ctranslate2.get_supported_compute_types,
            n_cores=n_cores,
        )
        self._on_stage = on_stage
        self._storage_view = ctranslate2.StorageView
        self._settings = settings
        self._whisper, self._shape = open_model(directory, settings, self.placement)
        self.vocabulary = Vocabulary(self._whisper)

    @property
    def languages(self) -> tuple[str, ...]:
        """Return the codes of the languages that the model knows."""
        return tuple(self._whisper.supported_languages)

    @property
    def is_multilingual(self) -> bool:
        """Tell whether the model knows more than English."""
        return bool(self._whisper.model.is_multilingual)

    def free_bytes(self) -> int | None:
        """Return the device's free memory now; None where it is not known, as on a CPU."""
        return device.free_cuda_bytes() if self.placement.device == "cuda" else None

    def largest_batch(self, wanted: int | None, free_bytes: int | None) -> int:
        """Return the wanted batch size, or what suits the device.

        Args:
            wanted: None: as large as is of use there.
            free_bytes: of the device while no batch runs; None: not known.
        """
        return device.largest_batch(
            wanted or device.default_batch(self.placement.device),
            self._shape,
            free_bytes=free_bytes,
            beam_size=self._settings.beam_size,
            n_workers=self._settings.n_workers,
        )

    def n_prompt_tokens(self, options: DecodeOptions) -> int:
        """Return how many tokens stand before `<|startoftranscript|>`."""
        return len(self.vocabulary.previous(options.prompt, options.hotwords))

    def n_frames(self, chunk: Chunk) -> int:
        """Return the width of the encoder window that the chunk gets, in frames of 10 ms."""
        return window_frames(len(chunk.pcm), self._settings.encoder_window)

    def transcribe(self, jobs: Sequence[ChunkJob]) -> list[ChunkTranscript | ChunkJob]:
        """Decode jobs of one bucket: one encoder pass serves detection, generation and alignment.

        Returns:
            For each job its transcript or, where the attempt failed, the job of the next attempt.
        """
        if jobs[0].options.logprobs and len(jobs) > logprobs.MAX_ROWS:
            some, others = jobs[: logprobs.MAX_ROWS], jobs[logprobs.MAX_ROWS :]
            return [*self.transcribe(some), *self.transcribe(others)]
        with self._timed("features"):
            features = np.stack([self._features(job.chunk) for job in jobs])
        with self._timed("encode"):
            encoded = self._whisper.model.encode(self._storage_view.from_array(features))
        with self._timed("generate"):
            languages = self._languages(jobs, encoded)
            generated = self._generate(jobs, encoded, languages)
        tokens = [
            self._kept_tokens(job, one.sequences_ids[0])
            for job, one in zip(jobs, generated, strict=True)
        ]
        alignments: list[list[AlignedWord]] = [[] for _ in jobs]
        if jobs[0].options.words:
            with self._timed("align"):
                alignments = self._align(jobs, encoded, languages, tokens)
        answers = [
            Decoded(generated=one, tokens=own, language=language, aligned=words)
            for one, own, language, words in zip(
                generated, tokens, languages, alignments, strict=True
            )
        ]
        return [
            next_step(job, read(job, answer, self.vocabulary))
            for job, answer in zip(jobs, answers, strict=True)
        ]

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        """Tell how long a stage took, where it did not fail."""
        began_s = time.perf_counter()
        yield
        self._on_stage(stage, time.perf_counter() - began_s)

    def detect_languages(self, chunk: Chunk) -> list[Language]:
        """Return every language that the model knows and its probability, the likeliest first."""
        if not self.is_multilingual:
            return [("en", 1.0)]
        features = self._storage_view.from_array(self._features(chunk)[None])
        [found] = self._whisper.model.detect_language(self._whisper.model.encode(features))
        return [(token.strip("<|>"), probability) for token, probability in found]

    def _features(self, chunk: Chunk) -> NDArray[np.float32]:  # (n_mels, n_frames)
        return extract_features(chunk.pcm, self._whisper.feature_extractor, self.n_frames(chunk))

    def _languages(self, jobs: Sequence[ChunkJob], encoded: Any) -> list[Language]:
        """Return each job's language and its probability, detecting where none was given."""
        if not self.is_multilingual:
            return [("en", 1.0)] * len(jobs)
        given = [job.options.language for job in jobs]
        if all(given):
            return [(code or "", 1.0) for code in given]
        detected = self._whisper.model.detect_language(encoded)
        return [
            (options.language, 1.0) if options.language else _likeliest(found, options.languages)
            for options, found in zip((job.options for job in jobs), detected, strict=True)
        ]

    def _generate(
        self, jobs: Sequence[ChunkJob], encoded: Any, languages: Sequence[Language]
    ) -> list[Any]:
        options, temperature = jobs[0].options, jobs[0].temperature
        search: dict[str, Any] = {"beam_size": options.beam_size, "patience": options.patience}
        if temperature > 0:
            search = {
                "beam_size": 1,
                "num_hypotheses": options.best_of,
                "sampling_topk": 0,  # the whole vocabulary
                "sampling_temperature": temperature,
            }
        prompts = [
            self.vocabulary.prompt(job.options, code)
            for job, (code, _) in zip(jobs, languages, strict=True)
        ]
        n_new = max(token_budget(job.options, job.chunk.duration_s) for job in jobs)
        return self._whisper.model.generate(  # type: ignore[no-any-return]
            encoded,
            prompts,
            # CTranslate2 stops after min(max_length / 2, max_length - prompt) tokens (whisper.cc),
            # where the last token of the prompt does not count.
            max_length=min(MAX_TOKENS, n_new + max(n_new, len(prompts[0]) - 1)),
            length_penalty=options.length_penalty,
            repetition_penalty=options.repetition_penalty,
            no_repeat_ngram_size=options.no_repeat_ngram_size,
            return_scores=True,
            return_no_speech_prob=True,
            return_logits_vocab=options.logprobs,
            suppress_blank=True,
            suppress_tokens=self.vocabulary.suppressed(options.suppress_tokens),
            **search,
        )

    def _kept_tokens(self, job: ChunkJob, written: list[int]) -> list[int]:
        """Return what the model wrote, as far as the chunk's budget and its audio go."""
        whole = self.vocabulary.whole_letters(within_budget(job, written))
        return before_end(
            whole,
            first_timestamp=self.vocabulary.first_timestamp,
            duration_s=job.chunk.duration_s,
        )

    def _align(
        self,
        jobs: Sequence[ChunkJob],
        encoded: Any,
        languages: Sequence[Language],
        tokens: Sequence[list[int]],
    ) -> list[list[AlignedWord]]:
        """Return each job's words.

        Alignment takes one start sequence per call, so each language present costs one.
        """
        aligned: list[list[AlignedWord]] = [[] for _ in jobs]
        texts = [self.vocabulary.text_of(own) for own in tokens]
        n_frames = [max(1, len(job.chunk.pcm) // FRAME_SAMPLES) for job in jobs]
        for code in {code for code, _ in languages}:
            tokenizer = self.vocabulary.tokenizer(code, jobs[0].options.task)
            found = self._whisper.find_alignment(tokenizer, texts, encoded, n_frames)
            for row, (own, _) in enumerate(languages):
                if own == code:
                    aligned[row] = found[row]
        return aligned
