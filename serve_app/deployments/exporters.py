"""The metrics exporters of the cluster's nodes: one per node, run by Ray."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
import ray

from serve_app.contexts import start_apart
from serve_app.errors import ServiceUnavailableError

TIMEOUT_S = 2.0  # Prometheus gives up on the whole page after 10 s


class Exporters:
    """The exporters, asked once for all who want their pages at the same time."""

    def __init__(self) -> None:
        # Where Ray's control plane is away, a thread stays until it is back: not one of those in
        # which an Ingress stores uploads.
        self._thread = ThreadPoolExecutor(1)
        self._fetching: asyncio.Task[dict[str, str | None]] | None = None

    async def pages(self) -> dict[str, str | None]:
        """Return the page of each alive node's exporter by its address; None: no answer in time.

        Raises:
            ServiceUnavailableError: Ray does not tell its nodes.
        """
        if self._fetching is None or self._fetching.done():
            self._fetching = start_apart(self._fetch_all())
        return await asyncio.shield(self._fetching)

    async def _fetch_all(self) -> dict[str, str | None]:
        addresses = [_address(node) for node in await self._nodes() if node["Alive"]]
        timeout, connector = aiohttp.ClientTimeout(TIMEOUT_S), aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            pages = await asyncio.gather(*(_fetch(session, address) for address in addresses))
        return dict(zip(addresses, pages, strict=True))

    async def _nodes(self) -> list[dict[str, Any]]:
        nodes = asyncio.get_running_loop().run_in_executor(self._thread, ray.nodes)
        try:
            return await asyncio.wait_for(nodes, TIMEOUT_S)
        except TimeoutError:
            raise ServiceUnavailableError("Ray does not tell its nodes now.") from None


def _address(node: dict[str, Any]) -> str:
    host, port = node["NodeManagerAddress"], node["MetricsExportPort"]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"  # the first: IPv6


async def _fetch(session: aiohttp.ClientSession, address: str) -> str | None:
    try:
        async with session.get(f"http://{address}/metrics", raise_for_status=True) as answer:
            return await answer.text()
    except (TimeoutError, aiohttp.ClientError):
        return None
