"""Text and a speaker -> speech with the time of every word, by espeak-ng or flite.

The shared libraries are called in this process: a word costs milliseconds, and both tell when they
say it. They are the system's, or those of a folder that `gather` filled, for a machine on which
nothing can be installed. Called by speak.py and held_out.py.
"""

import ctypes
import re
import shutil
import subprocess
from collections.abc import Sequence
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_float, c_int, c_short, c_uint, c_void_p
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.embedded_models.whisper.voices import FLITE_PITCH_HZ, Speaker

SYSTEM = Path("/usr/lib/x86_64-linux-gnu")
ESPEAK, FLITE = "libespeak-ng.so.1", "libflite.so.1"
FLITE_PARTS = ("libflite_usenglish.so.1", "libflite_cmulex.so.1")
# Of espeak-ng's data what English needs; the rest is other languages.
ESPEAK_DATA = ("en_dict", "intonations", "phondata*", "phonindex", "phontab", "lang/gmw/en*")
LIBC = re.compile(r"/(ld-linux|lib(c|m|dl|rt|pthread)\.so)")

_RATE, _PITCH, _RANGE, _GAP = 1, 3, 4, 7  # espeak_PARAMETER
_SYNCHRONOUS, _UTF8, _CHARACTERS = 2, 1, 1  # espeak_AUDIO_OUTPUT, flags, position type
_WORD = 1  # espeak_EVENT_TYPE

Spans = list[tuple[float, float]]  # start and end of each word in seconds
Spoken = tuple[NDArray[np.int16], int, Spans]  # samples (n,), their rate, words; [] if unknown


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = (
        ("type", c_int),
        ("unique_identifier", c_uint),
        ("text_position", c_int),  # from 1
        ("length", c_int),
        ("audio_position", c_int),
        ("sample", c_int),
        ("user_data", c_void_p),
        ("id", ctypes.c_char * 8),
    )


class _Wave(ctypes.Structure):
    """cst_wave of flite's cst_wave.h."""

    _fields_ = (
        ("type", c_char_p),
        ("sample_rate", c_int),
        ("num_samples", c_int),
        ("num_channels", c_int),
        ("samples", POINTER(c_short)),
    )


class _Voice(ctypes.Structure):
    """The beginning of flite's cst_voice."""

    _fields_ = (("name", c_char_p), ("features", c_void_p))


class Espeak:
    """espeak-ng, in this process."""

    def __init__(self, libraries: Path | None) -> None:
        self._library: Any = _load(ESPEAK, libraries)
        # The path is that of the folder in which `espeak-ng-data` lies.
        where = str(libraries).encode() if libraries else None
        self._rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, where, 0)
        if self._rate <= 0:
            raise OSError("espeak-ng found no data")
        self._parts: list[NDArray[np.int16]] = []
        self._words: list[tuple[int, int]] = []  # position in the text, sample
        prototype = CFUNCTYPE(c_int, POINTER(c_short), c_int, POINTER(_Event))
        self._callback = prototype(self._take)  # kept: the library holds a bare pointer
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(self, words: Sequence[str], speaker: Speaker) -> Spoken:
        """Return the words as spoken; see `speak`."""
        self._parts.clear()
        self._words.clear()
        if self._library.espeak_SetVoiceByName(speaker.voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {speaker.voice}")
        for parameter, value in (
            (_RATE, speaker.words_per_minute),
            (_PITCH, speaker.pitch),
            (_RANGE, speaker.pitch_range),
            (_GAP, speaker.gap),
        ):
            self._library.espeak_SetParameter(parameter, value, 0)
        text = " ".join(words).encode() + b"\0"
        self._library.espeak_Synth(text, len(text), 0, _CHARACTERS, 0, _UTF8, None, None)
        self._library.espeak_Synchronize()
        samples = np.concatenate(self._parts) if self._parts else np.zeros(0, np.int16)
        return samples, self._rate, self._spans(words, len(samples))

    def _take(self, samples: Any, n: int, events: Any) -> int:
        if n > 0 and samples:
            self._parts.append(np.ctypeslib.as_array(samples, (n,)).copy())
        i = 0
        while events[i].type != 0:
            if events[i].type == _WORD:
                self._words.append((events[i].text_position - 1, events[i].sample))
            i += 1
        return 0

    def _spans(self, words: Sequence[str], n: int) -> Spans:
        """Return where the words lie; [] where an event is missing, as in "o'clock" at times."""
        positions = np.cumsum([0, *(len(word) + 1 for word in words)])[:-1]
        starts: dict[int, int] = {}
        for position, sample in self._words:
            starts.setdefault(int(np.searchsorted(positions, position, "right")) - 1, sample)
        if sorted(starts) != list(range(len(words))):
            return []
        edges = [*(starts[i] for i in range(len(words))), n]
        return [(a / self._rate, b / self._rate) for a, b in pairwise(edges)]


class Flite:
    """flite, in this process."""

    def __init__(self, libraries: Path | None) -> None:
        library: Any = _load(FLITE, libraries)
        for part in FLITE_PARTS:
            _load(part, libraries)
        for name, returned, taken in (
            ("flite_synth_text", c_void_p, [c_char_p, POINTER(_Voice)]),
            ("utt_wave", POINTER(_Wave), [c_void_p]),
            ("delete_utterance", None, [c_void_p]),
            ("utt_relation", c_void_p, [c_void_p, c_char_p]),
            ("relation_head", c_void_p, [c_void_p]),
            ("item_next", c_void_p, [c_void_p]),
            ("ffeature_float", c_float, [c_void_p, c_char_p]),
            ("feat_set_float", None, [c_void_p, c_char_p, c_float]),
        ):
            function = getattr(library, name)
            function.restype, function.argtypes = returned, taken
        library.flite_init()
        self._library, self._folder = library, libraries
        self._voices: dict[str, Any] = {}

    def speak(self, words: Sequence[str], speaker: Speaker) -> Spoken:
        """Return the words as spoken; see `speak`."""
        voice, library = self._voice(speaker.voice), self._library
        pitch_hz = FLITE_PITCH_HZ[speaker.voice] * speaker.flite_pitch
        library.feat_set_float(voice.contents.features, b"duration_stretch", speaker.stretch)
        library.feat_set_float(voice.contents.features, b"int_f0_target_mean", pitch_hz)
        utterance = library.flite_synth_text(" ".join(words).encode(), voice)
        wave = library.utt_wave(utterance).contents
        samples = np.ctypeslib.as_array(wave.samples, (wave.num_samples,)).copy()
        spans, word = [], library.relation_head(library.utt_relation(utterance, b"Word"))
        while word:
            start, end = (
                library.ffeature_float(word, f"R:SylStructure.{path}".encode())
                for path in (
                    "daughter1.daughter1.R:Segment.p.end",
                    "daughtern.daughtern.R:Segment.end",
                )
            )
            spans.append((start, end))
            word = library.item_next(word)
        rate = int(wave.sample_rate)
        library.delete_utterance(utterance)
        return samples, rate, spans if len(spans) == len(words) else []

    def _voice(self, name: str) -> Any:
        if name not in self._voices:
            register = getattr(_load(f"libflite_cmu_us_{name}.so.1", self._folder), _register(name))
            register.restype, register.argtypes = POINTER(_Voice), [c_char_p]
            self._voices[name] = register(None)
        return self._voices[name]


def _register(voice: str) -> str:
    return f"register_cmu_us_{voice}"


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
def _engine(name: str, libraries: Path | None) -> Espeak | Flite:
    return Flite(libraries) if name == "flite" else Espeak(libraries)


def _load(name: str, libraries: Path | None) -> ctypes.CDLL:
    path = str(libraries / name) if libraries else name
    return ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def gather(folder: Path) -> None:
    """Copy both engines, what they need and their English into FOLDER.

    Processes that use it need it in LD_LIBRARY_PATH as well.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [ESPEAK, FLITE, *FLITE_PARTS]
    names += [f"libflite_cmu_us_{voice}.so.1" for voice in FLITE_PITCH_HZ]
    for name in names:
        needed = subprocess.run(["ldd", SYSTEM / name], capture_output=True, text=True, check=True)
        found = re.findall(r"=> (/\S+)", needed.stdout)
        for path in [str(SYSTEM / name), *(p for p in found if not LIBC.search(p))]:
            shutil.copy(path, folder / Path(path).name)
    source, target = SYSTEM / "espeak-ng-data", folder / "espeak-ng-data"
    for pattern in (*ESPEAK_DATA, "voices/!v/*"):
        for path in source.glob(pattern):
            (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target / path.relative_to(source))
    n_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    click.echo(f"{folder}: {n_bytes / 2**20:.0f} MiB")


if __name__ == "__main__":
    gather()
