"""Work that belongs to no request, or that must not hold up the others. Knows no Ray."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

_answers = ThreadPoolExecutor(2, "serve_app answers")


def start_apart(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start what several requests wait for, or what outlives them, as the work of none of them.

    Serve cancels the calls that a request has made when its client leaves, and knows whose a call
    is by the context in which it is made.
    """
    return asyncio.get_running_loop().create_task(work, context=contextvars.Context())


async def make_aside(work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Return what the work makes, from a thread: for an answer of hours it takes seconds.

    Not from asyncio's own threads: an Ingress has five, and uploads wait in them.
    """
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_answers, partial(work, *args, **kwargs))
