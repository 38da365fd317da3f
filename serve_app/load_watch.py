"""What the Ingress sees of its requests: where they stand, and what holds them up. Knows no Ray."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager

from serve_app.bottleneck import Load, Place, describe, find_bottleneck, mean_load
from serve_app.fan_out import FileTranscription, Made

logger = logging.getLogger("ray.serve")

SAMPLE_S = 0.25
WINDOW_S = 10.0  # as often as Ray reports


class LoadWatch:
    """Looks again and again at the transcriptions under way; tells metrics and log what it saw."""

    def __init__(
        self,
        record: Callable[[Load, Place | None], None],
        *,
        sample_s: float = SAMPLE_S,
        window_s: float = WINDOW_S,
    ) -> None:
        """Make one.

        Args:
            record: told of each window's mean load and its bottleneck.
            sample_s: from one look to the next.
            window_s: from one judgement to the next.
        """
        self._record = record
        self._sample_s = sample_s
        self._n_samples = round(window_s / sample_s)
        self._runs: set[FileTranscription] = set()
        self._fills: list[float] = []  # of the chunks answered since the last sample
        self._samples: list[Load] = []
        self._last: Place | None = None

    @asynccontextmanager
    async def chunks(self, run: FileTranscription) -> AsyncGenerator[AsyncGenerator[Made]]:
        """Run a transcription, watched; give the iterator of its chunks and close it at the end."""
        self._runs.add(run)
        try:
            async with aclosing(self._noted(run)) as chunks:
                yield chunks
        finally:
            self._runs.discard(run)

    async def _noted(self, run: FileTranscription) -> AsyncGenerator[Made]:
        """Note of each chunk how full its batch was."""
        async with aclosing(run.chunks()) as chunks:
            async for spans, made in chunks:
                self._fills.append(made.batch_fill)
                yield spans, made

    async def watch(self) -> None:
        """Take samples and judge every window of them, until cancelled."""
        while True:
            began_s = time.monotonic()
            await asyncio.sleep(self._sample_s)
            late_s = time.monotonic() - began_s - self._sample_s
            self._samples.append(self._sample(late_s))
            if len(self._samples) == self._n_samples:
                self._judge(mean_load(self._samples))
                self._samples.clear()

    def _sample(self, late_s: float) -> Load:
        at = Counter(Place.MODEL if run.feeds_model else Place.DECODE for run in self._runs)
        fills, self._fills = self._fills, []
        return Load(
            decode=at[Place.DECODE],
            model=at[Place.MODEL],
            late_s=late_s,
            batch_fill=sum(fills) / len(fills) if fills else None,
        )

    def _judge(self, load: Load) -> None:
        """Record a window; log where its bottleneck is another than the last one's."""
        place = find_bottleneck(load)
        self._record(load, place)
        if place is not self._last:
            before_the_model = place in (Place.INGRESS, Place.DECODE)
            logger.log(logging.WARNING if before_the_model else logging.INFO, describe(place, load))
        self._last = place
