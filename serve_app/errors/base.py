"""The root of the tree: what every error has."""

from collections.abc import Iterator
from typing import ClassVar


class TranscriptionError(Exception):
    """Base of all errors here; raised itself only for an unexpected failure."""

    status: ClassVar[int] = 500
    kind: ClassVar[str] = "server_error"  # the wire's `type`
    code: ClassVar[str] = "internal_error"
    retry_after_s: float | None = None  # None: the same request would fail again

    @property
    def param(self) -> str | None:
        """Name the request field at fault, where there is one."""
        return None

    @property
    def message(self) -> str:
        """Return the sentence for the user.

        The text of an error that a handle's caller catches is Ray's: this and a traceback.
        """
        return str(self._raised)

    @property
    def _raised(self) -> Exception:
        """Return what was raised; Ray gives a handle's caller a wrap of it, of the same kind."""
        return getattr(self, "cause", self)

    def __str__(self) -> str:
        return "The server had an error while processing the request."


def all_errors(
    kind: type[TranscriptionError] = TranscriptionError,
) -> Iterator[type[TranscriptionError]]:
    """Yield an error and all that are below it in the tree."""
    yield kind
    for below in kind.__subclasses__():
        yield from all_errors(below)
