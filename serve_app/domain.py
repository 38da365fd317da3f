"""The vocabulary: what a caller asks for, what travels between the stages, what comes back.

Every type is a frozen, keyword-only dataclass of plain values, so each crosses a process border by
pickling. `_s` is seconds. A time is either in the caller's audio (0 = its first sample) or in the
chunk (0 = the chunk's first sample); fields say which.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from serve_app.errors import InvalidRequestError

SAMPLE_RATE = 16_000  # Hz; Whisper's and Silero's only rate
WINDOW_S = 30.0  # Whisper's encoder window: no chunk is longer
MIN_SPAN_S = 0.1  # the shortest limit on a span of speech that still leaves speech in it
MAX_TOKENS = 448  # of prompt and text together: the length of Whisper's position table
MAX_NEW_TOKENS = MAX_TOKENS // 2  # of text in one chunk: openai/whisper's and CTranslate2's limit

# Temperatures tried in turn when `temperature` is 0: openai/whisper transcribe.py.
FALLBACK_TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


class ResponseFormat(StrEnum):
    """The forms in which a transcript can be returned."""

    JSON = "json"
    TEXT = "text"
    SRT = "srt"
    VTT = "vtt"
    VERBOSE_JSON = "verbose_json"
    DIARIZED_JSON = "diarized_json"

    @property
    def has_times(self) -> bool:
        """Tell whether the format shows when something was said."""
        return self not in (ResponseFormat.JSON, ResponseFormat.TEXT)


class Task(StrEnum):
    """What to write down: the words as spoken, or their English translation."""

    TRANSCRIBE = "transcribe"
    TRANSLATE = "translate"


@dataclass(frozen=True, kw_only=True)
class VadOptions:
    """How speech is told from silence. Defaults: faster-whisper's for batched decoding."""

    threshold: float = 0.5  # Silero's speech probability
    # Speech ends where the probability falls below; None: the threshold less 0.15.
    neg_threshold: float | None = None
    min_speech_s: float = 0.0  # shorter speech is dropped
    min_silence_s: float = 0.16  # a shorter pause does not end a span
    speech_pad_s: float = 0.4  # kept on both sides of a span

    def __post_init__(self) -> None:
        _check_range("threshold", self.threshold, 0.01, 0.99)
        if self.neg_threshold is not None:
            _check_range("neg_threshold", self.neg_threshold, 0.0, 0.99)
        for name in ("min_speech_s", "min_silence_s", "speech_pad_s"):
            _check_range(name, getattr(self, name), 0.0, 60.0)


@dataclass(frozen=True, kw_only=True)
class TranscriptionRequest:
    """What one caller asks for. Building one validates it.

    Raises:
        InvalidRequestError: a field's value is out of its range.
    """

    model: str | None = None  # None: the profile's first model
    task: Task = Task.TRANSCRIBE
    language: str | None = None  # a code, a name or a BCP-47 tag; None: detect on the first chunk
    languages: tuple[str, ...] = ()  # detect among these only
    multilingual: bool = False  # detect on every chunk
    prompt: str | None = None  # text that steers spelling and style, as if spoken before
    hotwords: str | None = None  # words to expect; they stand before the prompt
    temperature: float = 0.0  # 0: try the profile's in turn; above 0: that one only
    response_format: ResponseFormat = ResponseFormat.JSON

    # Times beyond those that the format needs: of segments, from the model's timestamp tokens, and
    # of words, from its attention.
    segments: bool = False
    words: bool = False
    max_line_width: int | None = None  # characters in a line of srt and vtt; None: no limit
    max_line_count: int | None = None  # lines in a cue; None: no limit
    without_timestamps: bool | None = None  # None: timestamp tokens only where segments need them

    beam_size: int | None = None  # None: the profile's
    best_of: int = 5  # candidates drawn where the temperature is above 0
    patience: float = 1.0  # of beam search
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0  # above 1 discourages repetition
    no_repeat_ngram_size: int = 0  # 0: allowed
    max_new_tokens: int | None = None  # per chunk; None: the profile's budget by chunk length
    suppress_tokens: tuple[int, ...] = (-1,)  # -1: the tokens of non-speech symbols
    condition_on_previous_text: bool = False  # False only: chunks are decoded side by side

    vad_filter: bool = True  # leave out what is not speech
    vad: VadOptions | None = None  # None: the profile's
    clip_timestamps: tuple[float, ...] = ()  # start, end, start, end, ... in s; replaces the VAD

    def __post_init__(self) -> None:
        _check_range("temperature", self.temperature, 0.0, 1.0)
        _check_range("beam_size", self.beam_size or 1, 1, 16)
        _check_range("best_of", self.best_of, 1, 16)
        _check_range("patience", self.patience, 0.1, 8.0)
        _check_range("length_penalty", self.length_penalty, 0.0, 4.0)
        _check_range("repetition_penalty", self.repetition_penalty, 0.1, 4.0)
        _check_range("no_repeat_ngram_size", self.no_repeat_ngram_size, 0, MAX_TOKENS)
        _check_range("max_new_tokens", self.max_new_tokens or 1, 1, MAX_NEW_TOKENS)
        _check_range("max_line_width", self.max_line_width or 1, 1, 1000)
        _check_range("max_line_count", self.max_line_count or 1, 1, 100)
        if any(token < -1 for token in self.suppress_tokens):
            raise InvalidRequestError(
                "suppress_tokens",
                "suppress_tokens must be token ids, or -1 for non-speech symbols.",
            )
        if self.response_format is ResponseFormat.DIARIZED_JSON:
            raise InvalidRequestError(
                "response_format",
                "diarized_json needs a diarization deployment, and this app has none. "
                "verbose_json gives the same segments without speakers.",
            )
        if self.condition_on_previous_text:
            raise InvalidRequestError(
                "condition_on_previous_text",
                "condition_on_previous_text must be false: the chunks of a file are decoded side "
                "by side. Use prompt to steer them.",
            )
        if any(a >= b for a, b in pairwise(self.clip_timestamps)) or any(
            not (math.isfinite(t) and t >= 0) for t in self.clip_timestamps
        ):
            raise InvalidRequestError(
                "clip_timestamps", "clip_timestamps must be rising times in seconds."
            )

    @property
    def needs_words(self) -> bool:
        """Tell whether words must be aligned with the audio: lines are cut between words."""
        return self.words or bool(self.max_line_width or self.max_line_count)

    @property
    def timestamps(self) -> bool:
        """Tell whether the model is to decode timestamp tokens, which cost time per token."""
        if self.without_timestamps is not None:
            return not self.without_timestamps
        return self.response_format.has_times or self.segments or self.needs_words


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise InvalidRequestError(name, f"{name} must lie in [{low}, {high}], got {value}.")


@dataclass(frozen=True, kw_only=True)
class SpeechRequest:
    """How to find speech in a file without transcribing it. Defaults: HalkSpeech's and speaches'.

    Raises:
        InvalidRequestError: a span may not be as short as that.
    """

    vad: VadOptions = VadOptions(threshold=0.75, min_silence_s=1.0, speech_pad_s=0.0)
    max_speech_s: float = math.inf  # a longer span is cut, in a pause where there is one

    def __post_init__(self) -> None:
        shortest_s = 2 * self.vad.speech_pad_s + MIN_SPAN_S
        if not self.max_speech_s >= shortest_s:
            raise InvalidRequestError(
                "max_speech_duration_s",
                f"max_speech_duration_s must be at least {shortest_s:g} s (twice speech_pad_ms and "
                f"{MIN_SPAN_S:g} s), got {self.max_speech_s}.",
            )


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What a loaded model can do."""

    name: str
    languages: tuple[str, ...]  # ISO 639-1, more than one where it is multilingual
    translates: bool


class ModelState(StrEnum):
    """Whether a declared model can answer now."""

    READY = "ready"  # a replica has it in memory and has decoded
    LOADING = "loading"  # a replica is starting
    COLD = "cold"  # no replica; the next request starts one


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """A declared model, as a caller sees it."""

    name: str
    aliases: tuple[str, ...]  # the other names that requests may use
    owner: str
    state: ModelState


@dataclass(frozen=True, kw_only=True)
class DetectedLanguage:
    """What language a file is in, by its first chunk with speech."""

    # ISO 639-1 and probability of every language that the model knows, the likeliest first; empty
    # where no speech was found.
    probabilities: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class Span:
    """A stretch of speech in the caller's audio, as the voice activity detector found it."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """Return the span's length in seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True, kw_only=True, eq=False)
class Chunk:
    """One model input: the samples of one or more spans, laid end to end."""

    pcm: NDArray[np.int16]  # (n,), mono at SAMPLE_RATE, n <= WINDOW_S * SAMPLE_RATE
    spans: tuple[Span, ...]  # where those samples lie in the caller's audio, in order

    @property
    def duration_s(self) -> float:
        """Return the chunk's length in seconds."""
        return len(self.pcm) / SAMPLE_RATE


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
class Word:
    """One word and when it was spoken. It keeps its leading space and its punctuation."""

    text: str
    start_s: float
    end_s: float
    probability: float


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stretch of text and when it was spoken: the field's ten keys, and its words."""

    id: int = 0  # counts from 0 through the transcript
    seek: int = 0  # where its chunk begins, in frames of 10 ms
    start_s: float
    end_s: float
    text: str
    tokens: tuple[int, ...]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    words: tuple[Word, ...] | None = None  # None: not asked for


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
    n_attempts: int = 1


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


@dataclass(frozen=True, kw_only=True)
class TranscriptDelta:
    """What one more chunk adds to a transcript. The texts of all deltas make its text."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """The answer to one request. Times are in the caller's audio."""

    text: str
    task: Task = Task.TRANSCRIBE
    language: str | None  # ISO 639-1; None where no speech was found and none was given
    language_probability: float = 1.0
    duration_s: float  # of the decoded audio
    model: str
    segments: tuple[Segment, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[Word, ...]:
        """Return all words in order; empty where word times were not asked for."""
        return tuple(word for segment in self.segments for word in segment.words or ())


@dataclass(frozen=True, kw_only=True)
class DecodeAnchor:
    """A packet of the audio track from which decoding can begin again.

    A run is a part of the track with one sample rate and channel layout; nearly every file is one
    run, a chained ogg is several. The defaults are the first packet.
    """

    packet: int = 0  # index among the audio track's packets, in file order
    run_start: int = 0  # of the run this packet is in, in samples at SAMPLE_RATE
    n_decoded: int = 0  # samples the run gave before this packet, at the run's own rate
    safe_sample: int = 0  # from here on, decoding from this packet gives the same samples
    identity: tuple[int, int, int] | None = None  # pts, byte offset, size; None: do not seek to it


@dataclass(frozen=True, kw_only=True)
class DecodeCursor:
    """Where to go on decoding. The default is the start of the audio.

    Everything before `start_sample` that must be decoded on the way is thrown away.
    """

    start_sample: int = 0  # in the caller's audio, at SAMPLE_RATE
    warmup: DecodeAnchor = DecodeAnchor()  # decode from here, to bring the codec into its state
    anchor: DecodeAnchor = DecodeAnchor()  # count and resample from here


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedSlice:
    """A stretch of the caller's audio, decoded, and what is needed to decode what follows it."""

    samples: NDArray[np.int16]  # (n,), mono at SAMPLE_RATE
    start_sample: int  # of samples[0] in the caller's audio, at SAMPLE_RATE
    is_last: bool  # nothing follows
    anchors: tuple[DecodeAnchor, ...]  # in file order; the first was the cursor's warmup

    @property
    def start_s(self) -> float:
        """Return the time of the first sample in the caller's audio."""
        return self.start_sample / SAMPLE_RATE

    @property
    def end_s(self) -> float:
        """Return the time in the caller's audio at which the samples end."""
        return (self.start_sample + len(self.samples)) / SAMPLE_RATE

    def cursor_at(self, time_s: float) -> DecodeCursor:
        """Return where to go on so that the next slice begins at `time_s`.

        Args:
            time_s: a time in the caller's audio, within this slice or at its end, rounded to the
                nearest sample.

        Raises:
            ValueError: `time_s` is outside this slice.
        """
        sample = round(time_s * SAMPLE_RATE)
        if not self.start_sample <= sample <= self.start_sample + len(self.samples):
            raise ValueError(f"{time_s} s is not within {self.start_s}..{self.end_s} s")
        usable = [a for a in self.anchors if a.safe_sample <= sample]
        # The anchor before the last usable one is at least a second earlier: the warm-up.
        warmup, anchor = usable[-2:] if len(usable) > 1 else (usable[0], usable[0])
        return DecodeCursor(start_sample=sample, warmup=warmup, anchor=anchor)
