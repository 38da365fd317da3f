"""Real Ray and the real graph on 127.0.0.1, for the time of a `with` block."""

import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import ray
import requests
from prometheus_client.parser import text_string_to_metric_families
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

from benchmarks import processes
from serve_app.cli.graph import RAY_ENVIRONMENT
from serve_app.metrics import Metric
from serve_app.settings import AppSettings, TranscriberUserConfig

APP = "whisper"
READY_LIMIT_S = 300.0
HAPROXY_VARIABLE = "RAY_SERVE_ENABLE_HA_PROXY"


@dataclass(frozen=True, kw_only=True)
class Graph:
    """The running app, seen from outside."""

    url: str
    settings: AppSettings

    def post(
        self,
        audio: bytes,
        fields: Mapping[str, str],
        *,
        limit_s: float = 600.0,
        path: str = "/v1/audio/transcriptions",
    ) -> dict[str, Any]:
        """Send one file with these form fields, to be transcribed; return the answer's body.

        Raises:
            RuntimeError: the answer is an error.
        """
        answer = requests.post(
            f"{self.url}{path}",
            files={"file": ("upload", audio)},
            data=fields,
            timeout=limit_s,
        )
        if not answer.ok:
            raise RuntimeError(f"{answer.status_code}: {answer.text[:500]}")
        body: dict[str, Any] = answer.json()
        return body

    def n_chunks_sent(self) -> int:
        """Return how many chunks the first model's replica has handed to its engine."""
        name = f"WhisperTranscriber-{self.settings.models[0].name}"
        stats = serve.get_deployment_handle(name, APP).gate_stats.remote().result(timeout_s=60)
        return int(stats.n_jobs)

    def counter(self, metric: Metric, **labels: str) -> float:
        """Return the sum of a counter's series with these labels, as GET /metrics has them."""
        page = requests.get(f"{self.url}/metrics", timeout=60)
        page.raise_for_status()
        return sum(
            sample.value
            for family in text_string_to_metric_families(page.text)
            for sample in family.samples
            if sample.name == metric.exported and labels.items() <= sample.labels.items()
        )

    def set_batch_size(self, max_batch_size: int) -> None:
        """Give the first model's one replica another batch size, as its `user_config` would."""
        config = TranscriberUserConfig(max_batch_size=max_batch_size).model_dump()
        name = f"WhisperTranscriber-{self.settings.models[0].name}"
        serve.get_deployment_handle(name, APP).reconfigure.remote(config).result(timeout_s=60)


@contextmanager
def running_ray(environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run a Ray of our own; yield the address of its HTTP proxy.

    Args:
        environment: variables for Ray's processes, beside those that serve-app starts it with.
    """
    # Ray starts its workers with niceness 15: on a machine without a core to spare, the load would
    # take its time from the graph that it measures.
    variables = {
        **RAY_ENVIRONMENT,
        "RAY_worker_niceness": "0",
        HAPROXY_VARIABLE: "0",
        **(environment or {}),
    }
    with patch.dict(os.environ, variables):
        # More CPUs than there may be: replicas must be placed, however small the machine.
        ray.init(
            address="local",
            num_cpus=8,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        port = free_port()
        try:
            serve.start(http_options={"host": "127.0.0.1", "port": port})
            if bool(processes.started_as("haproxy")) != (variables[HAPROXY_VARIABLE] == "1"):
                raise RuntimeError("Ray did not start the proxy that it was told to")
            yield f"http://127.0.0.1:{port}"
        finally:
            serve.shutdown()
            ray.shutdown()


@contextmanager
def running_graph(
    args: Mapping[str, Any],
    deployments: Sequence[Mapping[str, Any]] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Graph]:
    """Run the graph with these settings; yield it once it is ready.

    Args:
        args: AppSettings.
        deployments: Serve's own options, as in a profile.
        environment: see `running_ray`.

    Raises:
        TimeoutError: it did not become ready.
    """
    settings = AppSettings.model_validate(args)
    with running_ray(environment) as url:
        deploy(args, deployments)
        deadline_s = time.monotonic() + READY_LIMIT_S
        while not requests.get(f"{url}/ready", timeout=30).ok:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"the graph was not ready after {READY_LIMIT_S} s")
            time.sleep(0.2)
        yield Graph(url=url, settings=settings)


def deploy(args: Mapping[str, Any], deployments: Sequence[Mapping[str, Any]]) -> None:
    """Deploy the app from a Serve config, as `serve deploy` does, and wait until it runs.

    Args:
        args: `AppSettings`.
        deployments: Ray's options, by deployment; `serve.run` would take none.
    """
    application = {
        "name": APP,
        "route_prefix": "/",
        "import_path": "serve_app.app:app",
        "args": args,
        "deployments": deployments,
    }
    schema = ServeDeploySchema.model_validate({"applications": [application]})
    client = _get_global_client()
    if client is None:
        raise RuntimeError("Serve does not run")
    client.deploy_apps(schema)
    # Its own wait is a minute, and importing torch on a busy machine takes longer.
    client._wait_for_application_running(APP, timeout_s=round(READY_LIMIT_S))


def haproxy_environment() -> dict[str, str]:
    """Return what makes Ray run HAProxy in the place of its own proxy, on ports that are free."""
    return {
        HAPROXY_VARIABLE: "1",
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
    }


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
