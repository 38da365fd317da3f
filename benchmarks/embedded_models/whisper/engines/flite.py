"""flite in this process."""

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, c_char_p, c_float, c_int, c_short, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.embedded_models.whisper.engines.spoken import Spoken, load
from benchmarks.embedded_models.whisper.voices import FLITE_PITCH_HZ, Speaker

LIBRARY = "libflite.so.1"
PARTS = ("libflite_usenglish.so.1", "libflite_cmulex.so.1")


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


class Flite:
    """flite, in this process."""

    def __init__(self, libraries: Path | None) -> None:
        library: Any = load(LIBRARY, libraries)
        for part in PARTS:
            load(part, libraries)
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
        """Return the words as spoken; see `engines.speak`."""
        voice, library = self._voice(speaker.voice), self._library
        pitch_hz = FLITE_PITCH_HZ[speaker.voice] * speaker.pitch_factor
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
            register = getattr(load(voice_library(name), self._folder), f"register_cmu_us_{name}")
            register.restype, register.argtypes = POINTER(_Voice), [c_char_p]
            self._voices[name] = register(None)
        return self._voices[name]


def voice_library(voice: str) -> str:
    """Return the name of the library that holds a voice."""
    return f"libflite_cmu_us_{voice}.so.1"
