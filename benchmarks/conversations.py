"""Synthetic conversations of which it is known who speaks when, made with espeak-ng and flite.

Two or three voices take turns, with pauses, with overlaps in a fifth of the turns, in a room or
without one, over noise. The voices are none that the demo pipeline was trained or tuned on.

    apt-get install espeak-ng flite
    python -m benchmarks.conversations    # writes those of tests/data/conversations
"""

import io
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from serve_app.domain import SAMPLE_RATE, Turn
from serve_app.stages.audio import decode_audio, to_float32

Samples = NDArray[np.float32]

VOICES = (
    *("en-us+f5", "en-us+m7", "en-gb+Andrea", "en-gb+Diogo", "en-us+linda", "en-gb+belinda"),
    *("en-us+victor", "en-029+max", "en-gb-x-rp+grandma", "en-us+john", "en-gb+iven3"),
    *("en-gb-scotland+shelby", "flite:rms", "flite:slt"),
)
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SENTENCES = (
    *("turn on the light in the kitchen", "please close the door", "what time is it"),
    *("set a timer for ten minutes", "set the alarm at seven thirty", "play some music"),
    *("add bread and butter to the list", "the train leaves at nine thirty", "thank you very much"),
    *(
        "it is very cold today",
        "the meeting starts at ten",
        "set the temperature to twenty degrees",
    ),
    *("open the window in the bedroom", "call me at eight fifteen", "how much is the ticket"),
    *("the number is {}", "my code is {}", "{}", "write down {}", "please dial {}"),
)

# Name, speakers, seconds and seed of those for the tests; stereo has a voice in each channel.
TEST_RECORDINGS = (("two", 2, 18.0, 1), ("three", 3, 28.0, 3), ("stereo", 2, 12.0, 4))
OPUS_BITS_PER_S = 32_000

RMS = 0.06  # of a voice; gains, noise and peaks are relative to it
PAUSE_S = (0.1, 1.2)  # between two turns
OVERLAP_S = (0.2, 1.2)  # where the next speaker does not wait
P_OVERLAP, P_ROOM, P_SAME_SPEAKER = 0.2, 0.5, 0.15
GAIN_DB = (-5.0, 5.0)
NOISE_DB = (14.0, 32.0)  # of the voices over the noise
GAP_S = 0.3  # a pause in an utterance at which the speaker's turn ends


@dataclass(frozen=True, kw_only=True, eq=False)
class Conversation:
    """One recording and what is true of it."""

    name: str = ""
    channels: Samples  # (n_speakers, n), each with one voice and its own noise
    turns: tuple[Turn, ...]  # by start; the speaker is the voice's name

    @property
    def duration_s(self) -> float:
        """Return the recording's length in seconds."""
        return float(self.channels.shape[1] / SAMPLE_RATE)

    def mono(self) -> Samples:
        """Return all voices in one channel, shape (n,)."""
        mixed: Samples = self.channels.sum(axis=0, dtype=np.float32)
        return mixed / np.float32(max(1.0, float(np.abs(mixed).max()) / 0.98))


def make_conversations(n: int, *, seed: int, duration_s: tuple[float, float]) -> list[Conversation]:
    """Return conversations of two and of three speakers by turns; the same for the same seed."""
    rng = np.random.default_rng(seed)
    return [
        cast_conversation(
            f"conversation-{i:02d}", rng, n_speakers=2 + i % 2, duration_s=rng.uniform(*duration_s)
        )
        for i in range(n)
    ]


def cast_conversation(
    name: str, rng: np.random.Generator, *, n_speakers: int, duration_s: float
) -> Conversation:
    """Return one conversation of voices drawn from VOICES."""

    def utter(voice: str) -> Samples:
        return speak(_text(rng), voice, words_per_minute=int(rng.integers(140, 190)))

    voices = [str(v) for v in rng.choice(VOICES, n_speakers, replace=False)]
    return replace(make_conversation(rng, voices, utter, duration_s), name=name)


def make_conversation(
    rng: np.random.Generator,
    voices: Sequence[str],
    utter: Callable[[str], Samples],
    duration_s: float,
) -> Conversation:
    """Return a conversation.

    Args:
        rng: what is drawn from.
        voices: who takes part.
        utter: returns the next utterance of a voice, at the loudness RMS.
        duration_s: of the recording.
    """
    n_speakers = len(voices)
    gains = [10 ** (rng.uniform(*GAIN_DB) / 20) for _ in voices]
    rooms = [_room(rng) for _ in voices] if rng.random() < P_ROOM else None
    channels = np.zeros((n_speakers, round(duration_s * SAMPLE_RATE)), np.float32)
    turns: list[Turn] = []
    speaker, start_s, free_s = 0, rng.uniform(0.0, 1.0), 0.0
    while start_s < duration_s - 0.5:
        spoken = utter(voices[speaker])
        for begin_s, end_s in speech_regions(spoken):
            if (begin := start_s + begin_s) < duration_s:
                end = min(duration_s, start_s + end_s)
                turns.append(Turn(speaker=voices[speaker], start_s=begin, end_s=end))
        sound = spoken if rooms is None else _convolve(spoken, rooms[speaker])
        _add(channels[speaker], gains[speaker] * sound, start_s)
        before_s, free_s = free_s, max(free_s, start_s + len(spoken) / SAMPLE_RATE)
        start_s = free_s + rng.uniform(*PAUSE_S)
        if rng.random() > P_SAME_SPEAKER and n_speakers > 1:
            speaker = (speaker + int(rng.integers(1, n_speakers))) % n_speakers
            if rng.random() < P_OVERLAP:  # at most two speak at a time
                start_s = max(before_s + 0.05, free_s - rng.uniform(*OVERLAP_S))
    noise = RMS * 10 ** (-rng.uniform(*NOISE_DB) / 20) / n_speakers**0.5
    channels += rng.standard_normal(channels.shape).astype(np.float32) * np.float32(noise)
    turns.sort(key=lambda turn: turn.start_s)
    return Conversation(channels=channels, turns=tuple(turns))


def speak(text: str, voice: str, *, words_per_minute: int) -> Samples:
    """Return a text in a voice: silence trimmed, at the loudness RMS."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        engine, _, name = voice.rpartition(":")
        if engine == "flite":
            stretch = f"duration_stretch={165 / words_per_minute:.2f}"
            command = ["flite", "-voice", name, "--setf", stretch, "-t", text, "-o", str(wav)]
        else:
            command = ["espeak-ng", "-v", name, "-s", str(words_per_minute), "-w", str(wav), text]
        subprocess.run(command, check=True)
        samples = to_float32(decode_audio(wav.read_bytes(), max_s=60).samples)
    begin_s, end_s = speech_regions(samples)[0][0], speech_regions(samples)[-1][1]
    samples = samples[round(begin_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)]
    return samples * np.float32(RMS / np.sqrt((samples**2).mean()))


def speech_regions(samples: Samples) -> list[tuple[float, float]]:
    """Return where an utterance sounds, in seconds, parted at pauses of GAP_S.

    A window of 10 ms sounds where it has 2 % of the loudest one's amplitude.
    """
    window = SAMPLE_RATE // 100
    n_windows = len(samples) // window
    rms = np.sqrt((samples[: n_windows * window].reshape(n_windows, window) ** 2).mean(axis=1))
    regions: list[tuple[float, float]] = []
    for i in np.flatnonzero(rms > 0.02 * rms.max()):
        begin_s, end_s = float(i) / 100, float(i + 1) / 100
        if regions and begin_s - regions[-1][1] <= GAP_S:
            begin_s = regions.pop()[0]
        regions.append((begin_s, end_s))
    return regions


def _text(rng: np.random.Generator) -> str:
    sentences = rng.choice(SENTENCES, rng.integers(1, 4), replace=False)
    return ". ".join(
        sentence.format(" ".join(rng.choice(DIGITS, rng.integers(3, 7)))) for sentence in sentences
    )


def _room(rng: np.random.Generator) -> Samples:
    """Return the impulse response of a room: the direct sound, and noise that decays by 60 dB."""
    decay_s = rng.uniform(0.1, 0.45)
    at_s = np.arange(round(0.7 * decay_s * SAMPLE_RATE)) / SAMPLE_RATE
    # 6.9 is the natural logarithm of 60 dB in amplitude.
    response = rng.standard_normal(len(at_s)) * np.exp(-6.9 * at_s / decay_s)
    response *= rng.uniform(0.02, 0.12)
    response[0] = 1.0
    return response.astype(np.float32)


def _convolve(one: Samples, other: Samples) -> Samples:
    n = len(one) + len(other) - 1
    return np.fft.irfft(np.fft.rfft(one, n) * np.fft.rfft(other, n), n).astype(np.float32)


def _add(channel: Samples, sound: Samples, start_s: float) -> None:
    at = round(start_s * SAMPLE_RATE)
    room = len(channel) - at
    channel[at : at + len(sound)] += sound[:room]


def encode(samples: Samples, container: str, codec: str, bit_rate: int | None = None) -> bytes:
    """Return samples of shape (n_channels, n), n_channels 1 or 2, as a file."""
    layout = "mono" if len(samples) == 1 else "stereo"
    ints = np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as out:
        stream = out.add_stream(codec, rate=SAMPLE_RATE, layout=layout)
        if not isinstance(stream, AudioStream):
            raise TypeError(f"{codec} is not an audio codec")
        if bit_rate:
            stream.bit_rate = bit_rate
        packed = np.ascontiguousarray(ints.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=layout)
        frame.sample_rate = SAMPLE_RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    return buffer.getvalue()


def to_rttm(conversation: Conversation) -> str:
    """Return the turns in NIST's format for who speaks when."""
    return "".join(
        f"SPEAKER {conversation.name} 1 {turn.start_s:.3f} {turn.duration_s:.3f} "
        f"<NA> <NA> {turn.speaker} <NA> <NA>\n"
        for turn in conversation.turns
    )


def main() -> None:
    """Write the recordings that the tests use, and who speaks when in them."""
    folder = Path(__file__).parent.parent / "tests" / "data" / "conversations"
    folder.mkdir(parents=True, exist_ok=True)
    for name, n_speakers, duration_s, seed in TEST_RECORDINGS:
        rng = np.random.default_rng(seed)
        made = cast_conversation(name, rng, n_speakers=n_speakers, duration_s=duration_s)
        (folder / f"{name}.rttm").write_text(to_rttm(made))
        if name == "stereo":
            (folder / f"{name}.flac").write_bytes(encode(made.channels, "flac", "flac"))
        else:
            recording = encode(made.mono()[None], "ogg", "libopus", OPUS_BITS_PER_S)
            (folder / f"{name}.ogg").write_bytes(recording)


if __name__ == "__main__":
    main()
