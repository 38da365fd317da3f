"""What every side of `peers` is asked and answers, and this project's own two sides.

A side takes clips and tells for each the text and how many tokens it generated. The other programs
are in `peer_programs.py`.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import seconds
from serve_app.domain import TranscriptionRequest
from serve_app.local import Whisper
from serve_app.settings import AppSettings
from tests.clips import Pcm, encode

if TYPE_CHECKING:
    from benchmarks.graph import Graph  # and Ray with it


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """A clip of one window at most, as each side takes it."""

    samples: NDArray[np.float32]  # (n,), for who takes samples: they decode nothing
    wav: bytes


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of every side, beside greedy search without timestamps in English."""

    n_tokens: int | None = None  # per window; None: until the text ends, with each side's fallback
    suppressed: tuple[int, ...] = (-1,)  # -1: the tokens of non-speech symbols


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What a side made of one clip."""

    text: str
    n_tokens: int


class Side(Protocol):
    """One of those that are compared."""

    name: str
    compute_type: str
    batch: int  # windows at a time, at most

    def transcribe(self, clips: Sequence[Clip], asked: Asked) -> list[Heard]:
        """Transcribe clips as fast as the side can, without looking for speech."""
        ...


def make_clip(pcm: Pcm) -> Clip:
    """Return a clip of these samples."""
    return Clip(samples=pcm.astype(np.float32) / 32768.0, wav=encode(pcm))


def windows_per_s(side: Side, clips: Sequence[Clip], asked: Asked) -> float:
    """Return how many clips a second a side transcribes.

    Raises:
        RuntimeError: it generated another number of tokens than was asked for.
    """
    heard: list[Heard] = []
    took_s = seconds(lambda: heard.extend(side.transcribe(clips, asked)))
    made = [one.n_tokens for one in heard]
    if made != [asked.n_tokens] * len(clips):
        raise RuntimeError(f"{side.name} generated {made} tokens, not {asked.n_tokens} a window")
    return len(clips) / took_s


class OverHttp:
    """This project's graph: a client for each clip, all at the same time."""

    name = "serve_app over HTTP"

    def __init__(self, graph: "Graph", *, model: int = 0, batch: int) -> None:
        settings = graph.settings.models[model]
        self._graph = graph
        self._fields = {
            "model": settings.name,
            "language": "en",
            "vad_filter": "false",
            "without_timestamps": "true",
            "response_format": "verbose_json",  # which tells the tokens
        }
        self.compute_type: str = settings.compute_type
        self.batch = batch

    def transcribe(self, clips: Sequence[Clip], asked: Asked) -> list[Heard]:
        """Send all clips at once."""
        suppressed = ",".join(map(str, asked.suppressed))
        fields = {**self._fields, "suppress_tokens": suppressed}
        if asked.n_tokens:
            fields["max_new_tokens"] = str(asked.n_tokens)

        def post(clip: Clip) -> Heard:
            body = self._graph.post(clip.wav, fields)
            n_tokens = sum(len(segment["tokens"]) for segment in body["segments"])
            return Heard(text=body["text"], n_tokens=n_tokens)

        with ThreadPoolExecutor(len(clips)) as clients:
            return list(clients.map(post, clips))


class InProcess:
    """This project in one process (`serve_app.local`): a thread for each clip."""

    name = "serve_app in process"

    def __init__(self, settings: AppSettings, *, batch: int) -> None:
        self._whisper = Whisper(settings, batch_size=batch)
        self.compute_type: str = settings.models[0].compute_type
        self.batch = batch

    def transcribe(self, clips: Sequence[Clip], asked: Asked) -> list[Heard]:
        """Transcribe all clips at once."""
        request = TranscriptionRequest(
            language="en",
            vad_filter=False,
            segments=True,
            without_timestamps=True,
            max_new_tokens=asked.n_tokens,
            suppress_tokens=asked.suppressed,
        )

        def transcribe(clip: Clip) -> Heard:
            made = self._whisper.transcribe(clip.wav, request)
            n_tokens = sum(len(segment.tokens) for segment in made.segments)
            return Heard(text=made.text, n_tokens=n_tokens)

        with ThreadPoolExecutor(len(clips)) as callers:
            return list(callers.map(transcribe, clips))
