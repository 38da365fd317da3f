import pytest
from pydantic import ValidationError

from serve_app.settings import AppSettings, TranscriberUserConfig, model_name


def test_model_is_short_for_a_list_of_one() -> None:
    settings = AppSettings.model_validate({"model": "Systran/faster-whisper-base"})
    [model] = settings.models
    assert (model.name, model.source) == ("faster-whisper-base", "Systran/faster-whisper-base")


def test_device_goes_with_model() -> None:
    settings = AppSettings.model_validate({"model": "turbo", "device": "cuda"})
    assert settings.models[0].device == "cuda"


def test_model_and_models_together_are_refused() -> None:
    with pytest.raises(ValidationError, match="not both"):
        AppSettings.model_validate({"model": "a", "models": [{"name": "b", "source": "c"}]})


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="batch_window"):
        AppSettings.model_validate({"batch_window": 3})
    with pytest.raises(ValidationError, match="batch_size"):
        TranscriberUserConfig.model_validate({"batch_size": 3})


def test_two_models_must_not_share_a_name() -> None:
    models = [{"name": "a", "source": "x"}, {"name": "b", "source": "y", "aliases": ["a"]}]
    with pytest.raises(ValidationError, match="share"):
        AppSettings.model_validate({"models": models})


@pytest.mark.parametrize(
    ("source", "name"),
    [("org/my_model", "my_model"), ("/data/models/tiny/", "tiny"), ("turbo", "turbo")],
)
def test_a_models_name_is_the_last_part_of_its_source(source: str, name: str) -> None:
    assert model_name(source) == name
