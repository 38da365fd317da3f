"""How a replica's process treats the memory that it frees."""

import ctypes

GIVE_BACK_EVERY_S = 30.0

# mallopt(3), <malloc.h>
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_THRESHOLD = 32 << 20  # bytes; what glibc's own adaptive threshold may become


def keep_freed_memory() -> None:
    """Keep what this process frees for what it allocates next, as glibc does where not told else.

    Ray's processes start with `MALLOC_MMAP_THRESHOLD_` (serve_app/cli/graph.py), so that large
    blocks go back to the system. A process that allocates the like all the time, as activations for
    each layer, would spend that time on page faults. Does nothing where the C library has no
    `mallopt`.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, 2 * _LARGEST_THRESHOLD)  # as glibc's, twice the other


def give_back_freed_memory() -> None:
    """Give the system every page of this process's heap that nothing lies in.

    glibc does so at the heap's end alone, so that after a rush a process would keep what it needed
    then. Takes some milliseconds. Does nothing where the C library has no `malloc_trim`.
    """
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
