"""Something done over and over in a thread."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def every(period_s: float, do: Callable[[], object]) -> Iterator[None]:
    """Call `do` with pauses of so many seconds, the first before the first call, during a block.

    A call that has begun ends before the block is left.
    """
    stop = threading.Event()

    def call() -> None:
        while not stop.wait(period_s):
            do()

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
