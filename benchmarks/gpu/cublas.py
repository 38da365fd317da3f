"""cuBLAS 13 under the name of cuBLAS 12.

CTranslate2's wheel opens `libcublas.so.12` by its name. On a host whose CUDA is 13 there is none,
and what it calls has not changed: a link under that name, on LD_LIBRARY_PATH before the process
starts, makes it run. `pip install 'serve_app[cuda]'` is the proper remedy where there is a network.
"""

import ctypes
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from serve_app.stages.whisper.device import preload_cublas

LINKS = Path.home() / ".cache" / "serve_app" / "cublas-13-as-12"
LIBRARIES = ("libcublas", "libcublasLt")
PATH = "LD_LIBRARY_PATH"


def has_cublas_12() -> bool:
    """Tell whether CTranslate2 would find its cuBLAS."""
    preload_cublas()
    try:
        ctypes.CDLL("libcublas.so.12")
    except OSError:
        return False
    return True


def library_folders() -> Iterator[Path]:
    """Yield where CUDA's libraries may lie: NVIDIA's wheels, and what the system has."""
    yield from map(Path, filter(None, os.environ.get(PATH, "").split(":")))
    for entry in sys.path:
        yield from sorted(Path(entry).glob("nvidia/*/lib"))
    yield from sorted(Path("/usr/local").glob("cuda*/lib64"), reverse=True)
    yield from (Path("/usr/lib/x86_64-linux-gnu"), Path("/usr/lib64"))


def find_cublas_13(folders: Iterator[Path] | Sequence[Path]) -> Path | None:
    """Return the first of the folders that holds all of cuBLAS 13; None where none does."""
    for folder in folders:
        if all((folder / f"{library}.so.13").is_file() for library in LIBRARIES):
            return folder
    return None


def link_as_12(found: Path, links: Path = LINKS) -> None:
    """Make links under the names of version 12 to the libraries of a folder."""
    links.mkdir(parents=True, exist_ok=True)
    for library in LIBRARIES:
        link = links / f"{library}.so.12"
        link.unlink(missing_ok=True)
        link.symlink_to(found / f"{library}.so.13")


def with_links(environment: Mapping[str, str], found: Path, links: Path = LINKS) -> dict[str, str]:
    """Return the environment for processes that are to find the links, and what they point to."""
    folders = [str(links), str(found), *filter(None, environment.get(PATH, "").split(":"))]
    return {**environment, PATH: ":".join(folders)}
