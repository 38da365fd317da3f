"""How far the files are: a bar on a terminal, a line for each file elsewhere. All on stderr.

Transcripts are printed through it too: they and the bar may share a terminal.
"""

import sys
import threading
import time
from typing import Any, Self

import click

NO_BAR = "real-time factor -"


class Report:
    """Tells what became of each file. May be called from several threads."""

    def __init__(self, sizes: dict[str, int]) -> None:
        """Make a report.

        Args:
            sizes: name and bytes of each file: of all files together, the bytes are known before
                their lengths are.
        """
        self._sizes = sizes
        self._done_bytes = dict.fromkeys(sizes, 0.0)
        self._n_done = 0
        self._audio_s = 0.0
        self._began_s = time.perf_counter()
        self._lock = threading.Lock()
        self._bar: Any = None  # tqdm publishes no types
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=sum(sizes.values()),
                file=sys.stderr,
                dynamic_ncols=True,
                bar_format="{percentage:3.0f}%|{bar}| {desc}, {elapsed} gone, {remaining} left",
                desc=self._summary(),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, name: str, share: float) -> None:
        """Note which share of a file is done, 0 to 1."""
        with self._lock:
            self._done_bytes[name] = share * self._sizes[name]
            if self._bar is not None:
                self._bar.n = sum(self._done_bytes.values())
                self._bar.refresh()

    def finish(self, name: str, line: str, *, audio_s: float = 0.0) -> None:
        """Note that a file is done, well or not, and say what became of it."""
        with self._lock:
            self._n_done += 1
            self._audio_s += audio_s
            self._done_bytes[name] = self._sizes[name]
            if self._bar is None:
                click.echo(f"[{self._n_done}/{len(self._sizes)}] {line}", err=True)
                return
            self._bar.n = sum(self._done_bytes.values())
            self._bar.set_description_str(self._summary(), refresh=False)
            self._bar.write(line, file=sys.stderr)
            self._bar.refresh()

    def print(self, transcript: str) -> None:
        """Print a transcript on stdout."""
        with self._lock:
            if self._bar is None:
                click.echo(transcript)
            else:  # which is taken away meanwhile
                self._bar.write(transcript, file=sys.stdout)

    def _summary(self) -> str:
        """Return how many files are done, and the time all of them take over their audio's."""
        took_s = time.perf_counter() - self._began_s
        factor = f"real-time factor {took_s / self._audio_s:.3f}" if self._audio_s else NO_BAR
        return f"{self._n_done}/{len(self._sizes)} files, {factor}"
