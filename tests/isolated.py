"""Files decoded in processes of their own: what crashes one or hangs is counted, not suffered."""

import multiprocessing
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from serve_app.domain import DecodeLimits
from serve_app.errors import DecodeTimeoutError, InvalidAudioError
from serve_app.stages.audio import decode_audio, memory_limit, own_bytes
from tests.audio_files import status_bytes
from tests.mutants import mutant, seed

LIMITS = DecodeLimits(max_audio_s=600.0, timeout_s=2.0)
MEMORY_BYTES = 512 * 2**20  # that a process may take beyond what it has at its start
NO_MUTANT = -1
HANG_S = 20.0  # for all slices of a file, and for a process to start; then it is killed

ACCEPTED, REFUSED, TIMED_OUT = "accepted", "refused", "timed_out"
UNTYPED, DIED, HUNG = "untyped", "died", "hung"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of one file."""

    outcome: str
    number: int = NO_MUTANT
    format: str = ""  # of the mutant
    kind: str = ""  # of its damage
    told: str = ""  # the error's sentence, or what ended the process
    took_s: float = 0.0
    grown_bytes: int = 0  # the process's highest memory so far beyond that of its start


def judge(file: bytes) -> tuple[str, str]:
    """Decode a whole file in slices; return the outcome and what the caller is told."""
    try:
        piece = decode_audio(file, max_s=1.0, limits=LIMITS)
        while not piece.is_last:
            piece = decode_audio(file, piece.cursor_at(piece.end_s), max_s=60.0, limits=LIMITS)
    except DecodeTimeoutError as error:
        return TIMED_OUT, str(error)
    except InvalidAudioError as error:
        return REFUSED, str(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
        return UNTYPED, repr(error)
    return ACCEPTED, ""


def judge_mutants(numbers: Iterable[int], *, n_processes: int) -> Iterator[Verdict]:
    """Yield what became of each mutant, in the order in which they end."""
    waiting = iter(numbers)
    workers = [Decoder() for _ in range(n_processes)]
    try:
        for worker in workers:
            worker.take(next(waiting, None))
        while any(worker.number is not None for worker in workers):
            busy = [worker for worker in workers if worker.number is not None]
            wait([worker.connection for worker in busy], timeout=HANG_S / 10)
            for worker in busy:
                verdict = worker.verdict()
                if verdict is not None:
                    yield verdict
                    worker.take(next(waiting, None))
    finally:
        for worker in workers:
            worker.end()


class Decoder:
    """One process with a limit of its memory, started anew after a file that ended it."""

    def __init__(self) -> None:
        self.number: int | None = None  # of what is under way
        self._began_s = 0.0
        self._start()

    def take(self, number: int | None) -> None:
        """Begin with the mutant of that number; None: there is nothing more to do."""
        self.number, self._began_s = number, time.monotonic()
        if number is not None:
            self.connection.send(number)

    def judge(self, file: bytes) -> Verdict:
        """What becomes of a file."""
        self.number, self._began_s = NO_MUTANT, time.monotonic()
        self.connection.send(file)
        while (verdict := self.verdict()) is None:
            self.connection.poll(0.1)
        return verdict

    def verdict(self) -> Verdict | None:
        """What became of the file under way; None where it still is."""
        assert self.number is not None
        try:
            if self.connection.poll():
                found = self.connection.recv()
                assert isinstance(found, Verdict)
                return found
        except (EOFError, ConnectionResetError):
            self._process.join()
            return self._replaced(DIED, f"exit code {self._process.exitcode}")
        if time.monotonic() - self._began_s > HANG_S:
            return self._replaced(HUNG, f"nothing for {HANG_S:g} s")
        return None

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self.connection.close()

    def _replaced(self, outcome: str, told: str) -> Verdict:
        assert self.number is not None
        self.end()
        self._start()
        took_s = time.monotonic() - self._began_s
        return Verdict(outcome=outcome, told=told, took_s=took_s, **_origin(self.number))

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_answer, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()


def _answer(connection: Connection) -> None:
    """Judge the files that come in, and the mutants whose numbers do."""
    decode_audio(seed("wav"), max_s=60.0)
    idle_bytes = own_bytes()
    at_start = status_bytes("VmHWM")
    while True:
        taken = connection.recv()
        number, file = (taken, mutant(taken).file) if isinstance(taken, int) else (NO_MUTANT, taken)
        began_s = time.monotonic()
        with memory_limit(MEMORY_BYTES, beyond_bytes=idle_bytes):
            outcome, told = judge(file)
        verdict = Verdict(
            **_origin(number),
            outcome=outcome,
            told=told,
            took_s=time.monotonic() - began_s,
            grown_bytes=status_bytes("VmHWM") - at_start,
        )
        connection.send(verdict)


def _origin(number: int) -> dict[str, Any]:
    if number == NO_MUTANT:
        return {}
    made = mutant(number)
    return {"number": number, "format": made.format, "kind": made.kind}
