"""The speech clips of tests/data as samples, and longer audio made of them."""

import csv
import io
from functools import cache
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from serve_app.domain import SAMPLE_RATE
from serve_app.stages.audio import decode_audio

DATA = Path(__file__).parent / "data"
Pcm = NDArray[np.int16]


def references() -> dict[str, str]:
    """File name without suffix -> what is said in it."""
    with (DATA / "refs.tsv").open() as file:
        rows = csv.DictReader(file, delimiter="\t")
        return {row["file"].removesuffix(".flac"): row["text"] for row in rows}


@cache
def clip(name: str) -> Pcm:
    return decode_audio((DATA / f"{name}.flac").read_bytes(), max_s=60).samples


def silence(duration_s: float) -> Pcm:
    return np.zeros(round(duration_s * SAMPLE_RATE), np.int16)


def noise(duration_s: float, seed: int = 0) -> Pcm:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(round(duration_s * SAMPLE_RATE)) * 1000).astype(np.int16)


def join(*names: str, gap_s: float = 0.5) -> Pcm:
    """Clips end to end, with a pause after each."""
    return np.concatenate([part for name in names for part in (clip(name), silence(gap_s))])


def digits(number: str) -> Pcm:
    """The digits of a number, spoken one after the other."""
    return join(*(f"digit-{digit}" for digit in number), gap_s=0.05)


def speech(duration_s: float, seed: int = 0) -> Pcm:
    """Exactly that much speech: clips in a shuffled order, the last one cut."""
    names = sorted(references())
    np.random.default_rng(seed).shuffle(names)
    pcm = join(*names)
    n = round(duration_s * SAMPLE_RATE)
    return np.tile(pcm, n // len(pcm) + 1)[:n]


def encode(pcm: Pcm, container: str = "wav", codec: str = "pcm_s16le") -> bytes:
    """The samples as a file's bytes."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as out:
        stream = out.add_stream(codec, rate=SAMPLE_RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    return buffer.getvalue()
