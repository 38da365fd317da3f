"""Language detection by a multilingual model: of published shape, with random weights."""

from pathlib import Path

import pytest

from benchmarks import random_model
from serve_app.languages import LANGUAGES
from serve_app.pipeline import whole_chunk
from serve_app.settings import ModelSettings
from serve_app.stages.whisper import WhisperEngine
from tests.clips import clip


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory: pytest.TempPathFactory) -> WhisperEngine:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(random_model, "CACHE", tmp_path_factory.mktemp("models"))
        directory: Path = random_model.random_model("tiny")
    settings = ModelSettings(name="tiny", source=str(directory), device="cpu")
    return WhisperEngine(directory, settings, n_cores=2)


def test_every_language_has_a_probability_and_the_likeliest_is_first(
    multilingual: WhisperEngine,
) -> None:
    found = multilingual.detect_languages(whole_chunk(clip("light")))
    codes, probabilities = zip(*found, strict=True)
    assert len(codes) == len(set(codes)) == 99
    assert set(codes) < set(LANGUAGES)
    assert list(probabilities) == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1.0, abs=1e-3)
