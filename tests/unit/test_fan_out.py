import asyncio
import math
import weakref
from collections.abc import Sequence
from contextlib import aclosing

import numpy as np
import pytest

from serve_app.domain import Chunk, ChunkTranscript, DecodeCursor, DecodeOptions
from serve_app.errors import DeadlineExceededError
from serve_app.fan_out import FileTranscription, RunLimits
from serve_app.pipeline import Prepared
from tests.fakes import transcript


class Graph:
    """Slices of numbered chunks, and a transcriber that can be slow for some of them."""

    def __init__(self, slices: Sequence[Sequence[int]], delays_s: dict[int, float] | None = None):
        self.slices = slices
        self.delays_s = delays_s or {}
        self.prepared = 0
        self.running = self.most_running = 0
        self.cancelled: list[int] = []
        self.languages: dict[int, str | None] = {}
        self.silent: set[int] = set()

    async def prepare(self, cursor: DecodeCursor | None) -> Prepared:
        index = cursor.start_sample if cursor else 0
        self.prepared += 1
        await asyncio.sleep(0.001)
        is_last = index + 1 == len(self.slices)
        return Prepared(
            chunks=tuple(Chunk(pcm=np.array([i], np.int16), spans=()) for i in self.slices[index]),
            cursor=None if is_last else DecodeCursor(start_sample=index + 1),
            duration_s=60.0 * (index + 1),
            decode_s=0.0,
            vad_s=0.0,
        )

    async def transcribe(self, chunk: Chunk, options: DecodeOptions) -> ChunkTranscript:
        number = int(chunk.pcm[0])
        self.languages[number] = options.language
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.sleep(self.delays_s.get(number, 0.001))
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        finally:
            self.running -= 1
        if number < 0:
            raise RuntimeError("planted")
        return transcript(
            "" if number in self.silent else str(number),
            language="tr",
            language_probability=1.0 if options.language else 0.7,
        )


def run_of(
    graph: Graph,
    *,
    language: str | None = "en",
    limit: int = 4,
    one_language: bool = True,
    timeout_s: float = math.inf,
) -> FileTranscription:
    return FileTranscription(
        graph.prepare,
        graph.transcribe,
        DecodeOptions(language=language),
        limits=RunLimits(max_in_flight=lambda: limit, timeout_s=timeout_s),
        one_language=one_language,
    )


async def texts(run: FileTranscription) -> list[str]:
    return [made.text async for _, made in run.chunks()]


async def test_chunks_come_in_the_order_of_the_audio_though_they_finish_in_another() -> None:
    run = run_of(Graph([[0, 1, 2], [3, 4], [], [5]], {0: 0.05, 3: 0.03}))
    assert await texts(run) == ["0", "1", "2", "3", "4", "5"]
    assert run.duration_s == 240.0


async def test_no_more_chunks_are_under_way_than_allowed() -> None:
    graph = Graph([list(range(20))])
    await texts(run_of(graph, limit=3))
    assert graph.most_running == 3


async def test_slices_are_pulled_no_faster_than_chunks_are_sent() -> None:
    graph = Graph([[i, i + 1] for i in range(0, 100, 2)], {0: 0.05})
    async with aclosing(run_of(graph, limit=4).chunks()) as chunks:
        await anext(chunks)
        assert graph.prepared <= 4


async def test_the_first_chunk_is_yielded_before_the_file_is_decoded() -> None:
    graph = Graph([[i] for i in range(50)])
    async with aclosing(run_of(graph).chunks()) as chunks:
        _, first = await anext(chunks)
        assert first.text == "0"
        assert graph.prepared < 50


async def test_an_open_language_is_taken_from_the_first_chunk_for_all_others() -> None:
    graph = Graph([[0, 1, 2], [3]])
    await texts(run_of(graph, language=None))
    assert graph.languages == {0: None, 1: "tr", 2: "tr", 3: "tr"}


async def test_the_language_is_not_taken_from_a_chunk_in_which_nothing_was_said() -> None:
    graph = Graph([[0, 1, 2, 3]])
    graph.silent = {0}
    await texts(run_of(graph, language=None))
    assert graph.languages == {0: None, 1: None, 2: "tr", 3: "tr"}


async def test_a_language_that_was_found_keeps_the_probability_it_was_found_by() -> None:
    run = run_of(Graph([[0, 1], [2]]), language=None)
    made = [made async for _, made in run.chunks()]
    assert [one.language_probability for one in made] == [0.7, 0.7, 0.7]
    run = run_of(Graph([[0, 1]]), language="tr")
    assert [made.language_probability async for _, made in run.chunks()] == [1.0, 1.0]


async def test_no_chunk_that_was_answered_is_kept() -> None:
    kept: list[weakref.ref[Chunk]] = []

    class Watched(Graph):
        async def transcribe(self, chunk: Chunk, options: DecodeOptions) -> ChunkTranscript:
            kept.append(weakref.ref(chunk))
            return await super().transcribe(chunk, options)

    made = []
    async with aclosing(run_of(Watched([[i] for i in range(20)]), limit=2).chunks()) as chunks:
        async for one in chunks:
            made.append(one)
            assert sum(ref() is not None for ref in kept) <= 4
    assert len(made) == 20


async def test_in_multilingual_audio_each_chunk_has_its_own_language() -> None:
    graph = Graph([[0, 1, 2]])
    await texts(run_of(graph, language=None, one_language=False))
    assert graph.languages == {0: None, 1: None, 2: None}
    assert graph.most_running == 3


async def test_a_given_language_holds_nothing_up() -> None:
    graph = Graph([[0, 1, 2]])
    await texts(run_of(graph, language="en"))
    assert graph.most_running == 3


async def test_leaving_early_cancels_everything_under_way() -> None:
    graph = Graph([[0, 1, 2, 3]], {1: 60, 2: 60, 3: 60})
    async with aclosing(run_of(graph).chunks()) as chunks:
        await anext(chunks)
    assert graph.cancelled == [1, 2, 3]
    assert graph.running == 0


async def test_a_failed_chunk_ends_the_run_and_cancels_the_others() -> None:
    graph = Graph([[0, -1, 2, 3]], {2: 60, 3: 60})
    with pytest.raises(RuntimeError, match="planted"):
        await texts(run_of(graph))
    assert graph.cancelled == [2, 3]


async def test_a_file_without_speech_gives_no_chunks() -> None:
    run = run_of(Graph([[]]))
    assert await texts(run) == []
    assert run.duration_s == 60.0


async def test_a_run_that_takes_too_long_ends_and_takes_its_chunks_with_it() -> None:
    graph = Graph([[0, 1, 2]], {1: 30.0, 2: 30.0})
    run = run_of(graph, timeout_s=0.1)
    with pytest.raises(DeadlineExceededError):
        await texts(run)
    assert (graph.running, sorted(graph.cancelled)) == (0, [1, 2])


async def test_a_run_gives_way_as_soon_as_its_share_shrinks() -> None:
    graph = Graph([list(range(40))], {i: 0.005 for i in range(40)})
    share = 8
    run = FileTranscription(
        graph.prepare,
        graph.transcribe,
        DecodeOptions(language="en"),
        limits=RunLimits(max_in_flight=lambda: share),
    )
    async with aclosing(run.chunks()) as chunks:
        async for _, made in chunks:
            if made.text == "10":
                assert graph.most_running == 8
                share, graph.most_running = 2, 0
            if made.text == "20":
                graph.most_running = 0
    assert graph.most_running <= 2
