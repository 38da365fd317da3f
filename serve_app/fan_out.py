"""One request's chunks, out to the workers and back in the order of the audio.

Slices of the file are pulled as room appears, so that a long file never lies decoded in memory;
each chunk is on its way as soon as it is cut. Runs on one event loop; knows no Ray: the two
callables do the work, in other processes or in this one.
"""

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, replace

from serve_app.domain import Chunk, ChunkTranscript, DecodeCursor, DecodeOptions, Span
from serve_app.errors import DeadlineExceededError
from serve_app.pipeline import Prepared

Prepare = Callable[[DecodeCursor | None], Awaitable[Prepared]]
TranscribeChunk = Callable[[Chunk, DecodeOptions], Awaitable[ChunkTranscript]]
# A chunk's spans and what was made of it. Not the chunk: whoever kept it would keep the audio.
Made = tuple[tuple[Span, ...], ChunkTranscript]


@dataclass(frozen=True, kw_only=True)
class RunLimits:
    """What one run may use."""

    max_in_flight: Callable[[], int]  # chunks on their way at once; it may change meanwhile
    timeout_s: float = math.inf


class FileTranscription:
    """The run of one file through the graph. Iterate `chunks` once, and close it."""

    def __init__(
        self,
        prepare: Prepare,
        transcribe: TranscribeChunk,
        options: DecodeOptions,
        *,
        limits: RunLimits,
        one_language: bool = True,
    ) -> None:
        """Make a run.

        Args:
            prepare: decodes the slice at a cursor (None: the file's start) and cuts its chunks.
            transcribe: decodes one chunk.
            options: how.
            limits: how much at once, and for how long; the time begins now.
            one_language: where the options leave the language open, use the one of the first
                chunk in which something was said for the rest; else each chunk has its own.
        """
        self.duration_s = 0.0  # of the audio decoded so far
        self._prepare = prepare
        self._transcribe = transcribe
        self._options = options
        self._limits = limits
        self._deadline_s = asyncio.get_running_loop().time() + limits.timeout_s
        self._seeks_language = one_language and options.language is None
        # By which the language was found that all later chunks are given.
        self._language_probability: float | None = None
        self._cut: deque[Chunk] = deque()  # not on their way yet
        # In the order of the audio.
        self._running: deque[tuple[Chunk, asyncio.Task[ChunkTranscript]]] = deque()
        self._slice: asyncio.Task[Prepared] | None = None
        self._cursor: DecodeCursor | None = None  # of the slice to pull next

    async def chunks(self) -> AsyncGenerator[Made]:
        """Yield what was made of each chunk, in the order of the audio.

        Leaving early, by an error or by closing the iterator, cancels everything under way.

        Raises:
            DeadlineExceededError: the run has taken as long as it may.
            TranscriptionError: a slice or a chunk failed.
        """
        try:
            self._slice = asyncio.ensure_future(self._prepare(None))
            while self._slice or self._cursor or self._cut or self._running:
                self._send()
                await self._next_event()
                if self._slice and self._slice.done():
                    self._take_slice(self._slice.result())
                if self._running and self._running[0][1].done():
                    chunk, task = self._running.popleft()
                    yield chunk.spans, self._learn_language(task.result())
                    del chunk, task
        finally:
            await self._cancel()

    @property
    def feeds_model(self) -> bool:
        """Tell whether a chunk is under way; where none is, the model waits for decoded audio."""
        return bool(self._running)

    def _learn_language(self, transcript: ChunkTranscript) -> ChunkTranscript:
        """Return a transcript with the probability by which its language was found."""
        if self._language_probability is not None:
            return replace(transcript, language_probability=self._language_probability)
        if self._seeks_language and transcript.text:
            self._options = replace(self._options, language=transcript.language)
            self._language_probability = transcript.language_probability
            self._seeks_language = False
        return transcript

    def _send(self) -> None:
        """Start as many chunks as may be under way; one alone while a language is sought.

        The next slice is pulled when every chunk of the last one is under way: it is decoded while
        they are transcribed, and no more than one slice waits.
        """
        room = 1 if self._seeks_language else self._limits.max_in_flight()
        while self._cut and len(self._running) < room:
            chunk = self._cut.popleft()
            coroutine = self._transcribe(chunk, self._options)
            self._running.append((chunk, asyncio.ensure_future(coroutine)))
        if self._cursor and self._slice is None and not self._cut:
            self._slice = asyncio.ensure_future(self._prepare(self._cursor))
            self._cursor = None

    def _take_slice(self, prepared: Prepared) -> None:
        self._cut.extend(prepared.chunks)
        self.duration_s = prepared.duration_s
        self._slice, self._cursor = None, prepared.cursor

    async def _next_event(self) -> None:
        """Wait until the slice under way is cut or the oldest chunk is done.

        The deadline is watched here and not by cancelling: an iterator may be read by one task
        after the other.
        """
        awaited: set[asyncio.Task[Prepared] | asyncio.Task[ChunkTranscript]] = set()
        if self._slice:
            awaited.add(self._slice)
        if self._running:
            awaited.add(self._running[0][1])
        left_s = self._deadline_s - asyncio.get_running_loop().time()
        timeout_s = None if math.isinf(left_s) else max(0.0, left_s)
        done, _ = await asyncio.wait(
            awaited, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            raise DeadlineExceededError(self._limits.timeout_s)

    async def _cancel(self) -> None:
        tasks = [*(task for _, task in self._running), *([self._slice] if self._slice else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
