"""Work whose replica was lost is done again, as long as that can help.

Runs on one event loop; knows no Ray: whoever does the work says by a ReplicaLostError that it was
lost.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TypeVar

from serve_app.errors import ReplicaLostError, UnprocessableAudioError
from serve_app.settings import RetrySettings

Answer = TypeVar("Answer")

_MAX_DEATHS = 2  # of replicas that an upload may cost


class Retries:
    """Tries again what was lost, with growing pauses."""

    def __init__(
        self, settings: RetrySettings, on_retry: Callable[[], None] = lambda: None
    ) -> None:
        """Make one for all requests of a process.

        Args:
            settings: how often, and how long a try may take.
            on_retry: told of every try after the first.
        """
        self._settings = settings
        self._on_retry = on_retry
        self._alone = asyncio.Lock()

    async def run(self, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """Do the work until it is answered.

        Raises:
            ReplicaLostError: the last try was lost as well.
        """
        return await self._repeat(work, nullcontext)

    async def run_on_upload(self, work: Callable[[bool], Awaitable[Answer]]) -> Answer:
        """Do work that an upload may make deadly for its replica.

        Whatever else that replica had is lost with it, so one death accuses nobody. From then on
        the upload is a suspect, and the next death tells: a replica does the work of a suspect
        while it does nothing else (`Isolation`), and this process sends one after the other.

        Args:
            work: told whether the upload is a suspect, and then says that a replica `died` only
                where it did so at this upload alone.

        Raises:
            UnprocessableAudioError: two replicas died of it.
            ReplicaLostError: it was lost otherwise, in the last try as well.
        """
        n_deaths = 0

        async def watched() -> Answer:
            nonlocal n_deaths
            try:
                return await work(n_deaths > 0)
            except ReplicaLostError as error:
                n_deaths += error.died
                if n_deaths == _MAX_DEATHS:
                    raise UnprocessableAudioError from error
                raise

        return await self._repeat(watched, lambda: self._alone if n_deaths else nullcontext())

    async def _repeat(
        self,
        work: Callable[[], Awaitable[Answer]],
        turn: Callable[[], AbstractAsyncContextManager[None]],
    ) -> Answer:
        """Do the work until it is answered, each time within its turn."""
        pause_s = self._settings.first_pause_s
        for _ in range(self._settings.max_tries - 1):
            try:
                async with turn():
                    return await self._try(work)
            except ReplicaLostError:
                self._on_retry()
                await asyncio.sleep(pause_s)
                pause_s *= 2
        async with turn():
            return await self._try(work)

    async def _try(self, work: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            async with asyncio.timeout(self._settings.try_timeout_s) as limit:
                return await work()
        except TimeoutError:
            if not limit.expired():
                raise
            limit_s = self._settings.try_timeout_s
            raise ReplicaLostError(f"A replica did not answer within {limit_s:g} s.") from None
