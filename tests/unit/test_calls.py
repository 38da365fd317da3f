"""What callers of a deployment see of Ray's errors and of its contexts."""

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from ray.exceptions import OutOfMemoryError, TaskCancelledError
from ray.serve.exceptions import RequestCancelledError

from serve_app.contexts import start_apart
from serve_app.deployments import calls
from serve_app.deployments.calls import call, put_file
from serve_app.domain import Audio
from serve_app.errors import DeadlineExceededError, ReplicaLostError
from serve_app.settings import AppSettings


class Method:
    """A deployment's method whose replica fails as planted."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def remote(self) -> "asyncio.Future[object]":
        answer = asyncio.get_running_loop().create_future()
        answer.set_exception(self._error)
        return answer


async def test_a_replica_that_ray_ends_for_its_nodes_memory_counts_as_dead() -> None:
    with pytest.raises(ReplicaLostError) as raised:
        await call(Method(OutOfMemoryError("the node ran low on memory")))
    assert raised.value.died


@pytest.mark.parametrize("error", [TaskCancelledError(), RequestCancelledError("id")])
async def test_a_call_that_ray_cancels_first_is_no_fault_of_the_request(error: Exception) -> None:
    with pytest.raises(asyncio.CancelledError):
        await call(Method(error))


async def test_what_is_started_apart_is_the_work_of_no_request() -> None:
    request = contextvars.ContextVar("request", default="none")
    request.set("first")

    async def ask() -> str:
        return request.get()

    assert await start_apart(ask()) == "none"
    assert await asyncio.ensure_future(ask()) == "first"


async def test_a_path_that_hangs_ends_with_its_request_and_keeps_no_other_file_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hangs = threading.Event()

    def read_file(audio: Audio, **_: object) -> Audio:
        if isinstance(audio, str):
            hangs.wait(30)
        return audio

    monkeypatch.setattr(calls.files, "read_file", read_file)
    monkeypatch.setattr(calls.ray, "put", lambda data: data)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))  # an Ingress has few
    hasty = AppSettings(request_timeout_s=0.5)
    stuck = [asyncio.ensure_future(put_file("/mount/file", hasty)) for _ in range(9)]
    await asyncio.sleep(0.05)
    assert await put_file(b"RIFF", hasty) == b"RIFF"
    outcomes = await asyncio.gather(*stuck, return_exceptions=True)
    hangs.set()
    assert {type(outcome) for outcome in outcomes} == {DeadlineExceededError}
