"""What decoding may take: the time of one slice, the memory of its process.

FFmpeg's own work cannot be interrupted: when the time is up its file ends, and between packets the
deadline is looked at. What hangs inside one packet is for whoever waits for the replica.
`decode` sets a deadline for each slice, a process that decodes for others limits its memory once.
"""

import resource
import time

from serve_app.errors import DecodeTimeoutError


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


def limit_memory(n_bytes: int) -> None:
    """Let this process have only so much more memory of its own than it has now.

    A packet of 640 kB can hold 20,000 FLAC frames, 3 GB of samples, and PyAV decodes it whole.
    Where the memory ends the file is given up by a MemoryError, and all that it held is free again.
    Shared memory, such as Ray's object store, does not count (man 2 getrlimit, RLIMIT_DATA).
    """
    with open("/proc/self/status") as status:
        [data_kib] = (line.split()[1] for line in status if line.startswith("VmData:"))
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    ours = int(data_kib) * 1024 + n_bytes
    resource.setrlimit(
        resource.RLIMIT_DATA,
        (ours if soft == resource.RLIM_INFINITY else min(ours, soft), hard),
    )
