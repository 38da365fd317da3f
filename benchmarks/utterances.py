"""Clips that say different things, and the text that a server makes of each alone.

An answer that belongs to another request shows by its text.
"""

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from benchmarks.verdicts import likeness
from serve_app.domain import SAMPLE_RATE
from tests.clips import digits, encode, silence, speech

ALIKE = 0.8  # clips with texts as much alike as this could not be told apart
_SUFFIXES = frozenset({".flac", ".m4a", ".mp3", ".mp4", ".ogg", ".opus", ".wav", ".webm"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """A file to be sent."""

    audio: bytes
    duration_s: float = 0.0
    name: str = "clip.flac"  # some servers tell the format by it


@dataclass(frozen=True, kw_only=True, eq=False)
class Utterance(Clip):
    """A file and its text when nothing else runs; None: no audio, to be refused."""

    text: str | None


def record_utterances(
    transcribe: Callable[[bytes], str], n: int, *, silence_s: float = 0.0
) -> list[Utterance]:
    """Make clips of three spoken digits each and record what is heard when each is sent alone.

    Args:
        transcribe: a file to its text.
        n: how many clips to make; those that sound alike are left out.
        silence_s: after the digits. It costs the AudioPreprocessor time, and nobody else.
    """
    numbers = np.random.default_rng(n).choice(np.arange(100, 1000), n, replace=False)
    by_text = {}
    for number in numbers:
        clip = _clip(np.concatenate([digits(str(number)), silence(silence_s)]))
        text = transcribe(clip.audio)
        by_text[text] = Utterance(**vars(clip), text=text)
    return [utterance for text, utterance in by_text.items() if text]


def speech_clips(n: int, duration_s: float) -> list[Clip]:
    """Return clips of that length, each with other sentences than the next."""
    return [_clip(speech(duration_s, seed)) for seed in range(n)]


def clips_in(directory: Path, n: int) -> list[Clip]:
    """Return the first so many audio files of a folder, by name."""
    paths = sorted(path for path in directory.iterdir() if path.suffix.lower() in _SUFFIXES)[:n]
    return [
        Clip(audio=path.read_bytes(), duration_s=_duration_s(path), name=path.name)
        for path in paths
    ]


def told_apart(utterances: Iterable[Utterance]) -> list[Utterance]:
    """Leave out those without words, and those whose words are nearly another's."""
    kept: list[Utterance] = []
    for utterance in utterances:
        text = utterance.text or ""
        if text.strip() and all(likeness(text, other.text or "") < ALIKE for other in kept):
            kept.append(utterance)
    return kept


def _clip(pcm: np.ndarray) -> Clip:
    return Clip(audio=encode(pcm, "flac", "flac"), duration_s=len(pcm) / SAMPLE_RATE)


def _duration_s(path: Path) -> float:
    with av.open(io.BytesIO(path.read_bytes()), "r") as container:
        return (container.duration or 0) / av.time_base
