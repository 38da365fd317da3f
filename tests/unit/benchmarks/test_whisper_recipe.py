"""The recipe of the embedded Whisper model, piece by piece; no engine of speech is needed."""

import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest

from benchmarks.embedded_models.whisper import engines, held_out, numbers, text
from benchmarks.embedded_models.whisper.bank import (
    Bank,
    Utterance,
    load_bank,
    make_bank,
    save_part,
)
from benchmarks.embedded_models.whisper.speak import utter
from benchmarks.embedded_models.whisper.tokenizer import SpeechTokenizer, train
from benchmarks.embedded_models.whisper.voices import (
    HELD_OUT_ESPEAK,
    HELD_OUT_FLITE,
    Speaker,
    draw_speaker,
)
from benchmarks.embedded_models.whisper.windows import CHARACTERS, IGNORED, LAST_START_S, Planner
from serve_app.domain import SAMPLE_RATE
from serve_app.models import asset
from tests.clips import clip, references

# What the machine with the GPU need not have.
ABSENT = ("av", "ctranslate2", "faster_whisper", "jiwer", "pydantic", "ray", "yaml")


@pytest.fixture(scope="module")
def tokenizer() -> SpeechTokenizer:
    return SpeechTokenizer(asset("whisper-demo-en") / "tokenizer.json")


@pytest.fixture(scope="module")
def bank() -> Bank:
    return make_bank(
        [
            Utterance(
                text=said,
                voice="en",
                samples=clip(name)[4800:-8000],
                words_s=np.linspace(0, 0.5, 2 * len(said.split()), dtype=np.float32).reshape(-1, 2),
            )
            for name, said in references().items()
        ]
    )


@pytest.mark.parametrize(
    ("n", "said"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (40, "forty"),
        (87, "eighty seven"),
        (300, "three hundred"),
        (1005, "one thousand five"),
        (20_317, "twenty thousand three hundred seventeen"),
    ],
)
def test_numbers_are_said_as_words(n: int, said: str) -> None:
    assert numbers.cardinal(n) == said


@pytest.mark.parametrize("wide", [False, True])
def test_all_that_is_said_can_be_spelt(wide: bool, tokenizer: SpeechTokenizer) -> None:
    grammar, rng = text.read_grammar(wide=wide), Random(1)
    said = [grammar.utterance(rng) for _ in range(2000)]
    assert set("".join(said)) <= CHARACTERS.keys()
    assert len(set(said)) > 1500
    for word in {word for one in (*said, *grammar.words) for word in one.split()}:
        tokens = tokenizer.encode(word)
        assert tokenizer.bare_space not in tokens
        assert tokenizer.decode(tokens).strip() == word


def test_the_cards_words_are_a_part_of_the_wider_vocabulary() -> None:
    narrow, wide = (set(text.read_grammar(wide=wide).words) for wide in (False, True))
    assert narrow < wide


def test_voices_kept_out_never_train() -> None:
    rng = Random(2)
    training = {draw_speaker(rng, held_out=False).name for _ in range(5000)}
    training |= {draw_speaker(rng, held_out=False, engine="rhvoice").name for _ in range(50)}
    held_out = {draw_speaker(rng, held_out=True).name for _ in range(500)}
    assert held_out == {*HELD_OUT_ESPEAK, *(f"flite:{voice}" for voice in HELD_OUT_FLITE)}
    assert not training & held_out
    assert not [name for name in training if "scotland" in name]
    assert {name for name in training if "rhvoice" in name} == {"rhvoice:CLB", "rhvoice:BDL"}
    assert not {name.partition("+")[2] for name in training} & {"f2", "m5", "klatt3"}


def test_a_new_vocabulary_has_what_faster_whisper_looks_up(tmp_path: Path) -> None:
    from faster_whisper.tokenizer import Tokenizer

    train(tmp_path / "tokenizer.json", n_sentences=5000)
    made = SpeechTokenizer(tmp_path / "tokenizer.json")
    read = Tokenizer(made._tokenizer, multilingual=False)
    assert made.size == 2534
    assert (read.sot, read.eot, read.sot_prev) == (made.start, made.end, made.previous)
    assert read.no_timestamps == made.no_timestamps
    assert read.timestamp_begin == made.first_timestamp
    assert made.bare_space in read.non_speech_tokens


@pytest.mark.parametrize("opus", [False, True])
def test_a_bank_is_read_as_it_was_written(bank: Bank, tmp_path: Path, opus: bool) -> None:
    save_part(bank, tmp_path / "part-0000.npz", opus=opus)
    save_part(bank, tmp_path / "part-0001.npz", opus=opus)
    read = load_bank(tmp_path)
    assert read.texts == bank.texts * 2
    for i in (0, len(bank) - 1, len(bank), 2 * len(bank) - 1):
        one, expected = read.utterance(i), bank.utterance(i % len(bank))
        assert one.text == expected.text
        assert np.array_equal(one.words_s, expected.words_s)
        sound, reference = one.samples.astype(float), expected.samples.astype(float)
        assert np.corrcoef(sound, reference)[0, 1] > (0.97 if opus else 0.999999)


def test_an_empty_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="speak"):
        load_bank(tmp_path)


def test_a_window_is_written_in_the_order_in_which_it_is_spoken(
    bank: Bank, tokenizer: SpeechTokenizer
) -> None:
    planner = Planner(bank, tokenizer, np.random.default_rng(3))
    n_with_times = n_silent = n_prompts = n_left_out = 0
    for window in (planner.draw(30.0) for _ in range(200)):
        inputs, labels = list(window.inputs), list(window.labels)
        begin = inputs.index(tokenizer.start)
        assert labels[:begin] == [IGNORED] * begin
        n_prompts += begin > 0
        inputs, labels = inputs[begin:], labels[begin:]
        assert labels[-1] == tokenizer.end
        if not window.placements:
            assert labels[0] == tokenizer.no_speech
            n_silent += 1
            continue
        # Each input is the label before it, but that the mode is given and not written.
        assert inputs[2:] == labels[1:-1]
        said = tokenizer.decode([label for label in labels if label < tokenizer.end]).split()
        with_times = inputs[1] != tokenizer.no_timestamps
        whole = window.placements[: None if window.characters else -1]
        written = [p for p in whole if not with_times or p.start_s < LAST_START_S]
        assert said == [word for p in written for word in bank.texts[p.utterance].split()]
        if not with_times:
            continue
        n_with_times += 1
        times = [label for label in labels if label >= tokenizer.first_timestamp]
        assert times == sorted(times)
        is_left_out = len(written) < len(window.placements)
        assert len(times) == 2 * len(written) + is_left_out
        n_left_out += is_left_out
    assert min(n_with_times, n_silent, n_prompts, n_left_out) > 0


def test_a_shifted_window_has_the_same_text_and_later_times(
    bank: Bank, tokenizer: SpeechTokenizer
) -> None:
    planner = Planner(bank, tokenizer, np.random.default_rng(6))
    windows = [planner.draw(5.0) for _ in range(16)]
    clean = np.ones(16, np.bool_)
    plain, shifted = (planner._collate(windows, 5.0, clean, offset) for offset in (0, 1250))
    begins = (plain.inputs == tokenizer.start).argmax(1)
    in_prompt = np.arange(plain.inputs.shape[1]) < begins[:, None]
    for before, after in ((plain.inputs, shifted.inputs), (plain.labels, shifted.labels)):
        is_time = (before >= tokenizer.first_timestamp) & ~in_prompt
        assert is_time.any()
        assert np.array_equal(after, before + 1250 * is_time)
        assert after.max() < tokenizer.size
    assert ((plain.inputs >= tokenizer.first_timestamp) & in_prompt).any()
    offsets = [planner.draw_batch(1, 5.0, p_clean=1.0, p_single=1.0).offset for _ in range(50)]
    assert offsets.count(0) > 0
    assert 0 < max(offsets) <= 1250
    assert planner.draw_batch(1, 30.0, p_clean=1.0, p_single=1.0).offset == 0


def test_what_is_aligned_is_text_and_lies_in_the_window(
    bank: Bank, tokenizer: SpeechTokenizer
) -> None:
    planner = Planner(bank, tokenizer, np.random.default_rng(4))
    plan = planner.draw_batch(16, 5.0, p_clean=0.5, p_single=0.2)
    row, position, first, end = plan.aligned.T
    assert (plan.labels[row, position] <= tokenizer.end).all()
    assert (first < end).all()
    assert end.max() <= 250
    assert (plan.placed[:, 3] + plan.placed[:, 2] / plan.played[:, 0] <= 5 * SAMPLE_RATE + 1).all()


def test_training_needs_no_more_than_torch_numpy_tokenizers_and_click() -> None:
    blocked = f"import sys; sys.modules.update(dict.fromkeys({ABSENT!r}))"
    modules = ("train", "speak", "engines")
    script = f"{blocked}\nimport " + ", ".join(
        f"benchmarks.embedded_models.whisper.{name}" for name in modules
    )
    pytest.importorskip("torch", reason="the extra serve_app[diarization] is not installed")
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr.decode()


@pytest.mark.parametrize(
    "speaker",
    [
        Speaker(engine="espeak", voice="en-us+f3"),
        Speaker(engine="espeak", voice="en-us+f3", tract=1.1),
        Speaker(engine="flite", voice="rms"),
        Speaker(engine="flite", voice="rms", tract=1.2),
    ],
)
def test_the_engines_tell_when_each_word_is_spoken(speaker: Speaker) -> None:
    said = "please close seven big windows"  # espeak-ng times "in the" as one word
    try:
        engines.speak(["one"], speaker)
    except OSError as error:
        pytest.skip(f"espeak-ng or flite is not installed: {error}")
    spoken = utter(said, speaker, Random(0), None)
    assert spoken is not None
    duration_s = len(spoken.samples) / SAMPLE_RATE
    assert 1.0 < duration_s < 4.0  # whatever the vocal tract
    starts, ends = spoken.words_s.T
    assert len(starts) == len(said.split())
    assert (np.diff(starts) > 0).all()
    assert starts[0] < 0.2
    assert ends[-1] > 0.9 * duration_s
    assert np.abs(spoken.samples).max() == pytest.approx(0.7 * 32767, rel=0.01)


def test_rhvoice_speaks_without_telling_when() -> None:
    speaker = Speaker(engine="rhvoice", voice="CLB", stretch=1.2, pitch_factor=1.1, tract=1.1)
    try:
        spoken = utter("please close seven big windows", speaker, Random(0), None)
    except OSError as error:
        pytest.skip(f"RHVoice is not installed: {error}")
    assert spoken is not None
    assert 1.0 < len(spoken.samples) / SAMPLE_RATE < 4.0
    assert np.isnan(spoken.words_s).all()


def test_files_and_clips_of_the_evaluation_are_what_they_say(bank: Bank) -> None:
    rng = np.random.default_rng(0)
    spoken = [bank.utterance(i) for i in range(3)]
    alone = held_out.clip(spoken[0], rng, snr_db=20)
    inside = alone.samples[round(alone.start_s * SAMPLE_RATE) : round(alone.end_s * SAMPLE_RATE)]
    noise = inside - spoken[0].samples.astype(np.float32) / 32768
    snr_db = 10 * np.log10(np.mean((inside - noise) ** 2) / np.mean(noise**2))
    assert snr_db == pytest.approx(20, abs=0.5)
    together = held_out.file_of(spoken, rng)
    assert together.text == " ".join(one.text for one in spoken)
    speech_s = sum(len(one.samples) for one in spoken) / SAMPLE_RATE
    gaps_s = len(together.samples) / SAMPLE_RATE - speech_s - held_out.TAIL_S
    assert 3 * 0.4 <= gaps_s <= 3 * 1.2
    kinds = {kind for kind, samples in held_out.without_speech(10) if len(samples) > SAMPLE_RATE}
    assert kinds == set(held_out.KINDS)
