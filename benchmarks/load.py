"""Requests with distinct spoken content, closed-loop or open-loop, and what each came to.

Every clip says something else, and what the server makes of each alone is recorded first: an answer
that belongs to another request shows. The client is OpenAI's, with as many retries as asked for.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import numpy as np
import openai

from benchmarks.clients import LIMIT_S, Client, ask
from benchmarks.results import percentiles
from benchmarks.utterances import Utterance
from benchmarks.verdicts import Answer, Row, Verdict, count, judge

N_OPEN = 1000  # requests under way at once, at most


class Load:
    """A stream of requests from a thread of its own, so that faults can be planted beside it."""

    def __init__(
        self,
        url: str,
        utterances: Sequence[Utterance],
        client: Client,
        *,
        exact: bool = True,
        n_at_most: int | None = None,
    ) -> None:
        """Make a load.

        Args:
            url: of the server, without /v1.
            utterances: sent in turn.
            client: how.
            exact: whether an answer must be the recorded text to the letter; else see `judge`.
            n_at_most: requests, after which the load ends by itself; None: as many as there is
                time for.
        """
        self.rows: list[Row] = []
        self.sent: list[int] = []
        self.n_left_out = 0  # not sent, because N_OPEN were under way
        self._url = url
        self._utterances = utterances
        self._client = client
        self._texts = [] if exact else [u.text for u in utterances if u.text]
        self._n_at_most = n_at_most
        self._ending = threading.Event()
        self._began_s = time.monotonic()

    @contextmanager
    def closed_loop(self, n_clients: int) -> Iterator["Load"]:
        """Let so many clients send one request after the other while the block runs."""

        async def send_all(server: openai.AsyncOpenAI) -> None:
            async def send_on() -> None:
                while not self._ending.is_set():
                    await self._send(server, self.now_s())

            await asyncio.gather(*(send_on() for _ in range(n_clients)))

        with self._running(send_all):
            yield self

    @contextmanager
    def open_loop(self, per_s: float) -> Iterator["Load"]:
        """Send so many requests a second, as chance has it (Poisson), while the block runs.

        A request's time counts from when it was due, even where this process was late with it.
        """
        rng = np.random.default_rng(0)

        async def send_all(server: openai.AsyncOpenAI) -> None:
            open_: set[asyncio.Task[None]] = set()
            due_s = self.now_s()
            while not self._ending.is_set():
                due_s += rng.exponential(1 / per_s)
                await asyncio.sleep(max(0.0, due_s - self.now_s()))
                if self._ending.is_set():
                    break
                if len(open_) >= N_OPEN:
                    self.n_left_out += 1
                    continue
                task = asyncio.ensure_future(self._send(server, due_s))
                open_.add(task)
                task.add_done_callback(open_.discard)
            await asyncio.gather(*open_)

        with self._running(send_all):
            yield self

    def counts_so_far(self) -> dict[str, int]:
        """Count the verdicts of what has been answered by now; see `verdicts.count`."""
        rows = list(self.rows)
        return count([row.request_id for row in rows], rows)

    def figures(self) -> dict[str, object]:
        """Return the counts, the latencies of what was answered well, and what went wrong."""
        took_s = [row.took_s for row in self.rows if row.verdict is Verdict.OK]
        return {
            **count(self.sent, self.rows),
            **percentiles(took_s),
            "max_s": max(took_s, default=float("nan")),
            "wrong": [
                f"#{row.request_id} {row.verdict} after {row.took_s:.1f} s: {row.answer.detail}"
                for row in self.rows
                if row.verdict is not Verdict.OK
            ][:20],
        }

    def now_s(self) -> float:
        """Return the time on the clock of the rows."""
        return time.monotonic() - self._began_s

    def wait(self, for_s: float) -> float:
        """Wait so long, or until as many requests were sent as may be; return the time then."""
        self._ending.wait(for_s)
        return self.now_s()

    @contextmanager
    def _running(self, send_all: Callable[[openai.AsyncOpenAI], Awaitable[None]]) -> Iterator[None]:
        """Send from a thread while the block runs, then wait for the answers that are due."""

        async def run() -> None:
            async with self._client.connect(self._url) as server:
                await send_all(server)

        self._ending.clear()
        thread = threading.Thread(target=asyncio.run, args=(run(),))
        thread.start()
        try:
            yield
        finally:
            self._ending.set()
            thread.join()

    async def _send(self, server: openai.AsyncOpenAI, due_s: float) -> None:
        request_id = len(self.sent)
        utterance = self._utterances[request_id % len(self._utterances)]
        self.sent.append(request_id)
        if len(self.sent) == self._n_at_most:
            self._ending.set()
        answer = Answer(detail=f"no answer within {LIMIT_S:.0f} s")
        with suppress(TimeoutError):
            async with asyncio.timeout(LIMIT_S):
                streams = self._client.streams and request_id % 2 == 1
                answer = await ask(server, self._client, utterance, stream=streams)
        others = [text for text in self._texts if text != utterance.text]
        verdict = judge(utterance.text, answer, others)
        if verdict is Verdict.MIXED:
            answer = Answer(
                **{**vars(answer), "detail": f"{answer.texts[0]!r} is not {utterance.text!r}"}
            )
        self.rows.append(
            Row(
                request_id=request_id,
                sent_s=due_s,
                took_s=self.now_s() - due_s,
                answer=answer,
                verdict=verdict,
                audio_s=utterance.duration_s,
            )
        )
