"""What each engine returns, and how its library is loaded."""

import ctypes
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Spans = list[tuple[float, float]]  # start and end of each word in seconds
Spoken = tuple[NDArray[np.int16], int, Spans]  # samples (n,), their rate, words; [] if unknown


def load(name: str, libraries: Path | None) -> ctypes.CDLL:
    """Load a library of a folder, or of the system.

    Raises:
        OSError: it is not there.
    """
    path = str(libraries / name) if libraries else name
    return ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
