"""What the model is tested on: voices that were kept out of training, noise, several in a file.

All of it is made from fixed seeds, once in a process, so that the models of a run hear the same: an
engine that speaks a sentence again does not give the same samples.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from benchmarks.embedded_models.whisper import numbers, text
from benchmarks.embedded_models.whisper.bank import Utterance
from benchmarks.embedded_models.whisper.speak import PEAK, QUIET, utter_many
from benchmarks.embedded_models.whisper.voices import draw_speaker
from serve_app.domain import SAMPLE_RATE
from serve_app.stages.audio import decode_audio

Samples = NDArray[np.float32]

LEAD_S, TAIL_S = 0.3, 0.5  # of silence around an utterance
N_IN_FILE = 8
FILE_GAPS_S = (0.4, 1.2)  # between the utterances of a file
FLOOR = 1e-4  # RMS of the noise under what is called clean
# Voices of Festival, an engine that nothing was trained on (festvox-kdlpc16k, -us-slt-hts).
FESTIVAL = ("ked_diphone", "cmu_us_slt_arctic_hts")
KINDS = ("silence", "white", "brown", "tone", "clicks")  # of clips without speech


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """Audio, and what is said in it."""

    samples: Samples
    text: str
    voice: str = ""
    start_s: float = 0.0  # of the speech
    end_s: float = 0.0
    words_s: NDArray[np.float32] | None = None  # (n_words, 2), in the clip; None: not known


@cache
def utterances(name: str, n: int) -> list[Utterance]:
    """Return the first utterances of a set: held-out, wide, seen or digits."""
    seeds = {"held-out": 9001, "wide": 9002, "seen": 9003, "digits": 9004}
    grammar = text.read_grammar(wide=name == "wide")
    draw: Callable[[Random], str] = numbers.digits if name == "digits" else grammar.utterance
    voice = partial(draw_speaker, held_out=name != "seen")
    return utter_many(n, Random(seeds[name]), draw, voice)


def clip(spoken: Utterance, rng: np.random.Generator, *, snr_db: float | None = None) -> Clip:
    """Return an utterance as a file of its own, clean or in white noise."""
    speech = _to_float(spoken)
    padded = np.pad(speech, (round(LEAD_S * SAMPLE_RATE), round(TAIL_S * SAMPLE_RATE)))
    level = FLOOR
    if snr_db is not None:
        level = float(np.sqrt((speech**2).mean())) * 10 ** (-snr_db / 20)
    noise = rng.standard_normal(len(padded)).astype(np.float32) * np.float32(level)
    known = not np.isnan(spoken.words_s).any()
    return Clip(
        samples=padded + noise,
        text=spoken.text,
        voice=spoken.voice,
        start_s=LEAD_S,
        end_s=LEAD_S + len(speech) / SAMPLE_RATE,
        words_s=spoken.words_s + np.float32(LEAD_S) if known else None,
    )


def file_of(spoken: Sequence[Utterance], rng: np.random.Generator) -> Clip:
    """Return utterances in one file, with pauses between."""
    parts: list[Samples] = []
    for one in spoken:
        parts.append(np.zeros(round(rng.uniform(*FILE_GAPS_S) * SAMPLE_RATE), np.float32))
        parts.append(_to_float(one))
    joined = np.concatenate([*parts, np.zeros(round(TAIL_S * SAMPLE_RATE), np.float32)])
    noise = rng.standard_normal(len(joined)).astype(np.float32) * np.float32(FLOOR)
    return Clip(samples=joined + noise, text=" ".join(one.text for one in spoken))


def without_speech(n: int) -> Iterator[tuple[str, Samples]]:
    """Yield clips of 2 to 12 s in which nothing is said, and of which kind each is."""
    rng = np.random.default_rng(7)
    for i in range(n):
        n_samples = round(rng.uniform(2, 12) * SAMPLE_RATE)
        kind = KINDS[i % len(KINDS)]
        yield kind, _sound(kind, n_samples, rng).astype(np.float32)


def _sound(kind: str, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    noise = rng.standard_normal(n)
    if kind == "silence":
        return np.zeros(n)
    if kind == "white":
        return noise * 10 ** rng.uniform(-4, -0.7)
    if kind == "brown":
        walk = np.cumsum(noise)
        walk -= np.convolve(walk, np.ones(400) / 400, "same")
        brown: NDArray[np.float64] = walk / np.abs(walk).max() * rng.uniform(0.01, 0.5)
        return brown
    if kind == "tone":
        hz = rng.uniform(50, 2000)
        tone = np.sin(2 * np.pi * hz * np.arange(n) / SAMPLE_RATE) * rng.uniform(0.01, 0.3)
        return tone + noise * 0.002
    clicks = noise * 0.003
    for _ in range(6):
        at = int(rng.integers(0, n - 2000))
        decay = np.exp(-np.arange(800) / 150) * rng.uniform(0.1, 0.6)
        clicks[at : at + 800] += rng.standard_normal(800) * decay
    return clicks


@cache
def festival(n: int) -> list[Utterance]:
    """Return utterances of Festival's voices; none where it or they are not installed."""
    if not shutil.which("festival"):
        return []
    rng, grammar = Random(4242), text.read_grammar(wide=False)
    said = [numbers.digits(rng) if i % 4 == 0 else grammar.utterance(rng) for i in range(n)]
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "say.scm"
        script.write_text(
            "".join(
                f'(voice_{FESTIVAL[i % 2]})\n(utt.save.wave (utt.synth (Utterance Text "{one}")) '
                f'"{folder}/{i}.wav")\n'
                for i, one in enumerate(said)
            )
        )
        ended = subprocess.run(["festival", "-b", script], capture_output=True, check=False)
        if ended.returncode:
            return []
        waves = [(Path(folder) / f"{i}.wav").read_bytes() for i in range(n)]
    return [
        Utterance(
            text=one,
            voice=f"festival:{FESTIVAL[i % 2]}",
            samples=_trim(decode_audio(wave, max_s=60).samples),
            words_s=np.full((len(one.split()), 2), np.nan, np.float32),
        )
        for i, (one, wave) in enumerate(zip(said, waves, strict=True))
    ]


def _trim(pcm: NDArray[np.int16]) -> NDArray[np.int16]:
    """Cut the silence at both ends, and bring the peak to PEAK."""
    height = np.abs(pcm.astype(np.int32))
    loud = np.flatnonzero(height > QUIET * height.max())
    kept = pcm[loud[0] : loud[-1] + 1].astype(np.float32)
    trimmed: NDArray[np.int16] = np.round(kept * (PEAK * 32767 / height.max())).astype(np.int16)
    return trimmed


def _to_float(spoken: Utterance) -> Samples:
    samples: Samples = spoken.samples.astype(np.float32) / np.float32(32768)
    return samples
