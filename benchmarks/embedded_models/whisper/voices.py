"""Which voices speak: those that the model is trained on, and those kept out for its card."""

from dataclasses import dataclass
from random import Random
from typing import Literal

Engine = Literal["espeak", "flite", "rhvoice"]

# espeak-ng's accents, the likelier ones more than once.
ACCENTS = (
    *(("en-us",) * 5 + ("en",) * 3 + ("en-gb-x-rp",) * 2),
    *("en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc"),
)
# espeak-ng's variants, less those held out and those that are no human voice.
VARIANTS = (
    *("m1", "m2", "m3", "m4", "m6", "m7", "m8", "f1", "f3", "f4", "f5"),
    *("klatt", "klatt2", "klatt4", "Alex", "Alicia", "Andrea", "Andy", "Annie", "Denis", "Gene"),
    *("Gene2", "Hugo", "Jacky", "Lee", "Marco", "Mario", "Michael", "Mike", "Nguyen", "adam"),
    *("anika", "antonio", "aunty", "belinda", "benjamin", "boris", "caleb", "david", "ed"),
    *("edward", "edward2", "grandma", "grandpa", "iven", "iven2", "iven3", "john", "linda"),
    *("max", "michel", "miguel", "norbert", "pablo", "paul", "pedro", "quincy", "rob", "robert"),
    *("shelby", "steph", "steph2", "steph3", "travis", "victor", "zac"),
)
P_VARIANT = 0.93  # else the accent's own voice
FLITE_TRAINING = ("awb", "rms", "rms", "awb", "kal16", "kal")
RHVOICE_TRAINING = ("CLB", "CLB", "BDL")  # the first is a woman's

# Never trained on: an accent with any variant, three variants with any accent, a flite voice.
HELD_OUT_ESPEAK = (
    *(f"en-gb-scotland+{variant}" for variant in ("m1", "m3", "f1", "f4", "Alex", "linda")),
    *(f"{accent}+{variant}" for accent in ("en-us", "en") for variant in ("f2", "m5", "klatt3")),
)
HELD_OUT_FLITE = ("slt",)

# The mean pitch that each flite voice was made with, in Hz.
FLITE_PITCH_HZ = {"kal": 105, "kal16": 105, "awb": 120, "rms": 105, "slt": 170}

# Of utterances that flite speaks: few voices, and six times the cost of one by espeak-ng. More of
# the training, because its voices, cut from recordings, are harder.
P_FLITE = {"training": 0.45, "held out": 0.32}
P_TRACT = 0.6  # of the training's utterances that get another vocal tract
# Factors on all frequencies: from a long vocal tract to a short one, as of a child.
TRACT = {"flite": (0.85, 1.28), "espeak": (0.92, 1.1), "rhvoice": (0.85, 1.15)}
# flite's training voices are men. Of those with another vocal tract so many speak as women do.
P_HIGH, HIGH_TRACT, HIGH_HZ = 0.5, (1.08, 1.3), (145.0, 220.0)


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """A voice, and how it speaks this once."""

    engine: Engine
    voice: str
    words_per_minute: int = 160  # of espeak-ng, as are the next three; see its speak_lib.h
    pitch: int = 50
    pitch_range: int = 50
    gap: int = 0  # between words, in 10 ms at the default speed
    stretch: float = 1.0  # of flite and RHVoice: factor on durations
    pitch_factor: float = 1.0  # of the same: factor on the voice's mean pitch
    tract: float = 1.0  # factor on all frequencies, by resampling; durations are kept by `stretch`

    @property
    def name(self) -> str:
        """Return the voice as the cards name it."""
        return self.voice if self.engine == "espeak" else f"{self.engine}:{self.voice}"


def draw_speaker(rng: Random, *, held_out: bool, engine: Engine | None = None) -> Speaker:
    """Return a voice of the training set, or one of those kept out of it, which stay as made.

    Args:
        rng: what draws it.
        held_out: one that was kept out.
        engine: whose voice; None: espeak-ng's or flite's.
    """
    if engine is None:
        p_flite = P_FLITE["held out" if held_out else "training"]
        engine = "flite" if rng.random() < p_flite else "espeak"
    changed = not held_out and rng.random() < P_TRACT
    tract = rng.uniform(*TRACT[engine]) if changed else 1.0
    if engine == "espeak":
        return _draw_espeak(rng, tract, held_out=held_out)
    if engine == "rhvoice":
        voice = rng.choice(RHVOICE_TRAINING)
        pitch, stretch = rng.uniform(0.85, 1.2), rng.uniform(0.75, 1.25)
        return Speaker(engine=engine, voice=voice, stretch=stretch, pitch_factor=pitch, tract=tract)
    voice = rng.choice(HELD_OUT_FLITE if held_out else FLITE_TRAINING)
    pitch, stretch = rng.uniform(0.8, 1.25), rng.uniform(0.8, 1.35)
    if changed and rng.random() < P_HIGH:
        tract = rng.uniform(*HIGH_TRACT)
        pitch = rng.uniform(*HIGH_HZ) / (FLITE_PITCH_HZ[voice] * tract)
    return Speaker(engine=engine, voice=voice, stretch=stretch, pitch_factor=pitch, tract=tract)


def _draw_espeak(rng: Random, tract: float, *, held_out: bool) -> Speaker:
    accent = rng.choice(ACCENTS)
    variant = f"+{rng.choice(VARIANTS)}" if rng.random() < P_VARIANT else ""
    return Speaker(
        engine="espeak",
        voice=rng.choice(HELD_OUT_ESPEAK) if held_out else accent + variant,
        words_per_minute=rng.randint(115, 205),
        pitch=rng.randint(20, 80),
        pitch_range=rng.randint(25, 80),
        gap=rng.choice((0, 0, 0, 0, 0, 0, 1, 2, 4, 8)),
        tract=tract,
    )
