import pytest

from serve_app.domain import ModelState
from serve_app.errors import ModelNotFoundError
from serve_app.models import SIZES, describe, find_model, make_card
from serve_app.settings import EMBEDDED, ModelSettings

DECLARED = (
    ModelSettings(name="turbo", source="deepdml/faster-whisper-large-v3-turbo-ct2"),
    ModelSettings(name="mine", source="/models/mine", aliases=("house-model",)),
)


@pytest.mark.parametrize(
    ("requested", "name"),
    [
        (None, "turbo"),
        ("turbo", "turbo"),
        ("deepdml/faster-whisper-large-v3-turbo-ct2", "turbo"),
        ("whisper-1", "turbo"),
        ("gpt-4o-mini-transcribe-2025-12-15", "turbo"),
        ("mine", "mine"),
        ("house-model", "mine"),
    ],
)
def test_a_model_is_found_by_name_source_or_alias(requested: str | None, name: str) -> None:
    assert find_model(requested, DECLARED).name == name


@pytest.mark.parametrize(
    ("source", "requested"),
    [
        ("deepdml/faster-whisper-large-v3-turbo-ct2", ["turbo", "large-v3-turbo"]),
        ("Systran/faster-distil-whisper-large-v3", ["distil", "distil-large-v3"]),
        ("distil-whisper/distil-large-v3.5-ct2", ["distil", "distil-large-v3.5"]),
        ("Systran/faster-whisper-large-v3", ["large-v3", "large"]),
        ("large-v3", ["Systran/faster-whisper-large-v3", "large"]),
        ("openai/whisper-tiny.en", ["tiny.en"]),
    ],
)
def test_a_published_model_is_found_by_what_clients_call_it(
    source: str, requested: list[str]
) -> None:
    declared = [*DECLARED[1:], ModelSettings(name="house", source=source)]
    for name in requested:
        assert find_model(name, declared).name == "house"
        assert name in make_card(declared[1], declared, ModelState.COLD).aliases


@pytest.mark.parametrize(
    ("source", "requested"),
    [
        ("acme/whisper-large-v3-turkish", "large-v3"),
        ("/models/faster-whisper-large-v3", "large-v3"),
        ("./large-v3", "large-v3"),
        ("Systran/faster-whisper-large-v3", "large-v2"),
        ("acme/whisper-large-v3", "Systran/faster-whisper-large-v3"),
    ],
)
def test_another_model_is_not_taken_for_a_published_one(source: str, requested: str) -> None:
    with pytest.raises(ModelNotFoundError):
        find_model(requested, [ModelSettings(name="house", source=source)])


def test_a_usual_name_means_the_model_that_bears_it_before_one_that_could() -> None:
    turbo = ModelSettings(name="x", source="deepdml/faster-whisper-large-v3-turbo-ct2")
    named = ModelSettings(name="turbo", source="/models/mine")
    assert find_model("turbo", [turbo, named]) is named
    assert "turbo" not in make_card(turbo, [turbo, named], ModelState.COLD).aliases


def test_the_sizes_are_faster_whispers() -> None:
    from faster_whisper.utils import _MODELS

    assert dict(SIZES) == _MODELS


def test_an_undeclared_model_is_refused_with_the_line_that_would_declare_it() -> None:
    with pytest.raises(ModelNotFoundError, match=r"turbo, mine.*'- {name: NAME, source: base}'"):
        find_model("base", DECLARED)


@pytest.mark.parametrize(
    ("source", "owner"),
    [
        (EMBEDDED, "serve_app"),
        ("/models/mine", "local"),
        ("Systran/faster-whisper-base", "Systran"),
        ("large-v3", "faster-whisper"),
    ],
)
def test_a_model_belongs_to_whoever_its_source_names(source: str, owner: str) -> None:
    model = ModelSettings(name="m", source=source)
    assert make_card(model, [model], ModelState.COLD).owner == owner


def test_every_alias_on_a_card_finds_its_model() -> None:
    for model in DECLARED:
        card = make_card(model, DECLARED, ModelState.READY)
        assert {find_model(alias, DECLARED).name for alias in card.aliases} == {card.name}


@pytest.mark.parametrize(
    ("source", "translates"),
    [
        ("deepdml/faster-whisper-large-v3-turbo-ct2", False),
        ("/models/Distil-medium", False),
        ("/srv/distillery/whisper-medium", True),
        ("turbo-labs/whisper-medium", True),
    ],
)
def test_a_models_own_name_tells_that_it_only_transcribes(source: str, translates: bool) -> None:
    model = ModelSettings(name="m", source=source)
    assert describe(model, ["en", "tr"]).translates is translates
