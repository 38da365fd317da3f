"""What decoding may take: the time of one slice, the memory of its process.

FFmpeg's own work cannot be interrupted: when the time is up its file ends, and between packets the
deadline is looked at. What hangs inside one packet is for whoever waits for the replica.
`decode` sets a deadline for each slice, a process that decodes for others limits its own memory.
"""

import logging
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from serve_app.errors import DecodeTimeoutError

logger = logging.getLogger("ray.serve")

_LOOK_EVERY_S = 0.02  # FFmpeg fills some 30 MB in that time


class Deadline:
    """The moment by which a slice must be decoded."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._ends_s = time.monotonic() + timeout_s

    @property
    def is_over(self) -> bool:
        """Tell whether the moment has passed."""
        return time.monotonic() > self._ends_s

    def check(self) -> None:
        """Do nothing in time.

        Raises:
            DecodeTimeoutError: the moment has passed.
        """
        if self.is_over:
            raise DecodeTimeoutError(self._timeout_s)


@contextmanager
def memory_limit(n_bytes: int, *, beyond_bytes: int | None = None) -> Iterator[None]:
    """End this process if it comes to hold so much more memory of its own while the block runs.

    A packet of 640 kB can hold 20,000 FLAC frames, 3 GB of samples, and PyAV decodes it whole. The
    work beside it is lost as well and is done again elsewhere. Refusing the memory instead (by
    RLIMIT_DATA) would be worse: other files of the process lose their tracks without a word where
    FFmpeg cannot open them, and Ray aborts.

    Args:
        n_bytes: more.
        beyond_bytes: than this (`own_bytes`, before the process had any work); None: than now.
    """
    limit_bytes = n_bytes + (own_bytes() if beyond_bytes is None else beyond_bytes)
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(_LOOK_EVERY_S):
            if own_bytes() >= limit_bytes:
                logger.critical(
                    "ending this process: a file needs more than %d bytes to decode", n_bytes
                )
                os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True, name="memory limit").start()
    try:
        yield
    finally:
        is_over.set()


def own_bytes() -> int:
    """Return the resident memory of this process less what it shares, such as Ray's store."""
    with open("/proc/self/statm") as file:  # man 5 proc
        _, resident, shared, *_ = file.read().split()
    return (int(resident) - int(shared)) * resource.getpagesize()
