"""What callers of a deployment see of Ray's errors and of its contexts."""

import asyncio
import contextvars

import pytest
from ray.exceptions import OutOfMemoryError, TaskCancelledError
from ray.serve.exceptions import RequestCancelledError

from serve_app.contexts import start_apart
from serve_app.deployments.calls import call
from serve_app.errors import ReplicaLostError


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
