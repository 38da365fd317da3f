"""Requests with distinct spoken content, closed-loop or open-loop, and what each came to.

Every clip says another number, and what the graph makes of each alone is recorded first: an answer
that belongs to another request shows. The client is OpenAI's, with as many retries as asked for.
"""

import asyncio
import io
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import openai

from benchmarks.results import percentiles
from benchmarks.verdicts import Answer, Row, Verdict, count, judge
from tests.clips import digits, encode, silence

STOCK_RETRIES = 2  # of the official client, unless told otherwise
N_OPEN = 1000  # requests under way at once, at most
DIARIZED: Mapping[str, str] = {"response_format": "diarized_json"}
LIMIT_S = 120.0  # a request without an answer after this is lost


@dataclass(frozen=True, kw_only=True, eq=False)
class Utterance:
    """A file and its text when nothing else runs; None: no audio, to be refused."""

    audio: bytes
    text: str | None


@dataclass(frozen=True, kw_only=True)
class Client:
    """How requests are sent."""

    max_retries: int = 0  # of OpenAI's client; 0: what the server answers is what is counted
    streams: bool = False  # every other request asks for events
    diarizes: bool = False  # every request asks for speakers, and cannot do without


def record_utterances(
    transcribe: Callable[[bytes], str], n: int, *, silence_s: float = 0.0
) -> list[Utterance]:
    """Make clips of three spoken digits each and record what is heard when each is sent alone.

    Args:
        transcribe: a file to its text.
        n: how many clips to make; those that sound alike are left out.
        silence_s: after the digits. It costs the AudioPreprocessor time, and nobody else.
    """
    numbers = np.random.default_rng(n).choice(np.arange(100, 1000), n, replace=False)
    by_text = {}
    for number in numbers:
        pcm = np.concatenate([digits(str(number)), silence(silence_s)])
        audio = encode(pcm, "flac", "flac")
        text = transcribe(audio)
        by_text[text] = Utterance(audio=audio, text=text)
    return [utterance for text, utterance in by_text.items() if text]


class Load:
    """A stream of requests from a thread of its own, so that faults can be planted beside it."""

    def __init__(self, url: str, utterances: Sequence[Utterance], client: Client) -> None:
        """Make a load.

        Args:
            url: of the server, without /v1.
            utterances: sent in turn.
            client: how.
        """
        self.rows: list[Row] = []
        self.sent: list[int] = []
        self.n_left_out = 0  # not sent, because N_OPEN were under way
        self._url = url
        self._utterances = utterances
        self._client = client
        self._ending = threading.Event()
        self._began_s = time.monotonic()

    @contextmanager
    def closed_loop(self, n_clients: int) -> Iterator["Load"]:
        """Let so many clients send one request after the other while the block runs."""

        async def send_all(openai_client: openai.AsyncOpenAI) -> None:
            async def send_on() -> None:
                while not self._ending.is_set():
                    await self._send(openai_client)

            await asyncio.gather(*(send_on() for _ in range(n_clients)))

        with self._running(send_all):
            yield self

    @contextmanager
    def open_loop(self, per_s: float) -> Iterator["Load"]:
        """Send so many requests a second, as chance has it (Poisson), while the block runs."""
        rng = np.random.default_rng(0)

        async def send_all(openai_client: openai.AsyncOpenAI) -> None:
            open_: set[asyncio.Task[None]] = set()
            next_s = time.monotonic()
            while not self._ending.is_set():
                next_s += rng.exponential(1 / per_s)
                await asyncio.sleep(max(0.0, next_s - time.monotonic()))
                if len(open_) >= N_OPEN:
                    self.n_left_out += 1
                    continue
                task = asyncio.ensure_future(self._send(openai_client))
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

    @contextmanager
    def _running(self, send_all: Callable[[openai.AsyncOpenAI], Awaitable[None]]) -> Iterator[None]:
        """Send from a thread while the block runs, then wait for the answers that are due."""

        async def run() -> None:
            async with openai.AsyncOpenAI(
                base_url=f"{self._url}/v1",
                api_key="none",
                max_retries=self._client.max_retries,
                timeout=LIMIT_S,
            ) as openai_client:
                await send_all(openai_client)

        self._ending.clear()
        thread = threading.Thread(target=asyncio.run, args=(run(),))
        thread.start()
        try:
            yield
        finally:
            self._ending.set()
            thread.join()

    async def _send(self, openai_client: openai.AsyncOpenAI) -> None:
        request_id = len(self.sent)
        utterance = self._utterances[request_id % len(self._utterances)]
        self.sent.append(request_id)
        sent_s = self.now_s()
        answer = Answer(detail=f"no answer within {LIMIT_S:.0f} s")
        with suppress(TimeoutError):
            async with asyncio.timeout(LIMIT_S):
                fields: dict[str, Any] = {**DIARIZED} if self._client.diarizes else {}
                if self._client.streams and request_id % 2 == 1:
                    fields["stream"] = True
                answer = await _ask(openai_client, utterance.audio, fields)
        verdict = judge(utterance.text, answer)
        if verdict is Verdict.MIXED:
            answer = Answer(
                **{**vars(answer), "detail": f"{answer.texts[0]!r} is not {utterance.text!r}"}
            )
        self.rows.append(
            Row(
                request_id=request_id,
                sent_s=sent_s,
                took_s=self.now_s() - sent_s,
                answer=answer,
                verdict=verdict,
            )
        )


async def _ask(
    openai_client: openai.AsyncOpenAI, audio: bytes, fields: Mapping[str, Any]
) -> Answer:
    """Send one request with these further fields; return what came of it."""
    transcriptions = openai_client.audio.transcriptions.with_raw_response
    raw: Any = None
    try:
        raw = await transcriptions.create(
            model="whisper-1", file=("clip", io.BytesIO(audio)), **fields
        )
        made = raw.parse()
        texts = await _ends(made) if "stream" in fields else (str(made.text),)
    except openai.APIStatusError as error:
        return Answer(
            status=error.status_code,
            retry_after="retry-after" in error.response.headers,
            detail=f"{error.status_code} {error.message[:200]}",
        )
    except openai.APIConnectionError as error:
        return Answer(detail=f"{type(error).__name__} {error.__cause__!r}"[:200])
    except openai.APIError as error:  # as an event, after the status was sent
        return Answer(status=raw.status_code, detail=error.message[:200])
    except Exception as error:  # noqa: BLE001 - whatever breaks a stream off
        return Answer(detail=f"{type(error).__name__} {error}"[:200])
    return Answer(status=raw.status_code, texts=texts, n_tries=1 + raw.retries_taken)


async def _ends(events: Any) -> tuple[str, ...]:
    """Return the texts of a stream's ends."""
    return tuple([str(e.text) async for e in events if e.type == "transcript.text.done"])
