"""A tiny network is trained for some steps on the clips of tests/data, packaged and served."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.embedded_models.whisper.bank import Utterance, make_bank, save_part
from benchmarks.embedded_models.whisper.tokenizer import N_TIMESTAMPS, SpeechTokenizer
from benchmarks.embedded_models.whisper.windows import Planner
from serve_app import Pcm, TranscriptionRequest, local
from serve_app.domain import SAMPLE_RATE
from serve_app.models import asset
from tests.clips import clip, references

torch = pytest.importorskip(
    "torch", reason="the extra serve_app[diarization], which brings torch, is not installed"
)

from benchmarks.embedded_models.whisper import checkpoints  # noqa: E402 - after the skip
from benchmarks.embedded_models.whisper.network import (  # noqa: E402
    Network,
    Shape,
    sinusoids,
    start_from,
)
from benchmarks.embedded_models.whisper.studio import Studio, mel_filters  # noqa: E402
from benchmarks.embedded_models.whisper.train import Run, Trainer  # noqa: E402
from benchmarks.embedded_models.whisper.train import train as train_slice  # noqa: E402

TOKENIZER = asset("whisper-demo-en") / "tokenizer.json"
BANK = make_bank(
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


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """So small a network is slower on several cores, and much slower where they are busy."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def planner(seed: int) -> Planner:
    return Planner(BANK, SpeechTokenizer(TOKENIZER), np.random.default_rng(seed))


def run(folder: Path) -> Run:
    """A slice of one step."""
    return Run(
        folder=folder,
        total_s=600.0,
        slice_s=0.0,
        shape="tiny",
        start=None,
        device="cpu",
        audio_s=6.0,
        rate=2e-3,
        workers=0,
    )


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio(BANK, "cpu", seed=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "speech").mkdir()
    save_part(BANK, tmp_path / "speech" / "part-0000.npz")
    (tmp_path / "tokenizer.json").write_bytes(TOKENIZER.read_bytes())
    return tmp_path


def test_features_are_those_of_faster_whisper(studio: Studio) -> None:
    from faster_whisper.feature_extractor import FeatureExtractor

    extractor = FeatureExtractor()
    assert np.allclose(mel_filters(), extractor.mel_filters, atol=1e-7)
    sound = clip("light").astype(np.float32) / 32768
    padded = np.pad(sound, (0, 5 * SAMPLE_RATE - len(sound)))
    made = studio.features(
        torch.from_numpy(padded)[None],
        torch.tensor([len(sound)]),
        warped=torch.tensor([False]),
    )[0]
    expected = extractor(sound)[:, :-1]
    n = expected.shape[1]
    assert np.abs(made[:, :n].numpy() - expected)[:, :-3].max() < 1e-3
    assert made.shape == (80, 500)
    assert made[:, n + 1 :].abs().max() == 0


def test_a_clean_window_is_its_utterances_and_a_spoilt_one_is_not(studio: Studio) -> None:
    for p_clean in (1.0, 0.0):
        plan = planner(1).draw_batch(8, 5.0, p_clean=p_clean, p_single=1.0)
        laid_out = studio._lay_out(plan)
        for (row, start, n, at), (speed, gain) in zip(plan.placed, plan.played, strict=True):
            if speed == 1.0:
                spoken = BANK.pcm[start : start + n] / 32768 * gain
                assert np.allclose(laid_out[row, at : at + n].numpy(), spoken, atol=1e-4)
        batch = studio.make(plan)
        durations = torch.from_numpy(plan.durations)
        plain = studio.features(laid_out, durations, warped=torch.zeros(8, dtype=torch.bool))
        differs = (batch.features - plain).abs().amax(dim=(1, 2))[plan.placed[:, 0]]
        # Any may be heard through shifted filters; some are not.
        assert (differs < 1e-4).any() if p_clean else (differs > 1e-2).all()
        assert batch.features.isfinite().all()


def test_a_deeper_network_begins_where_the_shallow_one_was() -> None:
    torch.manual_seed(0)
    sizes = {"width": 64, "n_heads": 2, "n_decoder_layers": 1, "n_tokens": 2534}
    shallow = Network(Shape(n_encoder_layers=1, **sizes))
    deep = Network(Shape(n_encoder_layers=3, **sizes))
    assert start_from(deep, shallow.state_dict()) == 2
    features, tokens = torch.randn(1, 80, 300), torch.randint(0, 1000, (1, 5))
    with torch.no_grad():
        assert torch.allclose(
            deep(features, tokens).logits, shallow(features, tokens).logits, atol=1e-5
        )
    wider = Network(Shape(n_encoder_layers=1, **(sizes | {"width": 128})))
    with pytest.raises(ValueError, match="another shape"):
        start_from(wider, shallow.state_dict())


def test_times_learnt_one_by_one_are_kept_and_those_never_learnt_get_apart() -> None:
    torch.manual_seed(0)
    shape = Shape(width=64, n_heads=2, n_encoder_layers=1, n_decoder_layers=1, n_tokens=2534)
    weights = Network(shape).state_dict()
    name = "model.decoder.embed_tokens.weight"
    with torch.no_grad():
        alike = 0.1 * sinusoids(N_TIMESTAMPS, 64) @ torch.randn(64, 64)
        weights[name] = weights[name].clone()
        weights[name][-N_TIMESTAMPS:] = alike
        weights[name][-1000:] = 0.0  # never learnt
    del weights["model.decoder.times.weight"]
    network = Network(shape)
    start_from(network, weights)
    made = network.decoder.embeddings()[-N_TIMESTAMPS:].detach()
    assert torch.allclose(made[:250], alike[:250], atol=0.05 * float(alike.abs().max()))
    late = torch.nn.functional.normalize(made[-1000:], dim=1)
    assert (late[:-50] * late[50:]).sum(1).max() < 0.9  # a second apart


def test_training_lowers_the_loss_and_goes_on_from_its_checkpoint(
    folder: Path, studio: Studio
) -> None:
    trainer = Trainer(run(folder))
    plan = planner(2).draw_batch(3, 3.0, p_clean=1.0, p_single=1.0)
    lost = [trainer.step(plan, studio).figures()["total"] for _ in range(25)]
    assert lost[-1] < 0.8 * lost[0]
    trainer.trained_s = 100.0
    trainer.save()

    resumed = train_slice(run(folder))
    assert resumed.n_steps == 26
    assert 100.0 < resumed.trained_s < 200.0
    stored = checkpoints.load(folder / "checkpoint")
    assert (stored.n_steps, stored.trained_s) == (26, round(resumed.trained_s, 1))
    assert all(path.stat().st_size < 16 * 2**20 for path in resumed.path.iterdir())
    before, after = (t.network.state_dict()["ctc.weight"] for t in (trainer, resumed))
    moved = (after - before).abs().max()
    assert 0 < moved < 0.1  # on from there, and not anew


def test_two_processes_train_one_network(folder: Path) -> None:
    module = ["-m", "benchmarks.embedded_models.whisper.train", str(folder)]
    spread = ["--standalone", "--nproc-per-node", "2"]
    how = ["--total-s", "600", "--slice-s", "0", "--shape", "tiny", "--audio-s", "6"]
    ended = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *spread, *module, *how],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("step 1 ") == 1  # only the first process tells
    assert checkpoints.load(folder / "checkpoint").n_steps == 1


def test_the_packaged_model_is_served_and_says_what_the_network_says(
    folder: Path, studio: Studio
) -> None:
    pytest.importorskip("transformers", reason="the extra serve_app[convert] is not installed")
    from benchmarks.embedded_models.whisper.package import package

    trainer = Trainer(run(folder))
    trainer.save()
    package(folder, folder / "model", quantization="float32")
    assert start_from(trainer.network, checkpoints.load_weights(folder / "weights.pt")) == 0
    trainer.network.load_state_dict(checkpoints.load(trainer.path).weights)
    from faster_whisper import WhisperModel

    model = WhisperModel(str(folder / "model"), device="cpu", cpu_threads=1)
    plan = planner(5).draw_batch(1, 30.0, p_clean=1.0, p_single=1.0)
    batch = studio.make(plan)
    encoded = np.array(model.encode(batch.features[0].numpy()))
    with torch.no_grad():
        own = trainer.network.model["encoder"](batch.features).numpy()
    assert np.allclose(encoded.reshape(own.shape), own, atol=1e-2)

    from transformers import WhisperForConditionalGeneration

    checkpoint = WhisperForConditionalGeneration.from_pretrained(folder / "hf")
    with torch.no_grad():
        written = checkpoint(batch.features, decoder_input_ids=batch.inputs).logits
        assert torch.allclose(
            written, trainer.network(batch.features, batch.inputs).logits, atol=1e-3
        )

    with local.load(str(folder / "model"), n_threads=1) as whisper:
        request = TranscriptionRequest(segments=True)
        made = whisper.transcribe(Pcm(samples=clip("light"), rate=SAMPLE_RATE), request)
    assert made.duration_s == pytest.approx(len(clip("light")) / SAMPLE_RATE)
