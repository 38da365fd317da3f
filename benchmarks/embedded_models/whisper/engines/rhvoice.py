"""RHVoice in this process: HMM voices made of the CMU Arctic recordings, one of them a woman's.

Its library and data are found as its own programs find them: LD_LIBRARY_PATH, RHVOICE_DATA_PATH
and RHVOICE_CONFIG_PATH. README.md says where they come from.
"""

import ctypes
from collections.abc import Sequence
from ctypes import CFUNCTYPE, POINTER, byref, c_char_p, c_double, c_int, c_short, c_uint, c_void_p
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.embedded_models.whisper.engines.spoken import Spoken, load
from benchmarks.embedded_models.whisper.voices import Speaker

LIBRARY = "libRHVoice.so.5"
_TEXT = 0  # RHVoice_message_type

_SetRate = CFUNCTYPE(c_int, c_int, c_void_p)
_Play = CFUNCTYPE(c_int, POINTER(c_short), c_uint, c_void_p)


class _Callbacks(ctypes.Structure):
    """RHVoice_callbacks of RHVoice.h; the pointers that are not used stay null."""

    _fields_ = (
        ("set_sample_rate", _SetRate),
        ("play_speech", _Play),
        ("process_mark", c_void_p),
        ("word_starts", c_void_p),
        ("word_ends", c_void_p),
        ("sentence_starts", c_void_p),
        ("sentence_ends", c_void_p),
        ("play_audio", c_void_p),
        ("done", c_void_p),
    )


class _Init(ctypes.Structure):
    """RHVoice_init_params."""

    _fields_ = (
        ("data_path", c_char_p),
        ("config_path", c_char_p),
        ("resource_paths", c_void_p),
        ("callbacks", _Callbacks),
        ("options", c_uint),
    )


class _Parameters(ctypes.Structure):
    """RHVoice_synth_params: an absolute value is from -1 to 1, a relative one a factor."""

    _fields_ = (
        ("voice_profile", c_char_p),
        ("absolute_rate", c_double),
        ("absolute_pitch", c_double),
        ("absolute_volume", c_double),
        ("relative_rate", c_double),
        ("relative_pitch", c_double),
        ("relative_volume", c_double),
        ("punctuation_mode", c_int),
        ("punctuation_list", c_char_p),
        ("capitals_mode", c_int),
        ("flags", c_int),
    )


class RHVoice:
    """RHVoice, in this process."""

    def __init__(self) -> None:
        library: Any = load(LIBRARY, None)
        library.RHVoice_new_tts_engine.restype = c_void_p
        library.RHVoice_new_message.restype = c_void_p
        library.RHVoice_new_message.argtypes = (
            *(c_void_p, c_char_p, c_uint, c_int),
            *(POINTER(_Parameters), c_void_p),
        )
        for name in ("RHVoice_speak", "RHVoice_delete_message"):
            getattr(library, name).argtypes = (c_void_p,)
        self._library, self._rate = library, 0
        self._parts: list[NDArray[np.int16]] = []
        callbacks = _Callbacks(
            set_sample_rate=_SetRate(self._set_rate), play_speech=_Play(self._play)
        )
        self._init = _Init(callbacks=callbacks)  # kept: the library holds bare pointers
        self._engine = library.RHVoice_new_tts_engine(byref(self._init))
        if not self._engine:
            raise OSError("RHVoice found no voices: set RHVOICE_DATA_PATH")

    def speak(self, words: Sequence[str], speaker: Speaker) -> Spoken:
        """Return the words as spoken, without their times; see `engines.speak`."""
        self._parts.clear()
        text = " ".join(words).encode()
        parameters = _Parameters(
            voice_profile=speaker.voice.encode(),
            relative_rate=1 / speaker.stretch,
            relative_pitch=speaker.pitch_factor,
            relative_volume=1.0,
        )
        message = self._library.RHVoice_new_message(
            self._engine, text, len(text), _TEXT, byref(parameters), None
        )
        if not message:
            raise ValueError(f"RHVoice has no voice {speaker.voice}")
        self._library.RHVoice_speak(message)
        self._library.RHVoice_delete_message(message)
        samples = np.concatenate(self._parts) if self._parts else np.zeros(0, np.int16)
        # It tells when a word begins only to the tenth of a second, so that is left out.
        return samples, self._rate, []

    def _set_rate(self, rate: int, _: Any) -> int:
        self._rate = rate
        return 1

    def _play(self, samples: Any, n: int, _: Any) -> int:
        self._parts.append(np.ctypeslib.as_array(samples, (n,)).copy())
        return 1
