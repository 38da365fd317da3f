from pathlib import Path

import pytest

from serve_app.domain import ModelState
from serve_app.errors import (
    InvalidRequestError,
    ModelLoadError,
    ModelNotCachedError,
    ModelNotFoundError,
)
from serve_app.models import SIZES, delete_cached, find_model, locate_model, make_card
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


def test_the_embedded_model_is_found_in_the_package() -> None:
    assert (locate_model(EMBEDDED) / "model.bin").is_file()


def test_a_local_directory_is_taken_as_it_is() -> None:
    directory = locate_model(EMBEDDED)
    assert locate_model(str(directory)) == directory


def test_a_directory_without_a_model_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"lacks model\.bin"):
        locate_model(str(tmp_path))


def test_a_hub_model_comes_from_the_hugging_face_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repo = tmp_path / "models--org--tiny"
    snapshot = repo / "snapshots" / commit
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(locate_model(EMBEDDED))
    (repo / "refs").mkdir()
    (repo / "refs" / "v1").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert locate_model("org/tiny", revision="v1") == snapshot


def test_a_hub_model_that_cannot_be_had_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelLoadError, match="org/none"):
        locate_model("org/none")


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


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def add_to_cache(hub_cache: Path, repo_id: str, *names: str) -> Path:
    """Lay a repository into the cache the way the hub client does."""
    repo = hub_cache / f"models--{repo_id.replace('/', '--')}"
    snapshot = repo / "snapshots" / ("0123456789" * 4)  # forks share commits
    snapshot.mkdir(parents=True)
    (repo / "blobs").mkdir()
    for name in names:
        (repo / "blobs" / name).write_text(name)
        (snapshot / name).symlink_to(repo / "blobs" / name)
    return repo


def test_deleting_takes_the_models_files_and_no_others(hub_cache: Path) -> None:
    old = add_to_cache(hub_cache, "org/old", "model.bin", "config.json")
    fork = add_to_cache(hub_cache, "fork/old", "model.bin", "config.json")
    delete_cached("org/old", DECLARED)
    assert not old.exists()
    assert (fork / "blobs" / "model.bin").is_file()
    with pytest.raises(ModelNotCachedError):
        delete_cached("org/old", DECLARED)


def test_a_size_is_deleted_by_its_short_name(hub_cache: Path) -> None:
    repo = add_to_cache(hub_cache, "Systran/faster-whisper-tiny", "model.bin", "config.json")
    delete_cached("tiny", DECLARED)
    assert not repo.exists()


@pytest.mark.parametrize(
    "name",
    ["turbo", "house-model", "large", "large-v3", "Systran/faster-whisper-large-v3", "whisper-1"],
)
def test_the_files_of_a_declared_model_stay_under_whatever_name(name: str, hub_cache: Path) -> None:
    declared = (*DECLARED, ModelSettings(name="big", source="large-v3"))
    repo = add_to_cache(hub_cache, "Systran/faster-whisper-large-v3", "model.bin", "config.json")
    with pytest.raises(InvalidRequestError, match="declares"):
        delete_cached(name, declared)
    assert repo.exists()


def test_what_other_programs_keep_in_the_cache_is_not_ours_to_delete(hub_cache: Path) -> None:
    add_to_cache(hub_cache, "org/chat", "model.safetensors", "config.json")
    with pytest.raises(ModelNotCachedError):
        delete_cached("org/chat", DECLARED)


def test_without_a_cache_nothing_is_cached(hub_cache: Path) -> None:
    with pytest.raises(ModelNotCachedError):
        delete_cached("org/old", DECLARED)
