"""Who speaks when: what a caller may say about the speakers, and what is found."""

from dataclasses import dataclass

from serve_app.errors import InvalidRequestError

MAX_SPEAKERS = 64  # of one file that a caller may ask for; more is a mistake
MAX_KNOWN = 16  # reference clips of one request: each costs a run of the model
MAX_NAME = 64  # characters


@dataclass(frozen=True, kw_only=True)
class KnownSpeaker:
    """A voice that the caller knows."""

    name: str
    audio: bytes  # a file in which this speaker alone is heard


@dataclass(frozen=True, kw_only=True)
class SpeakerOptions:
    """What a caller knows about the speakers of a file. Building one validates it.

    Raises:
        InvalidRequestError: a field's value is out of its range, or two contradict each other.
    """

    num_speakers: int | None = None  # exactly so many; None: found out
    min_speakers: int | None = None
    max_speakers: int | None = None
    known: tuple[KnownSpeaker, ...] = ()

    def __post_init__(self) -> None:
        for name in ("num_speakers", "min_speakers", "max_speakers"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= MAX_SPEAKERS:
                raise InvalidRequestError(name, f"{name} must lie in [1, {MAX_SPEAKERS}].")
        if self.num_speakers and (self.min_speakers or self.max_speakers):
            raise InvalidRequestError(
                "num_speakers", "Give either num_speakers or min_speakers and max_speakers."
            )
        if self.min_speakers and self.max_speakers and self.min_speakers > self.max_speakers:
            raise InvalidRequestError("min_speakers", "min_speakers is more than max_speakers.")
        self._check_known()

    def _check_known(self) -> None:
        names = [speaker.name for speaker in self.known]
        if len(names) > MAX_KNOWN:
            raise InvalidRequestError(
                "known_speaker_names", f"At most {MAX_KNOWN} known speakers, got {len(names)}."
            )
        if len(set(names)) < len(names):
            raise InvalidRequestError("known_speaker_names", "Two known speakers share a name.")
        if not all(n.strip() and len(n) <= MAX_NAME and n.isprintable() for n in names):
            raise InvalidRequestError(
                "known_speaker_names",
                f"A known speaker's name must be 1 to {MAX_NAME} characters, in one line.",
            )


ANY_SPEAKERS = SpeakerOptions()  # nothing is known about them


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A stretch of the caller's audio in which one speaker speaks."""

    speaker: str
    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """Return the turn's length in seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True, kw_only=True)
class Diarization:
    """Who speaks when in a file."""

    turns: tuple[Turn, ...]  # by start; turns of different speakers may overlap
    exclusive: tuple[Turn, ...]  # by start; at each time the most active speaker alone
    duration_s: float  # of the decoded audio
