"""Make the speech clips of this folder and the package's sample, with espeak-ng and flite.

In: nothing but the tables below. Out: `*.flac` (16 kHz mono) and `refs.tsv` beside this file and in
`turkish/`, and `serve_app/assets/sample/sample.flac` with its reference text. Run by hand when a
table changes:

    apt-get install espeak-ng flite
    python tests/data/make_clips.py
"""

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

RATE = 16_000  # Hz: what the model hears, so a decoder resamples nothing
PEAK = 0.7  # of full scale
LEAD_S, PAUSE_S, TAIL_S = 0.3, 0.7, 0.5  # a pause is long enough for the VAD to cut at it

HERE = Path(__file__).parent
SAMPLE = HERE.parents[1] / "serve_app" / "assets" / "sample"


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Utterances spoken by one voice, with a pause between."""

    name: str
    voice: str  # an espeak-ng voice, or "flite:" and a flite voice
    utterances: tuple[str, ...]
    words_per_minute: int = 150  # espeak-ng only


WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGITS = tuple(
    Clip(name=f"digit-{n}", voice="en-us", utterances=(word,)) for n, word in enumerate(WORDS)
)

PHRASES = (
    Clip(name="digits-1", voice="en-us", utterances=("one two three four",)),
    Clip(name="digits-2", voice="flite:awb", utterances=("three five eight",)),
    Clip(name="digits-3", voice="en-us+f3", utterances=("six four two nine",)),
    Clip(name="light", voice="en-us", utterances=("turn on the kitchen light",)),
    Clip(name="timer", voice="en-gb-x-rp", utterances=("set a timer for ten minutes",)),
    Clip(name="alarm", voice="flite:rms", utterances=("set the alarm at seven thirty",)),
    Clip(name="heater", voice="en", utterances=("set the temperature to twenty degrees",)),
    Clip(name="shopping", voice="en+f4", utterances=("add bread and butter to the list",)),
    Clip(name="music", voice="flite:awb", utterances=("play some music",)),
    Clip(name="train", voice="en-us+m3", utterances=("the train leaves at nine thirty",)),
    Clip(name="weather", voice="en-gb-x-rp", utterances=("it is very cold today",)),
    Clip(name="time", voice="flite:slt", utterances=("what time is it",)),
    Clip(name="meeting", voice="en-gb-scotland", utterances=("the meeting starts at ten",)),
    Clip(name="thanks", voice="flite:rms", utterances=("thank you very much",)),
)

# For what is spoken in another language; the demo model knows English only.
TURKISH = (Clip(name="light", voice="tr", utterances=("lütfen mutfağın ışığını aç",)),)

THE_SAMPLE = Clip(
    name="sample",
    voice="en+f2",
    utterances=("please close the door", "turn on the light in the kitchen"),
    words_per_minute=140,
)


def speak(text: str, clip: Clip) -> NDArray[np.float32]:
    """Return `text` in the clip's voice: mono samples at RATE, silence trimmed, peak at PEAK."""
    with tempfile.TemporaryDirectory() as folder:
        wav = str(Path(folder) / "speech.wav")
        engine, _, name = clip.voice.rpartition(":")
        if engine == "flite":
            command = ["flite", "-voice", name, "-t", text, "-o", wav]
        else:
            command = ["espeak-ng", "-v", name, "-s", str(clip.words_per_minute), "-w", wav, text]
        subprocess.run(command, check=True)
        samples = read_wav(wav)
    samples = trim(samples)
    return samples * (PEAK / np.abs(samples).max())


def read_wav(path: str) -> NDArray[np.float32]:
    """Return the samples of a sound file, mono at RATE."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    with av.open(path) as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    frames += resampler.resample(None)
    joined = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    return joined.astype(np.float32) / 32_768


def trim(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut the silence at both ends: 10 ms windows below 1.2 % of the loudest."""
    window = RATE // 100
    n_windows = len(samples) // window
    rms = np.sqrt((samples[: n_windows * window].reshape(n_windows, window) ** 2).mean(axis=1))
    loud = np.flatnonzero(rms > 0.012 * rms.max())
    return samples[max(0, loud[0] - 1) * window : (loud[-1] + 2) * window]


def render(clip: Clip) -> NDArray[np.float32]:
    """Return the whole clip: lead, utterances with a pause between, tail."""
    parts = [silence(LEAD_S)]
    for utterance in clip.utterances:
        parts += [speak(utterance, clip), silence(PAUSE_S)]
    return np.concatenate([*parts[:-1], silence(TAIL_S)])


def silence(duration_s: float) -> NDArray[np.float32]:
    """Return `duration_s` of digital silence."""
    return np.zeros(round(duration_s * RATE), dtype=np.float32)


def write_flac(path: Path, samples: NDArray[np.float32]) -> None:
    """Write mono samples at RATE as 16-bit FLAC."""
    with av.open(str(path), "w", format="flac", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("flac", rate=RATE, layout="mono")
        stream.format = "s16"
        ints = np.round(samples * 32_767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(ints[np.newaxis], format="s16", layout="mono")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def write_clips(folder: Path, clips: tuple[Clip, ...]) -> None:
    """Write clips and the table of their texts and voices."""
    folder.mkdir(exist_ok=True)
    lines = ["file\ttext\tvoice"]
    for clip in clips:
        write_flac(folder / f"{clip.name}.flac", render(clip))
        lines.append(f"{clip.name}.flac\t{' '.join(clip.utterances)}\t{clip.voice}")
    (folder / "refs.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Write every clip, the tables of references and the sample."""
    write_clips(HERE, DIGITS + PHRASES)
    write_clips(HERE / "turkish", TURKISH)
    SAMPLE.mkdir(parents=True, exist_ok=True)
    write_flac(SAMPLE / "sample.flac", render(THE_SAMPLE))
    (SAMPLE / "sample.txt").write_text(" ".join(THE_SAMPLE.utterances) + "\n", encoding="utf-8")
    print(f"{len(DIGITS + PHRASES + TURKISH)} clips in {HERE}, the sample in {SAMPLE}")


if __name__ == "__main__":
    main()
