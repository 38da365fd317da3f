"""What a caller asks for."""

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from serve_app.domain.limits import MAX_NEW_TOKENS, MAX_TOKENS, MIN_SPAN_S
from serve_app.domain.speakers import ANY_SPEAKERS, SpeakerOptions
from serve_app.errors import InvalidRequestError


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise InvalidRequestError(name, f"{name} must lie in [{low}, {high}], got {value}.")


def _check_clips(times_s: tuple[float, ...]) -> None:
    """Check that each clip ends after its start, and begins where the one before ends or later."""
    is_finite = all(math.isfinite(t) and t >= 0 for t in times_s)
    has_lengths = all(a < b for a, b in zip(times_s[::2], times_s[1::2], strict=False))
    if not (is_finite and has_lengths and list(times_s) == sorted(times_s)):
        raise InvalidRequestError(
            "clip_timestamps",
            "clip_timestamps must be start,end,start,end,... in seconds, in rising order: each end "
            "after its start, no start before the end of the clip before it.",
        )


# Fields that may be left out, and the most that they may be.
_OPTIONAL = (
    *(("beam_size", 16), ("max_new_tokens", MAX_NEW_TOKENS)),
    *(("max_line_width", 1000), ("max_line_count", 100)),
)


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


MIN_THRESHOLD, MAX_THRESHOLD = 0.01, 0.99  # beyond, everything is speech, or nothing


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
        _check_range("threshold", self.threshold, MIN_THRESHOLD, MAX_THRESHOLD)
        if self.neg_threshold is not None:
            _check_range("neg_threshold", self.neg_threshold, 0.0, MAX_THRESHOLD)
        for name in ("min_speech_s", "min_silence_s", "speech_pad_s"):
            _check_range(name, getattr(self, name), 0.0, 60.0)


@dataclass(frozen=True, kw_only=True)
class VadChanges:
    """What a caller wants otherwise than the profile's VadOptions. Building one validates it.

    Raises:
        InvalidRequestError: a field's value is out of its range.
    """

    threshold: float | None = None  # None, here and below: as the profile has it
    neg_threshold: float | None = None
    min_speech_s: float | None = None
    min_silence_s: float | None = None
    speech_pad_s: float | None = None

    def __post_init__(self) -> None:
        self.over(VadOptions())

    def over(self, options: VadOptions) -> VadOptions:
        """Return the options with these changes."""
        changes = {name: value for name, value in vars(self).items() if value is not None}
        return replace(options, **changes)


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
    logprobs: bool = False  # of each token; with the format json and greedy search only
    max_line_width: int | None = None  # characters in a line of srt and vtt; None: no limit
    max_line_count: int | None = None  # such lines in a cue; None: no limit
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
    vad: VadOptions | VadChanges | None = None  # None: the profile's
    clip_timestamps: tuple[float, ...] = ()  # start, end, start, end, ... in s; replaces the VAD

    diarize: bool = False  # tell the speakers apart; diarized_json asks for it too
    multichannel: bool = False  # each channel is a speaker, the first one A; no model tells
    speakers: SpeakerOptions = ANY_SPEAKERS  # what is known about them

    def __post_init__(self) -> None:
        for name in ("languages", "suppress_tokens", "clip_timestamps"):
            # faster-whisper takes lists: chunks are put together by what was asked, so hashed.
            object.__setattr__(self, name, tuple(getattr(self, name)))
        _check_range("temperature", self.temperature, 0.0, 1.0)
        _check_range("best_of", self.best_of, 1, 16)
        _check_range("patience", self.patience, 0.1, 8.0)
        _check_range("length_penalty", self.length_penalty, 0.0, 4.0)
        _check_range("repetition_penalty", self.repetition_penalty, 0.1, 4.0)
        _check_range("no_repeat_ngram_size", self.no_repeat_ngram_size, 0, MAX_TOKENS)
        for name, high in _OPTIONAL:
            value = getattr(self, name)
            if value is not None:
                _check_range(name, value, 1, high)
        if any(token < -1 for token in self.suppress_tokens):
            raise InvalidRequestError(
                "suppress_tokens",
                "suppress_tokens must be token ids, or -1 for non-speech symbols.",
            )
        if self.logprobs and (self.multichannel or self.response_format is not ResponseFormat.JSON):
            raise InvalidRequestError(
                "include",
                "include=logprobs needs the response_format json, and not multichannel.",
            )
        if self.condition_on_previous_text:
            raise InvalidRequestError(
                "condition_on_previous_text",
                "condition_on_previous_text must be false: the chunks of a file are decoded side "
                "by side. Use prompt to steer them.",
            )
        _check_clips(self.clip_timestamps)
        if self.speakers != ANY_SPEAKERS and not self.needs_turns:
            raise InvalidRequestError(
                "multichannel" if self.multichannel else "diarize",
                "num_speakers, min_speakers, max_speakers and known_speaker_names need "
                "diarize=true or response_format=diarized_json, and not multichannel.",
            )

    @property
    def has_speakers(self) -> bool:
        """Tell whether the transcript is to say who said what."""
        is_diarized = self.response_format is ResponseFormat.DIARIZED_JSON
        return self.diarize or self.multichannel or is_diarized

    @property
    def needs_turns(self) -> bool:
        """Tell whether a diarization model must find out who speaks when."""
        return self.has_speakers and not self.multichannel

    @property
    def needs_words(self) -> bool:
        """Tell whether words must be aligned with the audio: lines and turns part them."""
        return self.words or bool(self.max_line_width) or self.has_speakers

    @property
    def timestamps(self) -> bool:
        """Tell whether the model is to decode timestamp tokens, which cost time per token."""
        if self.without_timestamps is not None:
            return not self.without_timestamps
        return self.response_format.has_times or self.segments or self.needs_words


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
