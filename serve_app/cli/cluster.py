"""The Ray that a command joins: one that was started on this machine, or its own."""

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

LISTENS_TIMEOUT_S = 2.0


def left_behind() -> bool:
    """Tell whether Ray would join one on this machine that is gone.

    A `ray start` that is killed, as where the machine goes down, leaves its address behind, and a
    driver that nobody gives another one looks for it for two minutes and fails.
    """
    if os.environ.get("RAY_ADDRESS"):
        return False
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    try:
        address = Path(folder, "ray", "ray_current_cluster").read_text().strip()
    except OSError:
        return False
    return not listens(f"//{address}")


def listens(url: str) -> bool:
    """Tell whether anybody takes connections at a URL's host and port."""
    address = urlsplit(url)
    try:
        where = (address.hostname, address.port)
        socket.create_connection(where, timeout=LISTENS_TIMEOUT_S).close()
    except (OSError, ValueError):  # the second: that is no port
        return False
    return True
