"""The same random weights in the files of three programs, and what each makes of a clip."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.peer_models import CHECKPOINT, write_openai, write_transformers
from benchmarks.peer_programs import (
    NEEDS,
    FasterWhisper,
    FasterWhisperBatched,
    OpenAIWhisper,
    Transformers,
    present,
)
from benchmarks.peer_sides import Asked, Clip, Heard, InProcess, Side, make_clip, windows_per_s
from benchmarks.random_model import N_TEXT_TOKENS, Shape, vocabulary, write
from serve_app.settings import AppSettings
from tests.clips import speech

WHY = "the extra serve_app[peers] is not installed"
torch = pytest.importorskip("torch", reason=WHY)
whisper = pytest.importorskip("whisper", reason=WHY)
transformers = pytest.importorskip("transformers", reason=WHY)

SMALL = Shape(width=64, n_heads=2, n_encoder_layers=2, n_decoder_layers=2, aligned_like="tiny")
PROMPT = [50258, 50259, 50359, 50363]  # start, English, transcribe, no timestamps
N_TOKENS = 6
ASKED = Asked(n_tokens=N_TOKENS, suppressed=(-1, *range(N_TEXT_TOKENS, len(vocabulary(SMALL)))))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds ct2, transformers and openai: one model each, of the same weights."""
    root = tmp_path_factory.mktemp("models")
    for name in ("ct2", "transformers", "openai"):
        (root / name).mkdir()
    write(root / "ct2", SMALL, quantization="float32")
    write_transformers(SMALL, root / "transformers")
    write_openai(SMALL, root / "openai")
    return root


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return [make_clip(speech(30.0, seed)) for seed in range(3)]


@pytest.fixture(scope="module")
def sides(folder: Path) -> list[Side]:
    model = {
        "name": "random",
        "source": str(folder / "ct2"),
        "device": "cpu",
        "compute_type": "int8",
        "tokens_per_s": None,
        "temperatures": [0.0],
    }
    one = FasterWhisper(folder / "ct2", threads=2)
    return [
        InProcess(AppSettings.model_validate({"models": [model]}), batch=2),
        one,
        FasterWhisperBatched(one, batch=2),
        OpenAIWhisper(folder / "openai" / CHECKPOINT, threads=2),
        Transformers(folder / "transformers", threads=2, batch=2),
    ]


def test_the_weights_are_the_same_in_every_format(folder: Path) -> None:
    features = np.random.default_rng(0).standard_normal((1, 80, 3000)).astype(np.float32)
    of_openai = whisper.load_model(str(folder / "openai" / CHECKPOINT), device="cpu")
    load = transformers.WhisperForConditionalGeneration.from_pretrained
    of_transformers = load(folder / "transformers")
    with torch.no_grad():
        given, prompt = torch.from_numpy(features), torch.tensor([PROMPT])
        encoded = of_openai.embed_audio(given)
        logits = of_openai.logits(prompt, encoded)[0, -1].numpy()
        made = of_transformers(input_features=given, decoder_input_ids=prompt)
    assert encoded.std() > 0.1
    np.testing.assert_allclose(made.encoder_last_hidden_state, encoded, atol=1e-4)
    np.testing.assert_allclose(made.logits[0, -1].numpy(), logits, atol=1e-4)
    ours_encoded, ours_logits = of_ctranslate2(folder / "ct2", features)
    np.testing.assert_allclose(ours_encoded, encoded, atol=1e-4)
    known = ours_logits > np.finfo(np.float32).min  # what is never written has that
    assert known[:N_TEXT_TOKENS].sum() > N_TEXT_TOKENS - 5
    np.testing.assert_allclose(ours_logits[known], logits[known], atol=1e-4)


def of_ctranslate2(directory: Path, features: np.ndarray) -> tuple[Any, Any]:
    """What the encoder makes of features, and the logits of the first token."""
    import ctranslate2

    model = ctranslate2.models.Whisper(str(directory), compute_type="float32")
    encoded = model.encode(ctranslate2.StorageView.from_array(features), to_cpu=True)
    [made] = model.generate(encoded, [PROMPT], beam_size=1, return_logits_vocab=True, max_length=8)
    return np.array(encoded), np.array(made.logits[0][0])


def test_every_side_generates_as_many_tokens_as_it_is_asked_for(
    sides: Sequence[Side], clips: Sequence[Clip]
) -> None:
    for side in sides:
        heard = side.transcribe(clips, ASKED)
        assert [one.n_tokens for one in heard] == [N_TOKENS] * 3, side.name
        assert all(one.text for one in heard), side.name
        assert windows_per_s(side, clips[:1], ASKED) > 0


class Eager:
    """Stops after one token."""

    name = "eager"
    compute_type = "int8"
    batch = 1

    def transcribe(self, clips: Sequence[Clip], asked: Asked) -> list[Heard]:
        return [Heard(text="word", n_tokens=1) for _ in clips]


def test_a_side_that_generates_fewer_tokens_ends_the_run(clips: Sequence[Clip]) -> None:
    with pytest.raises(RuntimeError, match="eager generated"):
        windows_per_s(Eager(), clips, ASKED)


def test_a_peer_that_is_not_installed_is_left_out_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(NEEDS, "transformers", "not_installed_anywhere")
    assert present(["faster-whisper", "openai-whisper", "transformers"]) == [
        "faster-whisper",
        "openai-whisper",
    ]
    assert "transformers is not installed and left out: pip install 'serve_app[peers]'" in (
        capsys.readouterr().out
    )
