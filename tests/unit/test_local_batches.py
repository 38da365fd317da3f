"""The batches of the facade, on an engine whose device is too small for them."""

import asyncio
from collections.abc import Sequence
from typing import Any

from serve_app.domain import ChunkJob, ChunkTranscript
from serve_app.local.batches import Batches
from tests.fakes import EchoEngine, job


class SmallDevice(EchoEngine):
    """Holds two chunks."""

    n_too_large = 0  # batches

    def transcribe(self, jobs: Sequence[ChunkJob]) -> list[ChunkTranscript | ChunkJob]:
        if len(jobs) > 2:
            self.n_too_large += 1
            raise RuntimeError("CUDA failed with error out of memory")
        return super().transcribe(jobs)


async def test_a_device_that_is_too_small_gets_its_batches_in_parts_and_nobody_an_error() -> None:
    engine: Any = SmallDevice()
    batches = Batches(engine, n_workers=1, max_batch_size=8)
    failures = []
    for _ in range(2):
        made = await asyncio.gather(*(batches.submit(job(i, owner=f"r{i}")) for i in range(8)))
        assert [one.text for one in made if isinstance(one, ChunkTranscript)] == [
            str(i) for i in range(8)
        ]
        failures.append(engine.n_too_large)
    batches.shutdown()
    assert failures[0] == failures[1] > 0  # the second time in parts from the start
