"""README's pictures of terminals: what they show is what programs wrote, and of those of today."""

import re
from html import unescape
from pathlib import Path

import pytest

from docs.terminal import PICTURES, SHOTS, Shot, draw, run, screen, take

ROOT = Path(__file__).parents[2]


def shown(picture: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", picture)).split())


def test_a_line_that_is_written_over_shows_what_was_written_last() -> None:
    stream = "begun\r\n\r 10%|#   |\r         \rone.wav: done\r\n\r 50%|##  |"
    assert screen(stream) == "begun\none.wav: done\n 50%|##  |"


def test_a_program_has_a_terminal_and_its_exit_code_is_told(tmp_path: Path) -> None:
    exit_code, stream = run("tput cols; test -t 1 -a -t 2 && exit 3", tmp_path)
    assert (exit_code, stream.strip()) == (3, "110")


def test_a_picture_shows_the_command_and_what_it_wrote_without_other_sites() -> None:
    picture = draw(take(Shot(command="serve-app models list")))
    assert "$ serve-app models list" in shown(picture)
    assert "Systran/faster-whisper-large-v3" in shown(picture)
    assert "url(" not in picture.replace("url(#", "")


def test_a_picture_ends_where_it_is_to_end() -> None:
    made = take(Shot(command="printf 'one\\ntwo\\nthree\\n'", until=re.compile("two")))
    assert made.plain.splitlines()[1:] == ["one", "two"]


@pytest.mark.parametrize("name", SHOTS)
def test_readme_shows_a_picture_of_the_command_that_it_names(name: str) -> None:
    assert f"docs/terminal/{name}.svg" in (ROOT / "README.md").read_text()
    picture = (PICTURES / f"{name}.svg").read_text()
    assert SHOTS[name].command[:40] in shown(picture)
    assert len(picture) < 40_000
