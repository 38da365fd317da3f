"""What comes back to the caller."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from serve_app.domain.requests import Task
from serve_app.domain.speakers import Turn


@dataclass(frozen=True, kw_only=True)
class Word:
    """One word and when it was spoken. It keeps its leading space and its punctuation."""

    text: str
    start_s: float
    end_s: float
    probability: float
    speaker: str | None = None  # None: not asked for, or nobody's turn is near


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
    speaker: str | None = None  # of all its words; None: as a word's

    def words_between_pauses(self, pause_s: float) -> list[list[Word]]:
        """Return its words, parted where nothing is said for so long; none where none are known."""
        runs: list[list[Word]] = []
        for word in self.words or ():
            if not runs or word.start_s - runs[-1][-1].end_s >= pause_s:
                runs.append([])
            runs[-1].append(word)
        return runs


@dataclass(frozen=True, kw_only=True)
class TokenLogprob:
    """One token of text and how probable it was where it was written."""

    text: bytes  # UTF-8; a token may hold a part of a letter
    logprob: float  # natural logarithm of its probability among the tokens allowed there


@dataclass(frozen=True, kw_only=True)
class TranscriptDelta:
    """What one more chunk adds to a transcript. The texts of all deltas make its text."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()  # empty where they were not asked for


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
    logprobs: tuple[TokenLogprob, ...] = ()  # empty where they were not asked for
    turns: tuple[Turn, ...] | None = None  # who spoke when; None: not asked for, or not known
    warnings: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[Word, ...]:
        """Return all words in order; empty where word times were not asked for."""
        return tuple(word for segment in self.segments for word in segment.words or ())

    def warn(self, warnings: Sequence[str]) -> "Transcript":
        """Return the transcript with further warnings."""
        return replace(self, warnings=(*self.warnings, *warnings))


@dataclass(frozen=True, kw_only=True)
class DetectedLanguage:
    """What language a file is in, by its first chunk with speech."""

    # ISO 639-1 and probability of every language that the model knows, the likeliest first; empty
    # where no speech was found.
    probabilities: tuple[tuple[str, float], ...]
