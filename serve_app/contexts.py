"""Work that belongs to no request. Knows no Ray."""

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def start_apart(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start what several requests wait for, or what outlives them, as the work of none of them.

    Serve cancels the calls that a request has made when its client leaves, and knows whose a call
    is by the context in which it is made.
    """
    return asyncio.get_running_loop().create_task(work, context=contextvars.Context())
