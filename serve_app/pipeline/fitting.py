"""Batches of the sizes that a device is known to hold, learnt from those that it did not."""

from collections.abc import Callable, Sequence

from serve_app.domain import ChunkJob
from serve_app.pipeline.transcribe import Outcome, transcribe_batch
from serve_app.stages.whisper import Engine


class FittingBatches:
    """Decodes batches, in parts where one of so wide a search ran out of memory before.

    By the width of the search (`ChunkJob.n_sequences`), which memory grows with: one client's wide
    search does not halve the batches of the others. For threads that share a device; two that fail
    at once may cost one more failure.
    """

    def __init__(self) -> None:
        self._sizes: dict[int, int] = {}  # by width

    def limit(self, n_sequences: int) -> int | None:
        """Return the largest batch of so wide a search; None: none has failed yet."""
        return self._sizes.get(n_sequences)

    def transcribe(
        self,
        engine: Engine,
        jobs: Sequence[ChunkJob],
        on_out_of_memory: Callable[[int], None] = lambda size: None,
    ) -> list[Outcome]:
        """Decode jobs of one bucket and width; see `transcribe_batch` for the rest."""
        n_sequences = jobs[0].n_sequences

        def shrink(size: int) -> None:
            known = self._sizes.get(n_sequences, size)
            self._sizes[n_sequences] = min(known, max(1, size // 2))
            on_out_of_memory(size)

        outcomes: list[Outcome] = []
        while rest := jobs[len(outcomes) :]:
            part = rest[: self._sizes.get(n_sequences, len(rest))]
            outcomes += transcribe_batch(engine, part, shrink)
        return outcomes
