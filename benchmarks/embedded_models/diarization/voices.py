"""The voices that the pipeline is trained on: espeak-ng and flite -> FOLDER/voices.npz.

Each espeak-ng variant and two flite voices at three pitches say sentences found in the source of
Python's standard library. Variants that are held out for tests, or are no human voice, stay out.
"""

import random
import re
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.conversations import RMS, Samples, speak
from serve_app.domain import SAMPLE_RATE

HELD_OUT = frozenset(
    (
        *("f2", "f5", "m3", "m7", "Andrea", "Alicia", "Diogo", "Michael", "linda", "edward"),
        *("belinda", "steph2", "victor", "max", "grandma", "pablo", "john", "norbert", "iven3"),
        "shelby",
    )
)
NOT_HUMAN = re.compile(
    "Demonic|UniRobot|anikaRobot|croak|whisperf?|Tweaky|fast|klatt[56]|AnxiousAndy|Gene2|"
    "RicishayMax[23]|edward2|robosoft.*"
)
ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-029", "en-gb-x-rp")
FLITE = ("flite:kal", "flite:awb")
PITCHES = ((0.82, 0.94), (0.97, 1.03), (1.07, 1.2))  # ranges of the factor on all frequencies
N_UTTERANCES = 30  # of each voice


@dataclass(frozen=True, kw_only=True, eq=False)
class Bank:
    """Utterances of many voices."""

    pcm: NDArray[np.int16]  # (n,), all utterances end to end
    ends: NDArray[np.int64]  # (n_utterances,), where each ends in `pcm`
    voices: NDArray[np.int64]  # (n_utterances,), whose each is, from 0

    @property
    def n_voices(self) -> int:
        """Return how many voices there are."""
        return int(self.voices.max()) + 1

    def draw(self, rng: np.random.Generator, voice: int) -> Samples:
        """Return one of a voice's utterances."""
        i = int(rng.choice(np.flatnonzero(self.voices == voice)))
        start = int(self.ends[i - 1]) if i else 0
        return self.pcm[start : self.ends[i]].astype(np.float32) / np.float32(32767)


def load_bank(folder: Path) -> Bank:
    """Return what `main` wrote."""
    with np.load(folder / "voices.npz") as stored:
        return Bank(pcm=stored["pcm"], ends=stored["ends"], voices=stored["voices"])


def sentences() -> list[str]:
    """Return sentences of 6 to 17 words from the standard library's source."""
    found: set[str] = set()
    for path in Path(sysconfig.get_paths()["stdlib"]).rglob("*.py"):
        text = re.sub(r"\s+#?\s*", " ", path.read_text(errors="ignore"))
        found.update(re.findall(r"[A-Z][a-z]+(?: [a-z]+,?){5,16}\.", text))
    return sorted(found)


def training_voices(rng: random.Random) -> Iterator[tuple[str, float]]:
    """Yield each voice's name and the factor on its frequencies."""
    listed = subprocess.run(
        ["espeak-ng", "--voices=variant"], capture_output=True, text=True, check=True
    ).stdout
    variants = sorted(set(re.findall(r"!v/(\S+)", listed)))
    names = [v for v in variants if v not in HELD_OUT and not NOT_HUMAN.fullmatch(v)]
    for pitch in PITCHES:
        for name in names:
            yield f"{rng.choice(ACCENTS)}+{name}", rng.uniform(*pitch)
        for name in FLITE:
            yield name, rng.uniform(*pitch)


def change_pitch(samples: Samples, factor: float) -> Samples:
    """Return the samples with all frequencies, and the speed, times a factor."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
    frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
    frame.sample_rate = round(SAMPLE_RATE * factor)
    parts = [f.to_ndarray()[0] for f in (*resampler.resample(frame), *resampler.resample(None))]
    changed: Samples = np.concatenate(parts)
    return changed * np.float32(RMS / np.sqrt((changed**2).mean()))


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--max-voices", type=int, default=None, help="A part of them, to see that it runs.")
def main(folder: Path, max_voices: int | None) -> None:
    """Write FOLDER/voices.npz."""
    rng = random.Random(1)
    texts = sentences()
    pcm, voices = [], []
    for voice, (name, factor) in enumerate(list(training_voices(rng))[:max_voices]):
        for _ in range(N_UTTERANCES):
            spoken = speak(rng.choice(texts), name, words_per_minute=rng.randint(140, 190))
            changed = np.clip(change_pitch(spoken, factor), -1, 1)
            pcm.append((changed * 32767).astype(np.int16))
            voices.append(voice)
    folder.mkdir(parents=True, exist_ok=True)
    ends = np.cumsum([len(one) for one in pcm])
    np.savez(folder / "voices.npz", pcm=np.concatenate(pcm), ends=ends, voices=np.array(voices))
    click.echo(f"{voices[-1] + 1} voices, {ends[-1] / SAMPLE_RATE / 60:.0f} minutes")


if __name__ == "__main__":
    main()
