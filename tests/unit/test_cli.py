import socket
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from serve_app.cli import main, profile_path


def test_a_profile_is_found_by_name_and_by_path(tmp_path: Path) -> None:
    assert profile_path("demo").name == "demo.yaml"
    own = tmp_path / "own.yaml"
    own.touch()
    assert profile_path(str(own)) == own


def test_an_unknown_profile_is_refused_with_the_known_ones() -> None:
    with pytest.raises(click.BadParameter, match="demo"):
        profile_path("turbo-deluxe")


def test_a_port_in_use_is_told_with_the_remedy() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        answer = CliRunner().invoke(main, ["demo", "--port", str(taken.getsockname()[1])])
    assert answer.exit_code == 1
    assert "in use" in answer.output
    assert "--port" in answer.output


def test_help_names_the_commands() -> None:
    output = CliRunner().invoke(main, ["--help"]).output
    assert "serve" in output
    assert "demo" in output
