"""What was typed, to the files that are meant."""

import glob
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import click

STDIN = "-"


@dataclass(frozen=True)
class Source:
    """One file to transcribe."""

    name: str  # as it was typed or found

    @property
    def path(self) -> Path:
        """Return its path; of the standard input, a name for what it becomes."""
        return Path("stdin" if self.name == STDIN else self.name)

    @cached_property
    def audio(self) -> bytes | Path:
        """Return its path, or the bytes of what can be read only once."""
        if self.name == STDIN:
            return sys.stdin.buffer.read()
        return self.path if self.path.is_file() else self.path.read_bytes()

    @property
    def n_bytes(self) -> int:
        """Return its size."""
        audio = self.audio
        return len(audio) if isinstance(audio, bytes) else audio.stat().st_size


def find_sources(typed: Sequence[str]) -> list[Source]:
    """Return every file that is meant, once, in the order in which they were typed.

    Args:
        typed: paths, patterns (`**` is any depth), or `-` for the standard input.

    Raises:
        click.UsageError: there is none, or one of them means no file.
    """
    names = dict.fromkeys(name for one in typed for name in _expand(one))
    if not names:
        raise click.UsageError("Name the files to transcribe, or - for the standard input.")
    return [Source(name) for name in names]


def _expand(typed: str) -> list[str]:
    if typed == STDIN or (Path(typed).exists() and not Path(typed).is_dir()):
        return [typed]
    if typed.startswith(("http://", "https://")):
        raise click.UsageError(f"{typed} is an address. Fetch it first: curl -LO {typed}")
    if Path(typed).is_dir():
        raise click.UsageError(f"{typed} is a folder. Name its files: '{typed.rstrip('/')}/*'")
    found = sorted(name for name in glob.glob(typed, recursive=True) if Path(name).is_file())
    if not found:
        raise click.UsageError(f"There is no file {typed}.")
    return found
