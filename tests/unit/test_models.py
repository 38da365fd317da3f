from pathlib import Path

import pytest

from serve_app.errors import ModelLoadError, ModelNotFoundError
from serve_app.models import find_model, locate_model
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


def test_an_undeclared_model_is_refused_with_the_line_that_would_declare_it() -> None:
    with pytest.raises(ModelNotFoundError, match=r"turbo, mine.*'- source: base'"):
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
