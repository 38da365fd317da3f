from pathlib import Path

import pytest

from serve_app.errors import InvalidRequestError, ModelNotCachedError
from serve_app.models import REQUIRED_FILES, cached_models, delete_cached
from serve_app.settings import ModelSettings

DECLARED = (
    ModelSettings(name="turbo", source="deepdml/faster-whisper-large-v3-turbo-ct2"),
    ModelSettings(name="mine", source="/models/mine", aliases=("house-model",)),
)


COMMIT = "0123456789" * 4  # of all repositories: forks share commits


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def add_to_cache(hub_cache: Path, repo_id: str, *names: str) -> Path:
    """Lay a repository into the cache the way the hub client does."""
    repo = hub_cache / f"models--{repo_id.replace('/', '--')}"
    snapshot = repo / "snapshots" / COMMIT
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


BROKEN_OFF = ("config.json", "tokenizer.json", "vocabulary.json", "abc.incomplete")


@pytest.mark.parametrize(
    ("repo_id", "names"),
    [("Systran/faster-whisper-large-v3", ["abc.incomplete"]), ("house/fine-tune", BROKEN_OFF)],
)
def test_a_model_whose_download_broke_off_is_seen_and_deleted(
    repo_id: str, names: list[str], hub_cache: Path
) -> None:
    repo = add_to_cache(hub_cache, repo_id, *names)
    (repo / "snapshots" / COMMIT / "abc.incomplete").unlink()  # it is among the blobs alone
    [model] = cached_models()
    assert (model.source, model.is_whole) == (repo_id, False)
    assert model.n_bytes == sum(map(len, names))  # each file holds its name
    delete_cached(repo_id, DECLARED)
    assert not repo.exists()


def test_a_whole_model_is_told_as_such(hub_cache: Path) -> None:
    add_to_cache(hub_cache, "house/fine-tune", *REQUIRED_FILES)
    [model] = cached_models()
    assert model.is_whole
    assert {path.name for path in model.directory.iterdir()} == set(REQUIRED_FILES)


@pytest.mark.parametrize(
    "names",
    [
        ("config.json", "tokenizer.json", "vocab.json"),
        ("config.json", "vocabulary.txt", "pytorch_model.bin"),
        ("model.bin",),
    ],
)
def test_a_model_of_another_kind_is_not_listed(names: tuple[str, ...], hub_cache: Path) -> None:
    add_to_cache(hub_cache, "org/chat", *names)
    assert not cached_models()


def test_without_a_profile_no_name_is_declared(hub_cache: Path) -> None:
    with pytest.raises(ModelNotCachedError):
        delete_cached("whisper-1", ())
