"""All files, several at a time; what became of each; the exit code."""

import contextlib
import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TypeVar

import click
import requests

from serve_app.cli.transcribe.doors import Answer, Door, RefusedError
from serve_app.cli.transcribe.inputs import Source
from serve_app.cli.transcribe.outputs import Outputs, write_whole
from serve_app.cli.transcribe.reporting import Report
from serve_app.cli.transcribe.wanted import Wanted, to_chunks
from serve_app.domain import ResponseFormat
from serve_app.errors import TranscriptionError

ALL_OK, SOME_FAILED, INTERRUPTED = 0, 1, 130  # 2 is click's, for a wrong use; 130 is a shell's

Piece = TypeVar("Piece")
Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The files, and what they become."""

    sources: Sequence[Source]
    wanted: Wanted
    outputs: dict[Source, Outputs] = field(default_factory=dict)  # empty: print them
    chunks_path: Path | None = None  # for insanely-fast-whisper's JSON of the only file
    words: bool = False  # in that JSON
    resume: bool = False
    n_jobs: int = 4

    def paths_of(self, source: Source) -> list[Path]:
        """Return the files that one becomes."""
        chunks = [self.chunks_path] if self.chunks_path else []
        return [*self.outputs.get(source, {}).values(), *chunks]

    def is_done(self, source: Source) -> bool:
        """Tell whether a file was transcribed by an earlier run."""
        paths = self.paths_of(source)
        return self.resume and bool(paths) and all(path.is_file() for path in paths)


def run(batch: Batch, open_door: Callable[[], Door]) -> int:
    """Transcribe every file that is not done; return the exit code.

    Where it is interrupted, the process ends at once.

    Args:
        batch: the files.
        open_door: called only where there is something to do.
    """
    todo = [source for source in batch.sources if not batch.is_done(source)]
    if n_skipped := len(batch.sources) - len(todo):
        click.echo(f"{n_skipped} of {len(batch.sources)} files are done already", err=True)
    if not todo:
        return ALL_OK
    n_ok = n_ended = 0
    try:
        sizes = {source.name: source.n_bytes for source in todo}
        door = open_door()
    except KeyboardInterrupt:
        _end_interrupted(n_ended, len(todo))
    with closing(door), Report(sizes) as report:
        work = _Work(batch, door, report)
        try:
            for source, body in side_by_side(todo, work, batch.n_jobs):
                n_ended += 1
                n_ok += body is not None
                if body and not (batch.outputs or batch.chunks_path):
                    # One of several has its name before it, as with `head`.
                    name = click.format_filename(source.name)  # not every name is text
                    head = "" if len(batch.sources) == 1 else f"==> {name} <==\n"
                    report.print(head + body.rstrip("\n"))
        except KeyboardInterrupt:
            _end_interrupted(n_ended, len(todo))
    return ALL_OK if n_ok == len(todo) else SOME_FAILED


def _end_interrupted(n_ended: int, n_files: int) -> NoReturn:
    click.echo(
        f"Interrupted. {n_ended} of {n_files} files were done and are kept; "
        "--resume goes on with the others.",
        err=True,
    )
    sys.stdout.flush()
    os._exit(INTERRUPTED)  # no model is waited for: none can be stopped half-way


class _Work:
    """Transcribes one file and writes what it becomes."""

    def __init__(self, batch: Batch, door: Door, report: Report) -> None:
        self._batch, self._door, self._report = batch, door, report

    def __call__(self, source: Source) -> tuple[Source, str | None]:
        """Return the file and its first body; None where it failed."""
        name = source.name
        try:
            answer = self._door.ask(
                source.audio, self._batch.wanted, lambda share: self._report.advance(name, share)
            )
            written = self._write(source, answer)
        except (TranscriptionError, RefusedError) as error:
            self._report.finish(name, f"{name}: failed: {error.message} ({error.code})")
        except (OSError, requests.RequestException) as error:
            self._report.finish(name, f"{name}: failed: {error}")
        else:
            self._report.finish(name, _line(name, answer, written), audio_s=answer.duration_s or 0)
            return source, next(iter(answer.bodies.values()))
        return source, None

    def _write(self, source: Source, answer: Answer) -> list[Path]:
        outputs = self._batch.outputs.get(source, {})
        contents = {path: answer.bodies[one] for one, path in outputs.items()}
        if self._batch.chunks_path:
            verbose = json.loads(answer.bodies[ResponseFormat.VERBOSE_JSON])
            contents[self._batch.chunks_path] = to_chunks(verbose, words=self._batch.words)
        for path, content in contents.items():
            write_whole(path, content)
        return list(contents)


def _line(name: str, answer: Answer, written: Sequence[Path]) -> str:
    line = f"{name}: done in {answer.took_s:.1f} s"
    if answer.duration_s:
        line = (
            f"{name}: {answer.duration_s:.1f} s of audio in {answer.took_s:.1f} s, "
            f"real-time factor {answer.took_s / answer.duration_s:.3f}"
        )
    return f"{line} -> {', '.join(map(str, written))}" if written else line


def side_by_side(
    pieces: Sequence[Piece], work: Callable[[Piece], Made], n_threads: int
) -> Iterator[Made]:
    """Yield what work makes of each piece, in their order, several at a time.

    The threads are daemons: whoever is interrupted does not wait for a server's answer.
    """
    waiting: queue.SimpleQueue[tuple[Piece, Future[Made]]] = queue.SimpleQueue()
    made: list[Future[Made]] = []
    for piece in pieces:
        made.append(Future())
        waiting.put((piece, made[-1]))

    def run_waiting() -> None:
        while True:
            try:
                piece, future = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                future.set_result(work(piece))
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever reads the outcome
                future.set_exception(error)

    for _ in range(min(n_threads, len(pieces))):
        threading.Thread(target=run_waiting, daemon=True).start()
    try:
        for future in made:
            yield future.result()
    finally:  # whoever reads no further wants no more
        while not waiting.empty():
            with contextlib.suppress(queue.Empty):
                waiting.get_nowait()
