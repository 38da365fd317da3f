"""What an Ingress replica may hold at the same time: chunks of one model, bytes of uploads.

Every request that is let in is sure of one chunk at a time; what is left is shared equally, so a
long file gives way when others come. Runs on one event loop; knows no Ray.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from serve_app.errors import QueueFullError


class ChunkBudget:
    """The chunks of one model that may wait or run at the same time."""

    def __init__(self, *, n_chunks: int, max_per_request: int) -> None:
        """Make a budget.

        Args:
            n_chunks: of all requests together.
            max_per_request: of one request, however few there are.
        """
        self._n_chunks = n_chunks
        self._max_per_request = max_per_request
        self.n_requests = 0

    @contextmanager
    def admit(self, n_places: int = 1) -> Iterator[None]:
        """Hold a place for one request, or for so many parts of one.

        Raises:
            QueueFullError: there are as many requests as chunks.
        """
        if self.n_requests + n_places > self._n_chunks:
            raise QueueFullError
        self.n_requests += n_places
        try:
            yield
        finally:
            self.n_requests -= n_places

    def share(self) -> int:
        """Return how many chunks each admitted request may have under way now."""
        return max(1, min(self._max_per_request, self._n_chunks // max(1, self.n_requests)))


class ByteBudget:
    """The bytes of all uploads that are in memory at the same time."""

    def __init__(self, n_bytes: int) -> None:
        self._n_left = n_bytes

    @contextmanager
    def hold(self) -> Iterator["HeldBytes"]:
        """Yield what one upload holds, and give it back at the block's end."""
        held = HeldBytes(self)
        try:
            yield held
        finally:
            self._n_left += held.n_bytes

    def take(self, n_bytes: int) -> None:
        """Take so many. Raises QueueFullError where they are not left."""
        if n_bytes > self._n_left:
            raise QueueFullError
        self._n_left -= n_bytes


class HeldBytes:
    """What one upload holds of a budget."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self.n_bytes = 0

    def grow_to(self, n_bytes: int) -> None:
        """Hold at least so many. Raises QueueFullError where they are not left."""
        if (n_more := n_bytes - self.n_bytes) > 0:
            self._budget.take(n_more)
            self.n_bytes = n_bytes
