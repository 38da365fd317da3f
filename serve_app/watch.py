"""What a replica is working on, and since when: a replica that hangs must say so to be replaced."""

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager


class RunningWork:
    """The pieces of work that have begun and not ended. Used from many threads."""

    def __init__(self) -> None:
        self._ids = itertools.count()
        self._began: dict[int, tuple[str, float]] = {}  # what, and when by the monotonic clock

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Count a piece of work as running while the block runs."""
        number = next(self._ids)
        self._began[number] = (what, time.monotonic())
        try:
            yield
        finally:
            del self._began[number]

    def check(self, limit_s: float) -> None:
        """Do nothing while all is well.

        Raises:
            RuntimeError: a piece of work has run for longer than `limit_s` seconds.
        """
        now_s = time.monotonic()
        for what, began_s in list(self._began.values()):
            if now_s - began_s > limit_s:
                raise RuntimeError(f"{what} has been running for {now_s - began_s:.0f} s")
