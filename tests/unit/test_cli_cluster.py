"""The address that Ray leaves on a machine, of a cluster that runs or of one that is gone."""

import socket
from pathlib import Path

import pytest

from serve_app.cli.cluster import left_behind
from tests.servers import free_port


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "ray").mkdir()
    return tmp_path / "ray"


def leave(folder: Path, port: int) -> None:
    (folder / "ray_current_cluster").write_text(f"127.0.0.1:{port}")


def test_where_no_address_lies_none_is_gone() -> None:
    assert not left_behind()


def test_an_address_at_which_nobody_listens_is_left_behind(folder: Path) -> None:
    leave(folder, free_port())
    assert left_behind()


@pytest.mark.parametrize("text", ["", "127.0.0.1:none", "nowhere"])
def test_what_is_no_address_is_left_behind(folder: Path, text: str) -> None:
    (folder / "ray_current_cluster").write_text(text)
    assert left_behind()


def test_a_cluster_that_runs_is_joined(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gcs:
        leave(folder, gcs.getsockname()[1])
        assert not left_behind()


def test_who_names_an_address_is_believed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(folder, free_port())
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    assert not left_behind()
