import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from serve_app.cli import main
from serve_app.models import REQUIRED_FILES


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["models", *words])


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def add_to_cache(hub_cache: Path, repo_id: str, card: bytes = b"") -> Path:
    repo = hub_cache / f"models--{repo_id.replace('/', '--')}"
    snapshot = repo / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("a" * 40)
    for name in REQUIRED_FILES:
        (snapshot / name).write_bytes(b"x" * 1_000_000)
    if card:
        (snapshot / "README.md").write_bytes(card)
    return repo


def test_every_model_is_listed_with_its_licence_and_what_is_here(hub_cache: Path) -> None:
    add_to_cache(hub_cache, "Systran/faster-whisper-tiny")
    add_to_cache(hub_cache, "house/fine-tune", b"---\ntags: [x]\nlicense: apache-2.0\n---\nText")
    add_to_cache(hub_cache, "house/no-utf-8", b"---\nauthor: Caf\xe9\nlicense: mit\n---\n")
    add_to_cache(hub_cache, "house/no-card")
    broken_off = add_to_cache(hub_cache, "Systran/faster-whisper-base")
    (broken_off / "snapshots" / ("a" * 40) / "model.bin").unlink()
    answer = run("list")
    assert answer.exit_code == 0
    found = {line.split()[1]: line for line in answer.stdout.splitlines()}
    assert found["Systran/faster-whisper-tiny"].split()[2:] == ["3", "MB", "MIT"]
    assert found["Systran/faster-whisper-medium"].split()[2:] == ["-", "MIT"]
    assert found["house/fine-tune"].split()[2:] == ["3", "MB", "apache-2.0"]
    assert found["house/no-utf-8"].split()[-1] == "mit"
    assert found["Systran/faster-whisper-base"].split()[2:] == ["2", "MB,", "incomplete", "MIT"]
    assert "see its card" in found["house/no-card"]
    assert "embedded" in answer.stdout


def test_a_model_is_removed_from_the_cache(hub_cache: Path) -> None:
    add_to_cache(hub_cache, "Systran/faster-whisper-tiny")
    assert run("remove", "tiny").exit_code == 0
    assert not (hub_cache / "models--Systran--faster-whisper-tiny").exists()
    again = run("remove", "tiny")
    assert again.exit_code == 1
    assert again.stderr.startswith("Error: There are no cached weights of 'tiny'")


def test_what_cannot_be_removed_is_told_in_one_line(
    hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = add_to_cache(hub_cache, "Systran/faster-whisper-tiny")

    def refuse(path: Path) -> None:
        raise PermissionError("planted")

    monkeypatch.setattr(shutil, "rmtree", refuse)
    answer = run("remove", "tiny")
    assert answer.exit_code == 1
    assert answer.stderr == f"Error: {repo} could not be deleted whole. Delete the rest by hand.\n"


def test_downloading_prints_where_the_files_are(hub_cache: Path) -> None:
    add_to_cache(hub_cache, "Systran/faster-whisper-tiny")
    answer = run("download", "tiny")
    assert answer.exit_code == 0
    assert (Path(answer.stdout.strip()) / "model.bin").is_file()
    missing = run("download", "house/none")
    assert missing.exit_code == 1
    assert "house/none" in missing.stderr
