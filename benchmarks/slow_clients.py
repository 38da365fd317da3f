"""Clients that send slowly, never read or send too much header: what this server does by itself."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from benchmarks.graph import Graph, running_graph
from benchmarks.local import embedded_workpiece
from benchmarks.results import Report
from benchmarks.workload import speech_wav

UPLOAD_TIMEOUT_S = 10.0  # in place of ten minutes, so that it is seen to act
LOOK_S = 30.0  # a connection that is open after this is left open
LONG_S = 120.0  # of speech, for the client that never reads
HEADER_BYTES = 200 * 1024

_PATH = "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
_MULTIPART = "Content-Type: multipart/form-data; boundary=b\r\n"
_FIELD = 'Content-Disposition: form-data; name="{}"'


def run(report: Report, *, quick: bool) -> None:
    """Try each kind of client once, and a good one beside it; write the report.

    Args:
        report: gets a row for each.
        quick: look for 12 s only.
    """
    look_s = 12.0 if quick else LOOK_S
    settings = {
        **embedded_workpiece(threads=1).args,
        "api": {"upload_timeout_s": UPLOAD_TIMEOUT_S},
    }
    with running_graph(settings) as graph:
        for name, client in CLIENTS.items():
            with _connected(graph) as connection:
                began_s = time.monotonic()
                status = client(connection, look_s)
                took_s = time.monotonic() - began_s
                good = graph.post(speech_wav(2.0), {})
            report.add(client=name, answer=status, took_s=took_s, good_one_answered=bool(good))


def _slow_header(connection: socket.socket, look_s: float) -> str:
    connection.sendall(_PATH.encode())
    return _drip(connection, b"x", look_s)


def _slow_body(connection: socket.socket, look_s: float) -> str:
    head = f"{_PATH}{_MULTIPART}Content-Length: 1000000\r\n\r\n--b\r\n{_FIELD.format('file')}\r\n"
    connection.sendall(head.encode())
    return _drip(connection, b"x", look_s)


def _never_reads(connection: socket.socket, look_s: float) -> str:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    file = speech_wav(LONG_S)
    body = (
        f"--b\r\n{_FIELD.format('stream')}\r\n\r\ntrue\r\n"
        f'--b\r\n{_FIELD.format("file")}; filename="a"\r\n\r\n'
    ).encode()
    body += file + b"\r\n--b--\r\n"
    connection.sendall(f"{_PATH}{_MULTIPART}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    time.sleep(look_s)
    return _status(connection)


def _large_header(connection: socket.socket, look_s: float) -> str:
    header = f"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: {'x' * HEADER_BYTES}\r\n\r\n"
    connection.sendall(header.encode())
    connection.settimeout(look_s)
    return _status(connection)


CLIENTS: dict[str, Callable[[socket.socket, float], str]] = {
    "header at 1 B/s": _slow_header,
    "body at 1 B/s": _slow_body,
    "never reads": _never_reads,
    "header of 200 KiB": _large_header,
}


@contextmanager
def _connected(graph: Graph) -> Iterator[socket.socket]:
    where = urlsplit(graph.url)
    with socket.create_connection((where.hostname, where.port), timeout=LOOK_S) as connection:
        yield connection


def _drip(connection: socket.socket, byte: bytes, look_s: float) -> str:
    """Send a byte each second until there is an answer."""
    ends_s = time.monotonic() + look_s
    connection.settimeout(1.0)
    while time.monotonic() < ends_s:
        try:
            connection.sendall(byte)
            return _status(connection)
        except TimeoutError:
            continue
    return f"none in {look_s:.0f} s"


def _status(connection: socket.socket) -> str:
    """Return the first line of the answer. Raises TimeoutError where none comes."""
    try:
        first = connection.recv(100).split(b"\r\n")[0].decode()
    except ConnectionError:
        return "cut off"
    return first or "closed"
