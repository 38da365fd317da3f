"""Text and a speaker -> speech, with the time of every word where the engine tells it.

espeak-ng, flite and RHVoice are called in this process: a word costs milliseconds. The libraries of
the first two are the system's, or those of a folder that `gather` filled, for a machine on which
nothing can be installed. Called by speak.py and held_out.py.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from benchmarks.embedded_models.whisper.engines.espeak import Espeak
from benchmarks.embedded_models.whisper.engines.flite import Flite
from benchmarks.embedded_models.whisper.engines.rhvoice import RHVoice
from benchmarks.embedded_models.whisper.engines.spoken import Spoken
from benchmarks.embedded_models.whisper.voices import Engine, Speaker


def speak(words: Sequence[str], speaker: Speaker, libraries: Path | None = None) -> Spoken:
    """Say some words.

    Args:
        words: lower case.
        speaker: whose engine says them.
        libraries: a folder that `gather` filled; None: the system's.

    Raises:
        OSError: the engine is not there.
        ValueError: the engine has no such voice.
    """
    return _engine(speaker.engine, libraries).speak(words, speaker)


@cache
def _engine(name: Engine, libraries: Path | None) -> Espeak | Flite | RHVoice:
    if name == "rhvoice":
        return RHVoice()
    return Flite(libraries) if name == "flite" else Espeak(libraries)
