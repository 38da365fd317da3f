"""Utterances on disk and in memory: parts of some thousands, each with its words and their times.

A part is an .npz file, its speech as 16-bit samples, or as Opus where it has to travel. speak.py
writes them; windows.py and studio.py read them.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.domain import SAMPLE_RATE

OPUS_BITS_PER_S = 24_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Utterance:
    """What one voice says, without silence around it."""

    text: str
    voice: str
    samples: NDArray[np.int16]  # (n,)
    words_s: NDArray[np.float32]  # (n_words, 2), start and end of each; NaN: not known


@dataclass(frozen=True, kw_only=True, eq=False)
class Bank:
    """All utterances, end to end."""

    pcm: NDArray[np.int16]  # (n,)
    ends: NDArray[np.int64]  # (n_utterances,), where each ends in `pcm`
    texts: tuple[str, ...]
    voices: tuple[str, ...]
    words_s: NDArray[np.float32]  # (n_words, 2), of all utterances
    word_ends: NDArray[np.int64]  # (n_utterances,), where each one's words end in `words_s`

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def duration_s(self) -> float:
        """Return how much speech there is."""
        return len(self.pcm) / SAMPLE_RATE

    def start(self, i: int) -> int:
        """Return where an utterance begins in `pcm`."""
        return int(self.ends[i - 1]) if i else 0

    def length(self, i: int) -> int:
        """Return how many samples an utterance has."""
        return int(self.ends[i]) - self.start(i)

    def utterance(self, i: int) -> Utterance:
        """Return one of them."""
        first = int(self.word_ends[i - 1]) if i else 0
        return Utterance(
            text=self.texts[i],
            voice=self.voices[i],
            samples=self.pcm[self.start(i) : self.ends[i]],
            words_s=self.words_s[first : self.word_ends[i]],
        )


def make_bank(utterances: Sequence[Utterance]) -> Bank:
    """Lay utterances end to end."""
    return Bank(
        pcm=np.concatenate([u.samples for u in utterances]),
        ends=np.cumsum([len(u.samples) for u in utterances], dtype=np.int64),
        texts=tuple(u.text for u in utterances),
        voices=tuple(u.voice for u in utterances),
        words_s=np.concatenate([u.words_s for u in utterances]),
        word_ends=np.cumsum([len(u.words_s) for u in utterances], dtype=np.int64),
    )


def save_part(bank: Bank, path: Path, *, opus: bool = False) -> None:
    """Write a part, whole or not at all.

    Args:
        bank: what to write.
        path: of the .npz file.
        opus: 3 kB for a second of speech instead of 32; reading it needs PyAV.
    """
    sound: dict[str, Any] = {"pcm": bank.pcm}
    if opus:
        sound = {"opus": np.frombuffer(_encode(bank.pcm), np.uint8)}
    unfinished = path.with_suffix(".tmp")
    with unfinished.open("wb") as file:
        np.savez(
            file,
            **sound,
            ends=bank.ends,
            texts=np.array("\n".join(bank.texts)),
            voices=np.array("\n".join(bank.voices)),
            words_s=bank.words_s.astype(np.float32),
            word_ends=bank.word_ends,
        )
    unfinished.rename(path)


def load_bank(folder: Path) -> Bank:
    """Return all parts of a folder, in the order of their names.

    Raises:
        FileNotFoundError: there is none.
    """
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        raise FileNotFoundError(f"{folder} holds no speech: run benchmarks...whisper.speak first")
    n_samples = np.cumsum([0, *(_count_samples(path) for path in paths)])
    pcm = np.empty(n_samples[-1], np.int16)  # filled part by part: two copies may not fit
    parts: list[Bank] = []
    for path, first in zip(paths, n_samples, strict=False):
        part = _load_part(path)
        own = pcm[first : first + len(part.pcm)]
        own[:] = part.pcm
        parts.append(replace(part, pcm=own))
    n_words = np.cumsum([0, *(len(part.words_s) for part in parts)])
    return Bank(
        pcm=pcm,
        ends=np.concatenate([p.ends + n for p, n in zip(parts, n_samples, strict=False)]),
        texts=tuple(text for part in parts for text in part.texts),
        voices=tuple(voice for part in parts for voice in part.voices),
        words_s=np.concatenate([part.words_s for part in parts]),
        word_ends=np.concatenate([p.word_ends + n for p, n in zip(parts, n_words, strict=False)]),
    )


def _count_samples(path: Path) -> int:
    with np.load(path) as stored:
        return int(stored["ends"][-1])


def _load_part(path: Path) -> Bank:
    with np.load(path) as stored:
        ends = stored["ends"]
        is_opus = "opus" in stored
        pcm = _decode(stored["opus"].tobytes(), int(ends[-1])) if is_opus else stored["pcm"]
        return Bank(
            pcm=pcm,
            ends=ends,
            texts=tuple(str(stored["texts"]).split("\n")),
            voices=tuple(str(stored["voices"]).split("\n")),
            words_s=stored["words_s"],
            word_ends=stored["word_ends"],
        )


def _encode(pcm: NDArray[np.int16]) -> bytes:
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="ogg") as out:
        stream = out.add_stream("libopus", rate=SAMPLE_RATE, layout="mono")
        stream.bit_rate = OPUS_BITS_PER_S
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    return buffer.getvalue()


def _decode(opus: bytes, n: int) -> NDArray[np.int16]:
    """Return the first `n` samples; Opus decodes at 48 kHz."""
    import av

    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    with av.open(io.BytesIO(opus), "r") as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    frames += resampler.resample(None)
    pcm: NDArray[np.int16] = np.concatenate([frame.to_ndarray()[0] for frame in frames])[:n]
    return np.pad(pcm, (0, n - len(pcm)))
