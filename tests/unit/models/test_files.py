from pathlib import Path

import pytest

from serve_app.errors import ModelLoadError
from serve_app.models import locate_model
from serve_app.settings import EMBEDDED


def test_the_embedded_model_is_found_in_the_package() -> None:
    assert (locate_model(EMBEDDED) / "model.bin").is_file()


def test_a_local_directory_is_taken_as_it_is() -> None:
    directory = locate_model(EMBEDDED)
    assert locate_model(str(directory)) == directory


def test_a_directory_below_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "own").symlink_to(locate_model(EMBEDDED))
    assert locate_model("~/own") == tmp_path / "own"


@pytest.mark.parametrize("source", ["/models/typo", "./typo", "~/typo", "~nobody-here/typo"])
def test_a_mistyped_path_is_not_looked_for_on_the_hub(source: str) -> None:
    with pytest.raises(ModelLoadError, match=r"typo is not a directory\. Correct the path"):
        locate_model(source)


def test_a_directory_without_a_model_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"lacks model\.bin"):
        locate_model(str(tmp_path))
    for path in locate_model(EMBEDDED).iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "tokenizer.json").unlink()  # faster-whisper would take another model's
    with pytest.raises(ModelLoadError, match=r"lacks tokenizer\.json.*again"):
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
