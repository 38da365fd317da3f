"""Calls from one deployment to another: typed errors in, cancellation out."""

import asyncio
import functools
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from os import PathLike
from typing import Any

import ray
from ray.exceptions import (
    ActorDiedError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    ReplicaUnavailableError,
    RequestCancelledError,
)

from serve_app import pipeline
from serve_app.domain import Audio
from serve_app.errors import (
    DeadlineExceededError,
    QueueFullError,
    ReplicaLostError,
    ServiceUnavailableError,
    TranscriptionError,
)
from serve_app.settings import AppSettings
from serve_app.stages import audio as files

# The last one is of the node: Ray kills a replica there.
_DEATHS = (ActorDiedError, WorkerCrashedError, NodeDiedError, OutOfMemoryError)
# The replica may be alive, but its answer does not arrive.
_LOSSES = (RayActorError, ObjectLostError, ReplicaUnavailableError)
# Ray cancels the calls that a cancelled one has made, some of them before it tells that one itself.
_CANCELLATIONS = (TaskCancelledError, RequestCancelledError)
# A thread that reads from a mount that hangs does not come back: it must be none of the five that
# an Ingress has for all else.
_paths = ThreadPoolExecutor(4, "serve_app paths")


async def call(method: Any, *args: object) -> Any:
    """Call a deployment's method once; what it raises arrives as it was raised there.

    Cancelling the call cancels the work.

    Raises:
        asyncio.CancelledError: the request of which the call is a part was cancelled.
        QueueFullError: as many calls wait for the deployment as its options allow.
        ReplicaLostError: the replica that had the call is gone.
        ServiceUnavailableError: the deployment could not be started.
        TranscriptionError: what the method raised.
    """
    response = method.remote(*args)
    with _typed_errors():
        try:
            answer = await response
        except asyncio.CancelledError:
            response.cancel()
            raise
    if isinstance(answer, TranscriptionError):
        raise answer
    return answer


async def call_in_two(method: Any, *args: object) -> Any:
    """Call a method that yields first that it begins, and then its answer.

    Raises:
        ReplicaLostError: the replica is gone; `died` only where the method had begun.
        TranscriptionError: as `call` raises them.
    """
    answers = method.options(stream=True).remote(*args)
    has_begun = False
    try:
        with _typed_errors():
            try:
                await anext(answers)
                has_begun = True
                answer = await anext(answers)
            except asyncio.CancelledError:
                answers.cancel()
                raise
    except ReplicaLostError as error:
        if has_begun:
            raise
        raise ReplicaLostError("A replica was lost before it began the work.") from error
    if isinstance(answer, TranscriptionError):
        raise answer
    return answer


@contextmanager
def _typed_errors() -> Iterator[None]:
    """Turn what Ray raises about a call into what the callers of the graph know."""
    try:
        yield
    except _CANCELLATIONS as error:
        raise asyncio.CancelledError from error
    except BackPressureError as error:
        raise QueueFullError from error
    except DeploymentUnavailableError as error:
        raise ServiceUnavailableError("A part of the server cannot be started.") from error
    except _DEATHS as error:
        raise ReplicaLostError("A replica died while it had the work.", died=True) from error
    except _LOSSES as error:
        raise ReplicaLostError("A replica that had the work cannot be reached.") from error
    except RayTaskError as error:
        cause = error.cause
        raise pipeline.unwrap(cause if isinstance(cause, Exception) else error) from None


def returns_errors(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Let a deployment's method return the typed errors that it raises, for `call` to raise.

    Serve logs whatever a method raises as a fault of the server, with its traceback: a bad upload
    is none.
    """

    @functools.wraps(method)
    async def returning(*args: Any) -> Any:
        try:
            return await method(*args)
        except TranscriptionError as error:
            return error

    return returning


@asynccontextmanager
async def time_limit(limit_s: float) -> AsyncGenerator[None]:
    """Bound what runs inside by a request's time, with DeadlineExceededError."""
    try:
        async with asyncio.timeout(limit_s) as limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise DeadlineExceededError(limit_s) from None


async def put_file(audio: Audio, settings: AppSettings) -> Any:
    """Store a caller's file once for all its slices; whoever decodes one reads it where it lies.

    Raises:
        InvalidRequestError: what was given cannot be read, or is too large.
        DeadlineExceededError: to read and store it took longer than a request may.
    """
    read = functools.partial(files.read_file, audio, max_bytes=settings.api.max_upload_bytes)
    async with time_limit(settings.request_timeout_s):
        if isinstance(audio, str | PathLike):
            data = await asyncio.get_running_loop().run_in_executor(_paths, read)
            return await asyncio.to_thread(ray.put, data)
        return await asyncio.to_thread(lambda: ray.put(read()))


def timed(work: Callable[[], object]) -> float:
    """Do the work; return how long it took, in seconds."""
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s
