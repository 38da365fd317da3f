import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager

import pytest

from serve_app.isolation import Isolation

LIMIT_S = 30.0
SHORT_S = 0.05  # what would begin at once has begun by then


class Block:
    """A block of a thread that runs until it is told to end."""

    def __init__(self, threads: ThreadPoolExecutor, place: AbstractContextManager[None]) -> None:
        self._place = place
        self.began = threading.Event()
        self._end = threading.Event()
        self._done: Future[None] = threads.submit(self._run)

    def _run(self) -> None:
        with self._place:
            self.began.set()
            assert self._end.wait(LIMIT_S)

    def end(self) -> None:
        self._end.set()
        self._done.result(LIMIT_S)


@pytest.fixture
def blocks() -> Callable[[AbstractContextManager[None]], Block]:
    threads = ThreadPoolExecutor(8)
    return lambda place: Block(threads, place)


Begin = Callable[[AbstractContextManager[None]], Block]


def test_what_is_no_suspect_runs_side_by_side(blocks: Begin) -> None:
    isolation = Isolation()
    both = [blocks(isolation.beside_others()) for _ in range(2)]
    assert all(block.began.wait(LIMIT_S) for block in both)
    for block in both:
        block.end()


def test_a_suspect_waits_for_what_runs_and_keeps_out_what_comes(blocks: Begin) -> None:
    isolation = Isolation()
    running = blocks(isolation.beside_others())
    assert running.began.wait(LIMIT_S)
    suspect = blocks(isolation.alone())
    assert not suspect.began.wait(SHORT_S)
    newcomer = blocks(isolation.beside_others())
    assert not newcomer.began.wait(SHORT_S)
    running.end()
    assert suspect.began.wait(LIMIT_S)
    assert not newcomer.began.wait(SHORT_S)
    suspect.end()
    assert newcomer.began.wait(LIMIT_S)
    newcomer.end()


def test_suspects_run_one_after_the_other(blocks: Begin) -> None:
    isolation = Isolation()
    first, second = (blocks(isolation.alone()) for _ in range(2))
    deadline_s = time.monotonic() + LIMIT_S
    while not (first.began.is_set() or second.began.is_set()):
        assert time.monotonic() < deadline_s
    time.sleep(SHORT_S)
    now, later = (first, second) if first.began.is_set() else (second, first)
    assert not later.began.is_set()
    now.end()
    assert later.began.wait(LIMIT_S)
    later.end()


def test_a_suspect_that_fails_lets_the_others_go_on() -> None:
    isolation = Isolation()
    with pytest.raises(ValueError, match="damaged"), isolation.alone():
        raise ValueError("damaged")
    with isolation.beside_others():
        pass
