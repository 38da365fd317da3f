"""One request from its door to its answer, as the metrics count it.

An HTTP request gets its visit from the API's outermost layer, a Python caller's from the Ingress;
what lies between notes the model and the error in it. Knows neither Ray nor HTTP.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from serve_app.errors import TranscriptionError

NO_MODEL = "-"  # no declared model has that name, or the request was refused unread
OTHER_ROUTE = "other"  # a path that the app does not have
GONE = 499  # the caller left before its answer's end: nginx's number


@dataclass(kw_only=True)
class Visit:
    """One request."""

    route: str  # one of a known few
    model: str = NO_MODEL  # a declared name
    status: int = 200
    error: TranscriptionError | None = None  # the answer, or what ended a stream that had begun
    began_s: float = field(default_factory=time.perf_counter)

    @property
    def code(self) -> str:
        """Return the status of the answer, or the one that a broken stream deserved."""
        return str(self.error.status if self.error else self.status)

    @property
    def took_s(self) -> float:
        """Return the seconds since it began."""
        return time.perf_counter() - self.began_s


Record = Callable[[Visit], None]

_current: ContextVar[Visit | None] = ContextVar("visit", default=None)


@contextmanager
def entered(visit: Visit) -> Iterator[None]:
    """Make it the visit of everything that is called inside."""
    token = _current.set(visit)
    try:
        yield
    finally:
        _current.reset(token)


def note_error(error: TranscriptionError) -> None:
    """Note that the request under way is answered with an error."""
    visit = _current.get()
    if visit is not None:
        visit.error = error


@contextmanager
def attended(route: str, record: Record) -> Iterator[Visit]:
    """Give the visit under way; where there is none, make one and record it at the end.

    Args:
        route: of a new one.
        record: is told of a new one.
    """
    visit = _current.get()
    if visit is not None:
        yield visit
        return
    visit = Visit(route=route)
    try:
        yield visit
    except TranscriptionError as error:
        visit.error = error
        raise
    except (asyncio.CancelledError, GeneratorExit):
        visit.status = GONE
        raise
    except Exception:
        visit.error = TranscriptionError()
        raise
    finally:
        record(visit)
