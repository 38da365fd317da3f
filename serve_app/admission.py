"""What an Ingress replica may hold at the same time: chunks of one model, bytes of uploads.

Every request that is let in is sure of one chunk at a time; what is left is shared equally, so a
long file gives way when others come. Runs on one event loop; knows no Ray.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serve_app.errors import QueueFullError

# What OpenAI's clients obey is a Retry-After of at most 60 s.
_MIN_RETRY_S, _MAX_RETRY_S = 1.0, 60.0
# The requests that tell how fast places come free: the last ones, if they ended lately.
_N_ENDS, _MIN_ENDS, _LATELY_S = 32, 4, 60.0

_SMALL_PART = 64  # an upload of at most so small a part of what all may hold is small


class ChunkBudget:
    """The chunks of one model that may wait or run at the same time."""

    def __init__(
        self,
        *,
        n_chunks: int,
        max_per_request: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a budget.

        Args:
            n_chunks: of all requests together.
            max_per_request: of one request, however few there are.
            clock: seconds.
        """
        self._n_chunks = n_chunks
        self._max_per_request = max_per_request
        self._clock = clock
        self._ended_s: deque[float] = deque(maxlen=_N_ENDS)
        self.n_requests = 0

    @contextmanager
    def admit(self, n_places: int = 1) -> Iterator[None]:
        """Hold a place for one request, or for so many parts of one.

        Raises:
            QueueFullError: there are as many requests as chunks.
        """
        self.check(n_places)
        self.n_requests += n_places
        try:
            yield
        finally:
            self.n_requests -= n_places
            self._ended_s.append(self._clock())

    def check(self, n_places: int = 1) -> None:
        """Take none. Raises QueueFullError where `admit` would."""
        if self.n_requests + n_places > self._n_chunks:
            raise self._refusal()

    def share(self) -> int:
        """Return how many chunks each admitted request may have under way now."""
        return max(1, min(self._max_per_request, self._n_chunks // max(1, self.n_requests)))

    def _refusal(self) -> QueueFullError:
        """Return the error with the time in which the requests here will have been answered.

        By the rate at which the last ones ended. Those refused meanwhile come back as spread over
        time as they came.
        """
        now_s = self._clock()
        ended_s = [at_s for at_s in self._ended_s if now_s - at_s <= _LATELY_S]
        if len(ended_s) < _MIN_ENDS:
            return QueueFullError()
        drained_s = self.n_requests * (now_s - ended_s[0]) / len(ended_s)
        return QueueFullError(min(max(drained_s, _MIN_RETRY_S), _MAX_RETRY_S))


class ByteBudget:
    """The bytes of all uploads that are in memory at the same time.

    A part of them is for small uploads alone, so that a few large ones do not shut everybody out.
    """

    def __init__(self, n_bytes: int, *, n_reserved: int) -> None:
        """Make a budget.

        Args:
            n_bytes: of all uploads together.
            n_reserved: of those, for small uploads alone.
        """
        self._n_left = n_bytes
        self._n_small = n_bytes // _SMALL_PART
        self._n_reserved = n_reserved

    @contextmanager
    def hold(self) -> Iterator["HeldBytes"]:
        """Yield what one upload holds, and give it back at the block's end."""
        held = HeldBytes(self)
        try:
            yield held
        finally:
            self._n_left += held.n_bytes

    def check(self, n_bytes: int, n_held: int = 0) -> None:
        """Take none. Raises QueueFullError where so many are not left now.

        Args:
            n_bytes: of one upload, more than it holds.
            n_held: that it holds.
        """
        is_small = n_held + n_bytes <= self._n_small
        if n_bytes > self._n_left - (0 if is_small else self._n_reserved):
            raise QueueFullError

    def take(self, n_bytes: int, n_held: int) -> None:
        """Take so many. The arguments and errors are those of `check`."""
        self.check(n_bytes, n_held)
        self._n_left -= n_bytes


class HeldBytes:
    """What one upload holds of a budget."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self.n_bytes = 0

    def grow_to(self, n_bytes: int) -> None:
        """Hold at least so many. Raises QueueFullError where they are not left."""
        if (n_more := n_bytes - self.n_bytes) > 0:
            self._budget.take(n_more, self.n_bytes)
            self.n_bytes = n_bytes
