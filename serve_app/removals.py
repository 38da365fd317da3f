"""Work for a model, or for the diarizer, ends when a new config takes it away.

Serve leaves a call waiting for ever if its deployment is deleted before a replica has taken it.
Runs on one event loop; knows no Ray: whoever makes one says how to look.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager

from serve_app.contexts import start_apart
from serve_app.errors import ServiceUnavailableError

logger = logging.getLogger("ray.serve")

# Much shorter than a client waits. A look costs 60 ms of a core, in which little else runs here:
# Serve's status parses the configs of all that is deployed.
LOOK_EVERY_S = 5.0


class Removals:
    """Ends what waits for models that are gone."""

    def __init__(
        self,
        look: Callable[[], Awaitable[Collection[str]]],
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        """Make one for all requests of a process.

        Args:
            look: returns the models that can still answer, or raises ServiceUnavailableError
                where that is not known.
            look_every_s: the pause between two looks.
        """
        self._look = look
        self._look_every_s = look_every_s
        self._limits: defaultdict[str, set[asyncio.Timeout]] = defaultdict(set)  # by model
        self._watch: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def guard(self, model: str) -> AsyncGenerator[None]:
        """Let the work inside go on as long as the model can answer.

        Raises:
            ServiceUnavailableError: it no longer can; whoever sends the request again meets the
                new config.
        """
        if self._watch is None:
            self._watch = start_apart(self._watch_models())
        limits = self._limits[model]
        try:
            async with asyncio.timeout(None) as limit:
                limits.add(limit)
                try:
                    yield
                finally:
                    limits.discard(limit)
        except TimeoutError:
            if not limit.expired():
                raise
            raise ServiceUnavailableError(f"'{model}' is no longer served.") from None

    async def _watch_models(self) -> None:
        before: set[asyncio.Timeout] = set()
        while True:
            await asyncio.sleep(self._look_every_s)
            under_way = set().union(*self._limits.values())
            # What came since the last round is not stuck yet, and most of it will be gone at once.
            some_wait = bool(under_way & before)
            before = under_way
            if not some_wait:
                continue
            try:
                present = await self._look()
            except ServiceUnavailableError:
                continue
            except Exception:  # whatever it is, the next look must come
                logger.exception("cannot tell which models are still served")
                continue
            for model in self._limits.keys() - present:
                self._end(self._limits[model])

    def _end(self, limits: set[asyncio.Timeout]) -> None:
        now_s = asyncio.get_running_loop().time()
        while limits:
            limits.pop().reschedule(now_s)
