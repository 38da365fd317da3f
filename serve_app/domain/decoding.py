"""What travels to a model and back: one chunk, how to decode it, what came of it."""

from dataclasses import dataclass

from serve_app.domain.audio import Chunk
from serve_app.domain.limits import FALLBACK_TEMPERATURES
from serve_app.domain.requests import Task
from serve_app.domain.transcripts import Segment, TokenLogprob


@dataclass(frozen=True, kw_only=True)
class DecodeOptions:
    """How the model decodes a chunk. The defaults are greedy search without timestamps."""

    task: Task = Task.TRANSCRIBE
    language: str | None = None  # ISO 639-1; None: the model detects it on this chunk
    languages: tuple[str, ...] = ()  # among these only; empty: among all it knows
    prompt: str | None = None
    hotwords: str | None = None
    temperatures: tuple[float, ...] = FALLBACK_TEMPERATURES  # tried in turn
    timestamps: bool = False  # decode Whisper's timestamp tokens too
    words: bool = False  # align words with the audio
    logprobs: bool = False  # tell how probable each token was; not in beam search

    beam_size: int = 1
    best_of: int = 5  # candidates drawn where the temperature is above 0
    patience: float = 1.0
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    suppress_tokens: tuple[int, ...] = (-1,)

    max_new_tokens: int | None = None  # None: the budget below
    # Tokens that a chunk may cost: so many per second, and a margin. None: MAX_NEW_TOKENS.
    tokens_per_s: float | None = None
    token_margin: int = 0

    # When an attempt counts as failed: openai/whisper transcribe.py's constants.
    compression_ratio_threshold: float = 2.4
    log_prob_threshold: float = -1.0
    no_speech_threshold: float = 0.6


@dataclass(frozen=True, kw_only=True)
class ChunkTranscript:
    """What the model made of one chunk. `text` is empty where it heard no speech."""

    text: str
    tokens: tuple[int, ...]
    language: str  # ISO 639-1
    language_probability: float  # 1.0 where the caller gave the language
    temperature: float  # the one that was accepted
    avg_logprob: float  # mean log probability per token
    compression_ratio: float  # utf-8 bytes / zlib bytes; above 2.4 the text repeats itself
    no_speech_prob: float
    segments: tuple[Segment, ...] = ()  # times are in the chunk
    logprobs: tuple[TokenLogprob, ...] = ()  # of the tokens of text; empty where not asked for
    is_truncated: bool = False  # the budget of tokens ended it: more may have been said
    n_attempts: int = 1
    batch_fill: float = 1.0  # of the batch it was decoded in, against the largest in force


@dataclass(frozen=True, kw_only=True, eq=False)
class ChunkJob:
    """One chunk on its way through the engine, at one temperature.

    A chunk whose attempt failed comes back as a new job at the next temperature, with the best
    attempt so far in `best`.
    """

    chunk: Chunk
    options: DecodeOptions
    request_id: str  # the owner: chunks of one request share it
    attempt: int = 0  # index into options.temperatures
    best: ChunkTranscript | None = None

    @property
    def temperature(self) -> float:
        """Return this attempt's temperature."""
        return self.options.temperatures[self.attempt]

    @property
    def n_sequences(self) -> int:
        """Return how many texts the decoder tries side by side: beams, or candidates drawn."""
        return self.options.best_of if self.temperature > 0 else self.options.beam_size
