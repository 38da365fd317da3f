"""Work on uploads, any of which may kill the replica: how a replica does it, and how it is asked.

A death accuses everything that the replica had. So whatever was in one is tried again alone
(`Retries.run_on_upload`), and says when that begins: a death before was another's doing.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ray.serve.handle import DeploymentHandle

from serve_app.deployments.calls import call, call_in_two
from serve_app.errors import TranscriptionError
from serve_app.isolation import Isolation
from serve_app.watch import RunningWork

Answer = TypeVar("Answer")

# From saying that a suspect begins to its beginning, because what a process sends in its last
# moment is lost. Where it is lost all the same, the suspect is taken for innocent and tried again.
_TELL_S = 0.1


class UploadWork:
    """The work of one replica, in threads."""

    def __init__(self, what: str) -> None:
        """Make one that calls a piece of work `what` where it hangs."""
        self._what = what
        self._running = RunningWork()
        self._isolation = Isolation()
        self._suspects = ThreadPoolExecutor(1)

    async def run(
        self, thread: ThreadPoolExecutor, work: Callable[..., Answer], *args: object
    ) -> Answer:
        """Do a piece of work in that thread, unless a suspect is tried."""

        def beside_others() -> Answer:
            with self._isolation.beside_others(), self._running.of(self._what):
                return work(*args)

        return await asyncio.get_running_loop().run_in_executor(thread, beside_others)

    async def run_alone(self, work: Callable[..., Any], *args: object) -> AsyncGenerator[Any]:
        """Yield None once nothing else runs, then what the work returns, or its typed error."""
        loop = asyncio.get_running_loop()
        is_alone = asyncio.Event()

        def alone() -> Any:
            with self._isolation.alone():
                loop.call_soon_threadsafe(is_alone.set)
                time.sleep(_TELL_S)
                with self._running.of(self._what):
                    return work(*args)

        answer = loop.run_in_executor(self._suspects, alone)
        try:
            await is_alone.wait()
            yield None
            yield await answer
        except TranscriptionError as error:
            yield error
        finally:
            answer.cancel()

    def check(self, limit_s: float) -> None:
        """Raise RuntimeError where a piece of work has run for longer than so many seconds."""
        self._running.check(limit_s)


async def ask(
    deployment: DeploymentHandle[Any], method: str, *args: object, is_suspect: bool
) -> Any:
    """Call a method that works on an upload; of a suspect, through the deployment's `alone`.

    Raises:
        ReplicaLostError: the replica is gone; `died` only where the upload can be to blame.
        TranscriptionError: as `call` raises them.
    """
    if is_suspect:
        return await call_in_two(deployment.alone, method, *args)
    return await call(getattr(deployment, method), *args)
