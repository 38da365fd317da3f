"""How the page of metrics asks the nodes. Ray's list of them is planted, the exporters are real."""

import asyncio
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from serve_app.deployments import exporters
from serve_app.deployments.exporters import Exporters
from serve_app.errors import ServiceUnavailableError
from tests.servers import free_port

SLOW_S = 0.3


class Exporter(ThreadingHTTPServer):
    """Answers with a page after a while, to as many as ask."""

    request_queue_size = 256
    n_asked = 0


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.n_asked += 1  # type: ignore[attr-defined]
        time.sleep(SLOW_S)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"page")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    with Exporter(("0.0.0.0", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()


def plant(monkeypatch: pytest.MonkeyPatch, *nodes: tuple[str, int]) -> None:
    told = [
        {"Alive": True, "NodeManagerAddress": host, "MetricsExportPort": port}
        for host, port in nodes
    ]
    dead = {"Alive": False, "NodeManagerAddress": "127.1.1.1", "MetricsExportPort": 1}
    monkeypatch.setattr(exporters.ray, "nodes", lambda: [*told, dead])


async def test_many_slow_nodes_are_asked_side_by_side(
    monkeypatch: pytest.MonkeyPatch, exporter: Exporter
) -> None:
    nodes = [(f"127.0.0.{n}", exporter.server_port) for n in range(1, 61)]
    plant(monkeypatch, *nodes)
    pages = await Exporters().pages()
    assert pages == {f"{host}:{port}": "page" for host, port in nodes}


async def test_who_asks_meanwhile_gets_the_same_pages(
    monkeypatch: pytest.MonkeyPatch, exporter: Exporter
) -> None:
    plant(monkeypatch, ("127.0.0.1", exporter.server_port))
    asked = Exporters()
    left = asyncio.create_task(asked.pages())
    others = [asyncio.create_task(asked.pages()) for _ in range(5)]
    await asyncio.sleep(SLOW_S / 3)
    left.cancel()
    assert [list(pages.values()) for pages in await asyncio.gather(*others)] == [["page"]] * 5
    assert exporter.n_asked == 1


async def test_a_node_that_does_not_answer_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, exporter: Exporter
) -> None:
    port = free_port()
    plant(monkeypatch, ("127.0.0.1", exporter.server_port), ("127.0.0.1", port))
    pages = await Exporters().pages()
    assert pages == {f"127.0.0.1:{exporter.server_port}": "page", f"127.0.0.1:{port}": None}


async def test_the_environments_proxies_are_not_asked(
    monkeypatch: pytest.MonkeyPatch, exporter: Exporter
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    plant(monkeypatch, ("127.0.0.1", exporter.server_port))
    assert list((await Exporters().pages()).values()) == ["page"]


async def test_where_ray_does_not_tell_its_nodes_nobody_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = threading.Event()
    monkeypatch.setattr(exporters, "TIMEOUT_S", 0.1)
    monkeypatch.setattr(exporters.ray, "nodes", lambda: told.wait(30) and [])
    asked = Exporters()
    for _ in range(3):
        with pytest.raises(ServiceUnavailableError, match="nodes"):
            await asked.pages()
    told.set()
    assert await asked.pages() == {}
