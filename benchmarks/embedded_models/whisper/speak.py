"""Speech of the training voices: FOLDER/speech/part-*.npz, made by one process for each core.

It runs where the engines are, or with those that `engines.gather` gathered. On one core of the
machine in README.md's table it makes an hour of speech in about 20 s.
"""

import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, get_args

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.embedded_models.whisper import engines, text
from benchmarks.embedded_models.whisper.bank import Utterance, make_bank, save_part
from benchmarks.embedded_models.whisper.numbers import DIGITS
from benchmarks.embedded_models.whisper.voices import Engine, Speaker, draw_speaker
from serve_app.domain import SAMPLE_RATE

PEAK = 0.7  # of full scale
QUIET = 0.012  # of the loudest 10 ms: what is below it at both ends is cut off
LENGTH_S = (0.1, 9.0)  # of an utterance
MIN_WORD_S = 0.03  # a shorter one was not timed well
P_COMMA, P_COMMAS_DIGITS = 0.08, 0.45  # of utterances that are said with pauses
PART, MAX_PARTS = 2000, 10_000  # utterances; parts


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a process has to do."""

    folder: Path
    libraries: Path | None
    opus: bool
    wide: bool
    engine: Engine | None


def utter(said: str, speaker: Speaker, rng: Random, libraries: Path | None) -> Utterance | None:
    """Return a text as it is spoken, at SAMPLE_RATE; None: too long or too short."""
    # A longer vocal tract is played slower: the engine speaks so much faster.
    engine_speaker = replace(
        speaker,
        stretch=speaker.stretch * speaker.tract,
        words_per_minute=round(speaker.words_per_minute / speaker.tract),
    )
    samples, rate, spans = engines.speak(_punctuate(said.split(), rng), engine_speaker, libraries)
    kept = _loud_part(samples, rate)
    played_rate = rate * speaker.tract
    if kept is None or not LENGTH_S[0] < (kept[1] - kept[0]) / played_rate < LENGTH_S[1]:
        return None
    ratio = Fraction(SAMPLE_RATE / played_rate).limit_denominator(200)
    sound = _resample(samples[kept[0] : kept[1]].astype(np.float32), ratio)
    scaled = np.round(sound * (PEAK * 32767 / max(1.0, float(np.abs(sound).max()))))
    words_s = np.full((len(said.split()), 2), np.nan, np.float32)
    if spans:
        at_s = (np.array(spans) - kept[0] / rate) * rate / played_rate
        at_s = at_s.clip(0, len(sound) / SAMPLE_RATE)
        if (at_s[:, 1] - at_s[:, 0]).min() >= MIN_WORD_S:
            words_s = at_s.astype(np.float32)
    return Utterance(
        text=said, voice=speaker.name, samples=scaled.astype(np.int16), words_s=words_s
    )


def _punctuate(words: list[str], rng: Random) -> list[str]:
    """Return the words with commas at times, which the engines speak as pauses, and an end."""
    are_digits = all(word in (*DIGITS, "oh") for word in words)
    if rng.random() < (P_COMMAS_DIGITS if are_digits else P_COMMA):
        share = 0.5 if are_digits else 0.25
        words = [word + "," * (rng.random() < share) for word in words[:-1]] + words[-1:]
    return [*words[:-1], words[-1] + rng.choice((".", "", "?", "!", ".", ""))]


def _loud_part(samples: NDArray[np.int16], rate: int) -> tuple[int, int] | None:
    """Return where the sound begins and ends; None: there is none."""
    window = rate // 100
    n_windows = len(samples) // window
    power = samples[: n_windows * window].astype(np.float32).reshape(n_windows, window) ** 2
    rms = np.sqrt(power.mean(axis=1)) if n_windows else np.zeros(0)
    loud = np.flatnonzero(rms > max(QUIET * rms.max(initial=0), 8))
    if not len(loud):
        return None
    return max(0, int(loud[0]) - 1) * window, min(n_windows, int(loud[-1]) + 2) * window


def _resample(samples: NDArray[np.float32], ratio: Fraction) -> NDArray[np.float32]:
    from scipy.signal import resample_poly

    if ratio == 1:
        return samples
    made: NDArray[np.float32] = resample_poly(samples, ratio.numerator, ratio.denominator)
    return made


def utter_many(
    n: int,
    rng: Random,
    draw_text: Callable[[Random], str],
    draw_voice: Callable[[Random], Speaker],
    libraries: Path | None = None,
) -> list[Utterance]:
    """Return so many utterances."""
    made: list[Utterance] = []
    while len(made) < n:
        speaker = draw_voice(rng)
        one = utter(draw_text(rng), speaker, rng, libraries)
        made += [one] if one else []
    return made


def _make_part(work: Work, number: int) -> float:
    """Write one part; return its seconds of speech. The same number gives the same part."""
    draw_text = text.read_grammar(wide=work.wide).utterance
    draw_voice = partial(draw_speaker, held_out=False, engine=work.engine)
    utterances = utter_many(PART, Random(number), draw_text, draw_voice, work.libraries)
    bank = make_bank(utterances)
    save_part(bank, work.folder / f"part-{number:04d}.npz", opus=work.opus)
    return bank.duration_s


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--hours", type=float, default=100.0, show_default=True, help="Of speech, about.")
@click.option("--limit-s", type=float, default=None, help="Begin no part after so long.")
@click.option("--first", type=int, default=0, help="Number of the first part.")
@click.option("--processes", type=int, default=os.cpu_count())
@click.option(
    "--libraries",
    type=click.Path(path_type=Path, exists=True, resolve_path=True),
    help="What `engines.gather` gathered.",
)
@click.option(
    "--engine",
    type=click.Choice(get_args(Engine)),
    default=None,
    help="Whose voices; espeak's and flite's unless given.",
)
@click.option("--opus", is_flag=True, help="A tenth of the size; reading it needs PyAV.")
@click.option("--wide/--narrow", default=True, show_default=True, help="Words of the grammar.")
def main(folder: Path, hours: float, limit_s: float | None, first: int, **how: Any) -> None:
    """Write FOLDER/speech/part-*.npz."""
    speech = folder / "speech"
    speech.mkdir(parents=True, exist_ok=True)
    n_processes = how.pop("processes")
    work = Work(folder=speech, **how)
    began_s, made_s = time.monotonic(), 0.0
    with multiprocessing.get_context("spawn").Pool(n_processes) as pool:
        numbers = range(first, first + MAX_PARTS)
        for number, part_s in enumerate(pool.imap(partial(_make_part, work), numbers), first):
            made_s += part_s
            took_s = time.monotonic() - began_s
            click.echo(f"part {number}: {made_s / 3600:.1f} h of speech in {took_s:.0f} s")
            if made_s > 3600 * hours or (limit_s is not None and took_s > limit_s):
                break


if __name__ == "__main__":
    main()
