"""The model itself: features, encoder, language, generation and alignment of one bucket.

Prompts, suppressed tokens and features follow faster-whisper, whose parts do what has a library.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from serve_app.domain import (
    MAX_TOKENS,
    SAMPLE_RATE,
    WINDOW_S,
    Chunk,
    ChunkJob,
    ChunkTranscript,
    DecodeOptions,
    Segment,
    Task,
    Word,
)
from serve_app.settings import ModelSettings
from serve_app.stages.whisper import device, logprobs
from serve_app.stages.whisper.attempts import compression_ratio, next_step, token_budget
from serve_app.stages.whisper.segments import Piece, split_tokens
from serve_app.stages.whisper.words import AlignedWord, place_words

logger = logging.getLogger("ray.serve")

INT16_SCALE = 32768.0
FRAME_SAMPLES = 160  # 10 ms, one column of features
FULL_WINDOW = round(WINDOW_S * SAMPLE_RATE) // FRAME_SAMPLES  # frames
N_TIMESTAMPS = 1501  # 0 to 30 s in steps of 20 ms: the last tokens of every Whisper vocabulary
FIT_STEP = FULL_WINDOW // 6  # 5 s in frames: a fitted window is a multiple of this

Language = tuple[str, float]  # ISO 639-1 and its probability


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
        """
        device.preload_cublas()
        import ctranslate2
        from faster_whisper import WhisperModel

        self.placement = device.choose_placement(
            settings,
            n_cuda_devices=ctranslate2.get_cuda_device_count(),
            compute_types=ctranslate2.get_supported_compute_types,
            n_cores=n_cores,
        )
        self._on_stage = on_stage
        self._storage_view = ctranslate2.StorageView
        self._settings = settings
        self._shape = device.read_shape(directory)
        self._whisper: Any = WhisperModel(
            str(directory),
            device=self.placement.device,
            compute_type=self.placement.compute_type,
            cpu_threads=self.placement.n_threads,
            num_workers=settings.n_workers,
        )
        # `<|...|>` in a prompt is text that a caller typed, never a token that steers the model.
        self._whisper.hf_tokenizer.encode_special_tokens = True

    @property
    def languages(self) -> tuple[str, ...]:
        """Return the codes of the languages that the model knows."""
        return tuple(self._whisper.supported_languages)

    @property
    def is_multilingual(self) -> bool:
        """Tell whether the model knows more than English."""
        return bool(self._whisper.model.is_multilingual)

    def largest_batch(self, wanted: int | None) -> int:
        """Return the wanted batch size, or what suits the device and its free memory."""
        on_gpu = self.placement.device == "cuda"
        return device.largest_batch(
            wanted or device.default_batch(self.placement.device),
            self._shape,
            free_bytes=device.free_cuda_bytes() if on_gpu else None,
            beam_size=self._settings.beam_size,
            n_workers=self._settings.n_workers,
        )

    def n_prompt_tokens(self, options: DecodeOptions) -> int:
        """Return how many tokens stand before `<|startoftranscript|>`."""
        return len(self._previous(options.prompt, options.hotwords))

    def n_frames(self, chunk: Chunk) -> int:
        """Return the width of the encoder window that the chunk gets, in frames of 10 ms."""
        if self._settings.encoder_window == "full":
            return FULL_WINDOW
        steps = math.ceil(len(chunk.pcm) / FRAME_SAMPLES / FIT_STEP)
        return min(FULL_WINDOW, max(1, steps) * FIT_STEP)

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
            results = self._generate(jobs, encoded, languages)
        tokens = [
            self._within_budget(job, result.sequences_ids[0])
            for job, result in zip(jobs, results, strict=True)
        ]
        alignments: list[list[AlignedWord]] = [[] for _ in jobs]
        if jobs[0].options.words:
            with self._timed("align"):
                alignments = self._align(jobs, encoded, languages, tokens)
        return [
            next_step(job, self._read(job, result, own, language, aligned))
            for job, result, own, language, aligned in zip(
                jobs, results, tokens, languages, alignments, strict=True
            )
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
        from faster_whisper.audio import pad_or_trim

        samples = chunk.pcm.astype(np.float32) / INT16_SCALE
        features: NDArray[np.float32] = self._whisper.feature_extractor(samples)
        # The last frame belongs to the padding that the extractor adds.
        return pad_or_trim(features[..., :-1], self.n_frames(chunk))  # type: ignore[no-any-return]

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

    @lru_cache(maxsize=256)  # noqa: B019 - the engine lives as long as its process
    def _tokenizer(self, language: str = "en", task: Task = Task.TRANSCRIBE) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        return Tokenizer(
            self._whisper.hf_tokenizer, self.is_multilingual, task=task.value, language=language
        )

    @lru_cache(maxsize=256)  # noqa: B019 - as above
    def _previous(self, prompt: str | None, hotwords: str | None) -> tuple[int, ...]:
        """Return the tokens before `<|startoftranscript|>`, cut on the left to what fits."""
        tokenizer = self._tokenizer()
        previous = tokenizer.encode(" " + prompt.strip()) if prompt else []
        tokens: list[int] = self._whisper.get_prompt(tokenizer, previous, hotwords=hotwords)
        # Hotwords and prompt may each fill half of the table: leave half of it to the transcript.
        before = tokens[: tokens.index(tokenizer.sot)]
        return (*before[:1], *before[1:][-(MAX_TOKENS // 2 - 1) :])

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
            self._prompt(job.options, code) for job, (code, _) in zip(jobs, languages, strict=True)
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
            suppress_tokens=self._suppressed(options.suppress_tokens),
            **search,
        )

    def _suppressed(self, asked: Sequence[int]) -> list[int]:
        """Return the tokens never to write, those of non-speech symbols in the place of -1."""
        from faster_whisper.transcribe import get_suppressed_tokens

        tokenizer = self._tokenizer()
        n_tokens = tokenizer.timestamp_begin + N_TIMESTAMPS
        # CTranslate2 writes to wherever the id points: one beyond the vocabulary ends the process.
        known = [token for token in asked if token < n_tokens]
        return list(get_suppressed_tokens(tokenizer, known))

    def _prompt(self, options: DecodeOptions, language: str) -> list[int]:
        tokenizer = self._tokenizer(language, options.task)
        prompt = [*self._previous(options.prompt, options.hotwords), *tokenizer.sot_sequence]
        return prompt if options.timestamps else [*prompt, tokenizer.no_timestamps]

    @staticmethod
    def _within_budget(job: ChunkJob, tokens: list[int]) -> list[int]:
        """Cut what a longer neighbour's budget let through: the answer is the one given alone."""
        return tokens[: token_budget(job.options, job.chunk.duration_s)]

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
        texts = [[t for t in own if t < self._tokenizer().eot] for own in tokens]
        n_frames = [max(1, len(job.chunk.pcm) // FRAME_SAMPLES) for job in jobs]
        for code in {code for code, _ in languages}:
            tokenizer = self._tokenizer(code, jobs[0].options.task)
            found = self._whisper.find_alignment(tokenizer, texts, encoded, n_frames)
            for row, (own, _) in enumerate(languages):
                if own == code:
                    aligned[row] = found[row]
        return aligned

    def _read(
        self,
        job: ChunkJob,
        result: Any,
        tokens: list[int],
        language: Language,
        aligned: list[AlignedWord],
    ) -> ChunkTranscript:
        """Return what a generation result says."""
        tokenizer = self._tokenizer(language[0])
        text = tokenizer.decode(tokens)
        n_made = len(result.sequences_ids[0])
        made = ChunkTranscript(
            text=text,
            tokens=tuple(tokens),
            language=language[0],
            language_probability=language[1],
            temperature=job.temperature,
            # The score is the sum over all tokens and the end over length ** penalty: undo that,
            # and divide by the number of tokens and the end. An empty text has no score.
            avg_logprob=(
                result.scores[0] * n_made**job.options.length_penalty / (n_made + 1)
                if n_made
                else 0.0
            ),
            compression_ratio=compression_ratio(text.strip()),
            no_speech_prob=result.no_speech_prob,
            logprobs=(
                logprobs.token_logprobs(logprobs.to_arrays(result.logits[0]), tokens, self._spell)
                if job.options.logprobs
                else ()
            ),
        )
        return replace(made, segments=self._segments(job, made, aligned))

    def _spell(self, token: int) -> str | None:
        """Return a token of text as the vocabulary spells it; None: it is not text."""
        is_text = token < self._tokenizer().eot
        return str(self._whisper.hf_tokenizer.id_to_token(token)) if is_text else None

    def _segments(
        self, job: ChunkJob, made: ChunkTranscript, aligned: list[AlignedWord]
    ) -> tuple[Segment, ...]:
        """Return the segments of a chunk; a single one where no timestamps were decoded."""
        tokenizer = self._tokenizer()
        pieces = split_tokens(
            made.tokens,
            first_timestamp=tokenizer.timestamp_begin,
            duration_s=job.chunk.duration_s,
        )
        placed: list[tuple[Piece, tuple[Word, ...] | None]] = [(piece, None) for piece in pieces]
        if job.options.words:
            n_text = [sum(t < tokenizer.eot for t in piece.tokens) for piece in pieces]
            placed = list(place_words(aligned, pieces, n_text))
        return tuple(
            Segment(
                start_s=piece.start_s,
                end_s=piece.end_s,
                text=(text := tokenizer.decode(piece.tokens)),
                tokens=piece.tokens,
                temperature=made.temperature,
                avg_logprob=made.avg_logprob,
                compression_ratio=compression_ratio(text.strip()),
                no_speech_prob=made.no_speech_prob,
                words=words,
            )
            for piece, words in placed
        )
