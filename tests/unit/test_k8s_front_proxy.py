"""The shipped nginx configuration, in a real nginx on 127.0.0.1 before an upstream like Ray's."""

import asyncio
import itertools
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.servers import free_port

CONFIG = Path(__file__).parents[2] / "k8s/front-proxy/nginx.conf"
SERVICE = "whisper-serve-svc:8000 "
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

pytestmark = pytest.mark.skipif(NGINX is None, reason="needs nginx (Debian: nginx-light)")


@dataclass(frozen=True, kw_only=True)
class Front:
    """A running front proxy, and what came through it."""

    port: int
    pod: int  # the port of the one behind it
    seen: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def send(self, sent: bytes) -> bytes:
        """Send raw bytes; return what comes until the other side closes, at most 10 s later."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as line:
            line.sendall(sent)
            return all_from(line)


def all_from(line: socket.socket) -> bytes:
    """Return what comes until the other side closes."""
    came = b""
    with suppress(ConnectionResetError):
        while more := line.recv(65536):
            came += more
    return came


def upstream(seen: list[str]) -> ASGIApp:
    async def plain(request: Request) -> Response:
        status = request.path_params["status"]
        headers = {"retry-after": "7"} if status == 429 else None
        return PlainTextResponse('Ray\'s "own" words', status, headers)

    async def html(request: Request) -> Response:
        status = request.path_params["status"]
        headers = {"retry-after": "7"} if status == 429 else None
        return HTMLResponse("<h1>HAProxy's words</h1>", status, headers)

    async def own_error(request: Request) -> Response:
        error = {"message": "ours", "type": "server_error", "param": None, "code": "model_loading"}
        return JSONResponse({"error": error}, request.path_params["status"], {"retry-after": "9"})

    async def echo(request: Request) -> Response:
        body = await request.body()
        return JSONResponse({"headers": dict(request.headers), "n_bytes": len(body)})

    async def subtitles(_: Request) -> Response:
        return PlainTextResponse("1\n00:00:00,000 --> 00:00:01,000\nhello\n")

    async def events(_: Request) -> Response:
        async def two() -> AsyncIterator[str]:
            yield "data: first\n\n"
            await asyncio.sleep(0.5)
            yield "data: second\n\n"

        return StreamingResponse(two(), media_type="text/event-stream")

    async def hang(_: Request) -> Response:
        await asyncio.sleep(30)
        return PlainTextResponse("late")

    routes = [
        Route("/plain/{status:int}", plain, methods=["GET", "POST"]),
        Route("/html/{status:int}", html, methods=["GET", "POST"]),
        Route("/own/{status:int}", own_error, methods=["GET", "POST"]),
        Route("/echo", echo, methods=["GET", "POST"]),
        Route("/subtitles", subtitles),
        Route("/events", events),
        Route("/hang", hang, methods=["POST"]),
        Route("/-/routes", echo),
        Route("/metrics", echo),
    ]
    app = Starlette(routes=routes)

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            seen.append(scope["path"])
        await app(scope, receive, send)

    return noting


def adapted(folder: Path, port: int, pods: Sequence[int]) -> str:
    """Return the configuration with this test's ports and folder, and times it can wait for.

    Its tries for a request go to the ports of these pods in turn.
    """
    text = CONFIG.read_text()
    for pod in itertools.islice(itertools.cycle(pods), text.count(SERVICE)):
        text = text.replace(SERVICE, f"127.0.0.1:{pod} ", 1)
    for shipped, here in {
        "listen 8080 ": f"listen 127.0.0.1:{port} ",
        "127.0.0.1:8081": f"127.0.0.1:{free_port()}",
        "/run/front-proxy": str(folder),
        "access_log /dev/stdout": f"access_log {folder}/access.log",
        "client_header_timeout 5s": "client_header_timeout 1s",
        "client_body_timeout 10s": "client_body_timeout 1s",
        "proxy_read_timeout 3670s": "proxy_read_timeout 1s",
        "client_max_body_size 1040m": "client_max_body_size 1m",
        "limit_conn clients 256": "limit_conn clients 8",
        "limit_conn large 8": "limit_conn large 2",
        "[0-9]{9,}": "[0-9]{6,}",
    }.items():
        assert shipped in text, shipped
        text = text.replace(shipped, here)
    return text


@contextmanager
def nginx(folder: Path, *pods: int) -> Iterator[int]:
    """Run nginx with the shipped configuration; yield its port once it listens."""
    port, config = free_port(), folder / "nginx.conf"
    config.write_text(adapted(folder, port, pods))
    user = ["-g", "user root;"] if os.geteuid() == 0 else []
    command = [str(NGINX), "-e", "stderr", "-p", str(folder), "-c", str(config), *user]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "warn" not in checked.stderr
    process = subprocess.Popen(command, cwd=folder, stderr=(folder / "error.log").open("w"))
    try:
        wait_until_listens(port)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def wait_until_listens(port: int) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"nothing listens on {port} after 10 s")


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    seen: list[str] = []
    settings = uvicorn.Config(upstream(seen), port=free_port(), log_level="warning")
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until_listens(settings.port)
    with nginx(tmp_path_factory.mktemp("front"), settings.port) as port:
        yield Front(port=port, pod=settings.port, seen=seen)
    server.should_exit = server.force_exit = True
    thread.join(10)


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def assert_is_envelope(answer: requests.Response, status: int, code: str) -> None:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert error["code"] == code
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (404, "not_found"),
        (408, "request_timeout"),
        (429, "queue_full"),
        (500, "internal_error"),
        (503, "service_unavailable"),
        (504, "deadline_exceeded"),
    ],
)
def test_rays_plain_text_errors_and_haproxys_in_html_become_the_envelope(
    front: Front, status: int, code: str
) -> None:
    for kind in ("plain", "html"):
        answer = requests.post(f"{front.url}/{kind}/{status}", data=b"x" * 2000, timeout=10)
        assert_is_envelope(answer, status, code)
        told = {429: "7", 503: "2"}  # Ray's own wait, and a short one where it names none
        assert answer.headers.get("retry-after") == told.get(status)


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503, 504])
def test_the_apps_own_errors_pass_unchanged(front: Front, status: int) -> None:
    answer = requests.post(f"{front.url}/own/{status}", data=b"x", timeout=10)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == "model_loading"
    assert answer.headers["retry-after"] == "9"
    assert answer.headers["content-type"] == "application/json"


def test_a_plain_text_transcript_passes_unchanged(front: Front) -> None:
    answer = requests.get(f"{front.url}/subtitles", timeout=10)
    assert answer.text.endswith("hello\n")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_the_events_of_a_stream_pass_one_by_one(front: Front) -> None:
    answer = requests.get(f"{front.url}/events", stream=True, timeout=10)
    assert list(answer.iter_content(None)) == [b"data: first\n\n", b"data: second\n\n"]


def test_an_upstream_that_hangs_is_a_504_envelope(front: Front) -> None:
    assert_is_envelope(requests.post(f"{front.url}/hang", timeout=10), 504, "deadline_exceeded")


def test_without_ray_the_answer_is_a_503_envelope(tmp_path: Path) -> None:
    with nginx(tmp_path, free_port()) as port:
        answer = requests.post(f"http://127.0.0.1:{port}/echo", data=b"x", timeout=10)
    assert_is_envelope(answer, 503, "service_unavailable")
    assert answer.headers["retry-after"] == "2"


def test_it_is_alive_by_itself(front: Front) -> None:
    assert requests.get(f"{front.url}/-/alive", timeout=10).json() == {"status": "ok"}
    assert "/-/alive" not in front.seen


def test_the_headers_that_steer_rays_proxy_are_taken_away(front: Front) -> None:
    sent = {
        "x-request-timeout-seconds": "0",
        "X-Request-Disconnect-Disabled": "?1",
        "authorization": "Bearer key",
        "x-request-id": "mine-1",
    }
    seen = requests.get(f"{front.url}/echo", headers=sent, timeout=10).json()["headers"]
    assert "x-request-timeout-seconds" not in seen
    assert "x-request-disconnect-disabled" not in seen
    assert seen["authorization"] == "Bearer key"
    assert seen["x-request-id"] == "mine-1"


def test_a_request_id_that_could_forge_a_log_line_is_replaced(front: Front) -> None:
    headers = {"x-request-id": "a b\tc"}
    seen = requests.get(f"{front.url}/echo", headers=headers, timeout=10).json()["headers"]
    assert seen["x-request-id"].isalnum()


@pytest.mark.parametrize("path", ["/-/routes", "/metrics", "/error/503"])
def test_what_belongs_to_the_cluster_is_not_found_from_outside(front: Front, path: str) -> None:
    assert_is_envelope(requests.get(front.url + path, timeout=10), 404, "not_found")
    assert path not in front.seen


def test_a_body_over_the_limit_is_413_and_never_reaches_ray(front: Front) -> None:
    n_seen = front.seen.count("/echo")
    answer = requests.post(f"{front.url}/echo", data=b"x" * (2**20 + 1), timeout=10)
    assert_is_envelope(answer, 413, "file_too_large")
    assert front.seen.count("/echo") == n_seen


def test_a_body_under_the_limit_arrives_whole(front: Front) -> None:
    answer = requests.post(f"{front.url}/echo", data=iter([b"x" * 500_000] * 2), timeout=10)
    assert answer.json()["n_bytes"] == 1_000_000


def test_a_header_of_200_kib_is_431(front: Front) -> None:
    answer = requests.get(f"{front.url}/echo", headers={"x": "y" * 200 * 1024}, timeout=10)
    assert_is_envelope(answer, 431, "header_too_large")


def test_a_path_of_200_kib_is_414(front: Front) -> None:
    answer = requests.get(f"{front.url}/{'y' * 200 * 1024}", timeout=10)
    assert_is_envelope(answer, 414, "uri_too_long")


def test_what_is_not_http_is_a_400_envelope(front: Front) -> None:
    assert b'"code": "bad_request"' in body_of(front.send(b"GET /echo HTTP/1.1\r\n: x\r\n\r\n"))


def test_half_a_header_is_cut_off(front: Front) -> None:
    n_seen = len(front.seen)
    front.send(b"POST /hang HTTP/1.1\r\nHost: x\r\nX-Slow: ")  # returns when nginx closes
    assert len(front.seen) == n_seen


def test_half_a_body_is_cut_off_and_never_reaches_ray(front: Front) -> None:
    n_seen = len(front.seen)
    front.send(b"POST /hang HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
    assert len(front.seen) == n_seen


def test_one_address_cannot_take_every_connection(front: Front) -> None:
    # On a busy machine nginx may find a line too slow and close it: then eight others are opened.
    answers = (answer for _ in range(20) for answer in answers_beside(front, n_lines=8))
    refused = next(answer for answer in answers if answer.status_code != 200)
    assert_is_envelope(refused, 429, "queue_full")


def test_large_uploads_of_one_address_are_few(front: Front) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\n"
    large = (b"Content-Length: 100000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n")

    def third() -> bytes:
        with ExitStack() as held:
            for length in large:
                line = held.enter_context(socket.create_connection(("127.0.0.1", front.port)))
                line.sendall(head + length)
            assert requests.post(f"{front.url}/echo", data=b"small", timeout=10).ok
            return front.send(head + large[0])

    # On a busy machine nginx may find a line too slow and close it: then two others are opened.
    assert any(b"queue_full" in third() for _ in range(20))


def test_a_pod_without_a_proxy_is_passed_over(front: Front, tmp_path: Path) -> None:
    with nginx(tmp_path, free_port(), front.pod) as port:
        for _ in range(6):
            answer = requests.post(f"http://127.0.0.1:{port}/echo", data=b"x" * 50_000, timeout=10)
            assert answer.json()["n_bytes"] == 50_000


def test_a_request_whose_proxy_dies_is_sent_to_another(front: Front, tmp_path: Path) -> None:
    with breaking_off() as dying, nginx(tmp_path, dying, front.pod) as port:
        for _ in range(6):
            answer = requests.post(f"http://127.0.0.1:{port}/echo", data=b"x" * 50_000, timeout=10)
            assert answer.json()["n_bytes"] == 50_000


@contextmanager
def breaking_off() -> Iterator[int]:
    """Listen; read something of each request and close. Yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):  # the server was closed
                while True:
                    line, _ = server.accept()
                    line.recv(65536)
                    line.close()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def test_an_upload_under_way_ends_well_when_nginx_is_told_to_end(
    front: Front, tmp_path: Path
) -> None:
    with (
        nginx(tmp_path, front.pod) as port,
        socket.create_connection(("127.0.0.1", port), timeout=10) as line,
    ):
        line.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n")
        line.sendall(b"x" * 100_000)
        time.sleep(0.3)
        os.kill(int((tmp_path / "nginx.pid").read_text()), signal.SIGQUIT)
        time.sleep(0.3)
        line.sendall(b"x" * 200_000)
        assert b'"n_bytes":300000' in all_from(line)


def test_http_1_0_without_a_host_is_answered(front: Front) -> None:
    assert front.send(b"GET /echo HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200")


def answers_beside(front: Front, *, n_lines: int) -> Iterator[requests.Response]:
    """Yield what an address is answered that holds lines whose bodies trickle."""
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    with ExitStack() as held:
        address = ("127.0.0.1", front.port)
        lines = [held.enter_context(socket.create_connection(address)) for _ in range(n_lines)]
        for line in lines:
            line.sendall(head)
        for _ in range(10):
            with suppress(ConnectionError):
                for line in lines:
                    line.sendall(b"x")
            yield requests.get(f"{front.url}/echo", timeout=10)
