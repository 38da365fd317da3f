"""The metrics exporters of the cluster's nodes: one per node, run by Ray."""

import asyncio
from typing import Any

import ray
import requests

TIMEOUT_S = 2.0  # Prometheus gives up on the whole page after 10 s


async def fetch_pages() -> dict[str, str | None]:
    """Return the page of each alive node's exporter by its address; None: no answer in time."""
    nodes = await asyncio.to_thread(ray.nodes)
    addresses = [_address(node) for node in nodes if node["Alive"]]
    pages = await asyncio.gather(*(_fetch(address) for address in addresses))
    return dict(zip(addresses, pages, strict=True))


def _address(node: dict[str, Any]) -> str:
    host, port = node["NodeManagerAddress"], node["MetricsExportPort"]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"  # the first: IPv6


async def _fetch(address: str) -> str | None:
    try:
        return await asyncio.wait_for(asyncio.to_thread(_get, address), TIMEOUT_S)
    except (TimeoutError, requests.RequestException):
        return None


def _get(address: str) -> str:
    answer = requests.get(f"http://{address}/metrics", timeout=TIMEOUT_S)
    answer.raise_for_status()
    return answer.text
