"""How many chunks an Ingress replica may have under way for one model, and whose they are.

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
