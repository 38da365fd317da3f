"""espeak-ng in this process, through speak_lib.h."""

import ctypes
from collections.abc import Sequence
from ctypes import CFUNCTYPE, POINTER, c_int, c_short, c_uint, c_void_p
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.embedded_models.whisper.engines.spoken import Spans, Spoken, load
from benchmarks.embedded_models.whisper.voices import Speaker

LIBRARY = "libespeak-ng.so.1"

_RATE, _PITCH, _RANGE, _GAP = 1, 3, 4, 7  # espeak_PARAMETER
_SYNCHRONOUS, _UTF8, _CHARACTERS = 2, 1, 1  # espeak_AUDIO_OUTPUT, flags, position type
_WORD = 1  # espeak_EVENT_TYPE


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


class Espeak:
    """espeak-ng, in this process."""

    def __init__(self, libraries: Path | None) -> None:
        self._library: Any = load(LIBRARY, libraries)
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
        """Return the words as spoken; see `engines.speak`."""
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
