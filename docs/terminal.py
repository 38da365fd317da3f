"""Make README's pictures of terminals: `python -m docs.terminal`. Each is a real run of a program.

A program runs in a terminal of its own; what it showed becomes an SVG, drawn by rich.
"""

import fcntl
import io
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).parents[1]
PICTURES = Path(__file__).parent / "terminal"
N_COLUMNS, N_ROWS = 110, 40
TIMEOUT_S = 600.0
# Browsers' own fonts draw it: rich's would be fetched from another site.
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Shot:
    """A picture: what was typed, and how much of what followed is shown."""

    command: str
    # What stands at the picture's end, where it is not the program's.
    until: re.Pattern[str] | None = None
    exit_code: int = 0


SHOTS: Mapping[str, Shot] = {
    "transcribe": Shot(
        command="serve-app transcribe tests/data/[tw]*.flac tests/data/conversations/*.ogg "
        "-m embedded -f srt vtt --output-dir out",
        until=re.compile(r"\r *[5-8]\d%\|[^\r\n]*left(?=\r)"),
    ),
    "speakers": Shot(
        command="serve-app transcribe tests/data/conversations/two.ogg -m embedded "
        "--diarization-model embedded",
    ),
    "doctor": Shot(command="serve-app doctor"),
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(SHOTS)))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=PICTURES)
def main(names: tuple[str, ...], out: Path) -> None:
    """Make the pictures of these NAMES, or all."""
    out.mkdir(parents=True, exist_ok=True)
    for name in names or SHOTS:
        path = out / f"{name}.svg"
        path.write_text(draw(take(SHOTS[name])), encoding="utf-8")
        click.echo(path)


def take(shot: Shot) -> Text:
    """Run the program and return what stood on its terminal, after the prompt and the command.

    Raises:
        click.ClickException: it ended otherwise than the picture is to show.
    """
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "tests" / "data", Path(folder) / "tests" / "data")
        exit_code, stream = run(shot.command, Path(folder))
    if exit_code != shot.exit_code:
        raise click.ClickException(f"{shot.command} ended with {exit_code}:\n{stream}")
    if shot.until:
        found = shot.until.search(stream)
        if not found:
            raise click.ClickException(f"{shot.command} never showed {shot.until.pattern}")
        stream = stream[: found.end()]
    return Text.assemble(("$ ", "bold green"), f"{shot.command}\n", Text.from_ansi(screen(stream)))


def run(command: str, folder: Path) -> tuple[int, str]:
    """Return the exit code of a command, and everything that it wrote to its terminal."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", N_ROWS, N_COLUMNS, 0, 0))
    # Where they are set, programs believe them before the terminal.
    others = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    program = subprocess.Popen(
        ["bash", "-c", command],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=follower,
        env={**others, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    os.close(follower)
    written = b""
    with io.FileIO(leader) as terminal:
        try:
            while piece := terminal.read(65_536):
                written += piece
        except OSError:  # Linux's way to say that the program has closed its end
            pass
    return program.wait(TIMEOUT_S), written.decode()


def screen(stream: str) -> str:
    """Return the lines that stay on a terminal: of each, what follows its last return."""
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in stream.split("\n"))
    return "\n".join(lines).rstrip()


def draw(shown: Text) -> str:
    """Return an SVG of a terminal with that text."""
    console = Console(
        record=True, width=N_COLUMNS, file=io.StringIO(), force_terminal=True, color_system=None
    )
    console.print(shown, soft_wrap=False)
    drawn = console.export_svg(title="serve_app", theme=MONOKAI, unique_id="terminal")
    return _FONTS.sub("", drawn)


if __name__ == "__main__":
    main()
