"""What may kill its process runs alone, so that a death while it runs is its own doing."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Isolation:
    """Keeps suspects apart from each other and from all else. Used from many threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._n_others = 0  # that run
        self._n_suspects = 0  # that run or wait
        self._is_alone = False  # a suspect runs

    @contextmanager
    def beside_others(self) -> Iterator[None]:
        """Run the block beside others of its kind, once no suspect runs or waits."""
        with self._changed:
            self._changed.wait_for(lambda: not self._n_suspects)
            self._n_others += 1
        try:
            yield
        finally:
            with self._changed:
                self._n_others -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Run the block of a suspect, once nothing else runs."""
        with self._changed:
            self._n_suspects += 1
            self._changed.wait_for(lambda: not self._n_others and not self._is_alone)
            self._is_alone = True
        try:
            yield
        finally:
            with self._changed:
                self._n_suspects -= 1
                self._is_alone = False
                self._changed.notify_all()
