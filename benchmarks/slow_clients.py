"""Clients that send slowly, never read, hold connections or leave: what the server does alone."""

import itertools
import resource
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

from benchmarks.graph import Graph, running_graph
from benchmarks.local import embedded_workpiece
from benchmarks.results import Bar, Report
from benchmarks.workload import speech_wav
from serve_app.errors import TranscriptionError
from serve_app.metrics import REJECTIONS

UPLOAD_TIMEOUT_S = 10.0  # in place of ten minutes, so that it is seen to act
LOOK_S = 30.0  # a connection that is open after this is left open
LONG_S = 120.0  # of speech, for the client that never reads
HEADER_BYTES = 200 * 1024
N_IDLE, N_LEAVING = 10_000, 1_000
# How much of its file a client has sent when it leaves, and for how long it waited then.
SENT_SHARES, WAITS_S = (0.0, 0.3, 0.9, 1.0), (0.0, 0.002, 0.01, 0.03, 0.1)
COUNTED_AFTER_S = 5.0  # what a replica has counted is on the page of metrics by then

_PATH = "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
_MULTIPART = "Content-Type: multipart/form-data; boundary=b\r\n"
_FIELD = 'Content-Disposition: form-data; name="{}"'
_HEALTH = "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@dataclass(frozen=True, kw_only=True)
class Door:
    """Where a kind of client comes in."""

    graph: Graph
    connections: ExitStack  # stay open until the good client is answered
    look_s: float
    share: float  # of the clients that come in great number

    def connect(self) -> socket.socket:
        """Open a connection."""
        where = urlsplit(self.graph.url)
        made = socket.create_connection((where.hostname, where.port), timeout=LOOK_S)
        return self.connections.enter_context(made)


def run(report: Report, *, quick: bool) -> None:
    """Try each kind of client once, and a good one beside it; write the report.

    Args:
        report: gets a row for each.
        quick: look for 12 s only, and let a tenth of the many come.
    """
    settings = {
        **embedded_workpiece(threads=1).args,
        "api": {"upload_timeout_s": UPLOAD_TIMEOUT_S},
    }
    look_s, share = (12.0, 0.1) if quick else (LOOK_S, 1.0)
    with running_graph(settings) as graph:
        for name, client in CLIENTS.items():
            with ExitStack() as connections:
                door = Door(graph=graph, connections=connections, look_s=look_s, share=share)
                began_s = time.monotonic()
                answer = client(door)
                took_s = time.monotonic() - began_s
                good = graph.post(speech_wav(2.0), {})
                good_took_s = time.monotonic() - began_s - took_s
            report.add(
                client=name,
                answer=answer,
                took_s=took_s,
                good_one_answered=bool(good),
                good_one_took_s=good_took_s,
            )
        time.sleep(COUNTED_AFTER_S)
        n_faults = graph.counter(REJECTIONS, reason=TranscriptionError.code)
    report.hold(Bar(name="requests counted as faults of the server", value=n_faults, limit=0))


def _slow_header(door: Door) -> str:
    connection = door.connect()
    connection.sendall(_PATH.encode())
    return _drip(connection, b"x", door.look_s)


def _slow_body(door: Door) -> str:
    head = f"{_PATH}{_MULTIPART}Content-Length: 1000000\r\n\r\n--b\r\n{_FIELD.format('file')}\r\n"
    connection = door.connect()
    connection.sendall(head.encode())
    return _drip(connection, b"x", door.look_s)


def _never_reads(door: Door) -> str:
    connection = door.connect()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    connection.sendall(_upload(speech_wav(LONG_S), stream=True))
    time.sleep(door.look_s)
    return _status(connection)


def _large_header(door: Door) -> str:
    connection = door.connect()
    connection.sendall(f"{_HEALTH}X: {'x' * HEADER_BYTES}\r\n\r\n".encode())
    connection.settimeout(door.look_s)
    return _status(connection)


def _idle(door: Door) -> str:
    """Open very many connections, and ask for nothing."""
    # Half of the files that a process may have open, so that the proxy, too, has some left.
    n = min(round(N_IDLE * door.share), resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
    connections = [door.connect() for _ in range(n)]
    time.sleep(door.look_s)
    return f"{sum(map(_is_open, connections)):,} of {n:,} are open"


def _leaves(door: Door) -> str:
    """Leave very often, at any time of an upload."""
    n = round(N_LEAVING * door.share)
    upload = _upload(speech_wav(2.0), stream=False)
    ways = itertools.cycle(itertools.product(SENT_SHARES, WAITS_S))
    for sent_share, wait_s in itertools.islice(ways, n):
        with door.connect() as connection:
            head_end = upload.index(b"\r\n\r\n") + 4
            connection.sendall(upload[: head_end + round((len(upload) - head_end) * sent_share)])
            time.sleep(wait_s)
    return f"left {n:,} times"


CLIENTS: Mapping[str, Callable[[Door], str]] = {
    "header at 1 B/s": _slow_header,
    "body at 1 B/s": _slow_body,
    "never reads": _never_reads,
    "header of 200 KiB": _large_header,
    "idle connections": _idle,
    "leaves while it sends": _leaves,
}


def _upload(file: bytes, *, stream: bool) -> bytes:
    """Return a request that sends a file in a form."""
    body = (
        f"--b\r\n{_FIELD.format('stream')}\r\n\r\n{'true' if stream else 'false'}\r\n"
        f'--b\r\n{_FIELD.format("file")}; filename="a"\r\n\r\n'
    ).encode()
    body += file + b"\r\n--b--\r\n"
    return f"{_PATH}{_MULTIPART}Content-Length: {len(body)}\r\n\r\n".encode() + body


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


def _is_open(connection: socket.socket) -> bool:
    """Tell whether the other side, which has nothing to say, has not closed it."""
    connection.setblocking(False)
    try:
        return bool(connection.recv(1))
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


def _status(connection: socket.socket) -> str:
    """Return the first line of the answer. Raises TimeoutError where none comes."""
    try:
        first = connection.recv(100).split(b"\r\n")[0].decode()
    except ConnectionError:
        return "cut off"
    return first or "closed"
