import asyncio
import logging
import time

import numpy as np
import pytest

from serve_app.bottleneck import Load, Place
from serve_app.domain import Chunk, ChunkTranscript, DecodeCursor, DecodeOptions
from serve_app.fan_out import FileTranscription, RunLimits
from serve_app.load_watch import LoadWatch
from serve_app.pipeline import Prepared
from tests.fakes import transcript

Judged = tuple[Load, Place | None]
CHUNK = Chunk(pcm=np.zeros(1600, np.int16), spans=())


def make_run(*, decode_s: float, transcribe_s: float) -> FileTranscription:
    """A file of one chunk, from a decoder and a model that take that long."""

    async def prepare(_: DecodeCursor | None) -> Prepared:
        await asyncio.sleep(decode_s)
        return Prepared(chunks=(CHUNK,), cursor=None, duration_s=0.1, decode_s=0.0, vad_s=0.0)

    async def transcribe(chunk: Chunk, options: DecodeOptions) -> ChunkTranscript:
        await asyncio.sleep(transcribe_s)
        return transcript("one", batch_fill=0.25)

    limits = RunLimits(max_in_flight=lambda: 4, timeout_s=60)
    return FileTranscription(prepare, transcribe, DecodeOptions(language="en"), limits=limits)


async def watch(n_runs: int, *, decode_s: float, transcribe_s: float) -> list[Judged]:
    """Run files side by side, watched; return what was judged until they ended."""
    judged: list[Judged] = []
    load = LoadWatch(lambda *one: judged.append(one), sample_s=0.01, window_s=0.1)
    watching = asyncio.create_task(load.watch())

    async def drive(run: FileTranscription) -> None:
        async with load.chunks(run) as chunks:
            assert [made.text async for _, made in chunks] == ["one"]

    runs = [make_run(decode_s=decode_s, transcribe_s=transcribe_s) for _ in range(n_runs)]
    await asyncio.gather(*map(drive, runs))
    await asyncio.sleep(0.25)
    watching.cancel()
    return judged


async def test_requests_that_wait_for_audio_make_decoding_the_bottleneck(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, logger="ray.serve"):
        judged = await watch(8, decode_s=0.5, transcribe_s=0.01)
    load, place = judged[1]
    assert (load.decode, load.model, place) == (8, 0, Place.DECODE)
    assert judged[-1][1] is None  # they are done
    first, last = caplog.records  # one line for each change, not one for each window
    assert first.levelno == logging.WARNING
    assert "decoding holds requests up" in first.message
    assert (last.levelno, last.message[:13]) == (logging.INFO, "nothing holds")


async def test_requests_whose_chunks_are_under_way_are_at_the_model() -> None:
    judged = await watch(8, decode_s=0.0, transcribe_s=0.5)
    load, place = judged[1]
    assert (load.decode, load.model, place) == (0, 8, Place.MODEL)
    fills = [load.batch_fill for load, _ in judged if load.batch_fill is not None]
    assert fills == [0.25]


async def test_a_busy_event_loop_makes_the_ingress_the_bottleneck() -> None:
    judged: list[Judged] = []
    load = LoadWatch(lambda *one: judged.append(one), sample_s=0.01, window_s=0.02)
    watching = asyncio.create_task(load.watch())
    for _ in range(3):
        await asyncio.sleep(0)
        time.sleep(0.6)
        await asyncio.sleep(0.03)
    watching.cancel()
    assert Place.INGRESS in [place for _, place in judged]
