"""Calls from one deployment to another: typed errors in, cancellation out."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from ray.exceptions import RayTaskError
from ray.serve.exceptions import BackPressureError

from serve_app import pipeline
from serve_app.errors import QueueFullError


async def call(method: Any, *args: object) -> Any:
    """Call a deployment's method; what it raises arrives as it was raised there.

    Cancelling the call cancels the work.
    """
    response = method.remote(*args)
    try:
        return await response
    except asyncio.CancelledError:
        response.cancel()
        raise
    except BackPressureError as error:
        raise QueueFullError from error
    except RayTaskError as error:
        cause = error.cause
        raise pipeline.unwrap(cause if isinstance(cause, Exception) else error) from None


def timed(work: Callable[[], object]) -> float:
    """Do the work; return how long it took, in seconds."""
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s
