"""One real Ray and one real graph for the whole run, on 127.0.0.1."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import ray
import requests
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ServeDeploySchema
from threadpoolctl import threadpool_limits

from serve_app.app import app
from serve_app.cli.graph import RAY_ENVIRONMENT
from serve_app.scheduler import GateStats
from serve_app.settings import AppSettings
from tests.clips import Pcm, encode
from tests.servers import free_port

TIMEOUT_S = 120


@dataclass(frozen=True)
class Graph:
    """The running app, seen from outside and from a Python caller."""

    url: str
    handle: DeploymentHandle[Any]

    def post(self, audio: bytes, **fields: str) -> requests.Response:
        return requests.post(
            f"{self.url}/v1/audio/transcriptions",
            files={"file": ("upload", audio)},
            data=fields,
            timeout=TIMEOUT_S,
        )

    def transcribe(self, pcm: Pcm, **fields: str) -> str:
        answer = self.post(encode(pcm), **fields)
        answer.raise_for_status()
        return str(answer.json()["text"])

    def gate_stats(self) -> GateStats:
        transcriber = serve.get_deployment_handle("WhisperTranscriber-demo", "whisper")
        stats: GateStats = transcriber.gate_stats.remote().result(timeout_s=TIMEOUT_S)
        return stats


def deploy(application: dict[str, Any]) -> None:
    """Deploy from a config, as `serve deploy` does: `serve.run` would restart the replicas."""
    schema = ServeDeploySchema.model_validate({"applications": [application]})
    _get_global_client().deploy_apps(schema, _blocking=True)


@pytest.fixture
def one_blas_thread() -> Iterator[None]:
    """What Ray gives a replica with one core: numpy rounds features by how many share the work."""
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture(scope="session")
def graph() -> Iterator[Graph]:
    os.environ.update(RAY_ENVIRONMENT)
    # More CPUs than there are: a test may start a second app beside this one.
    ray.init(
        address="local",
        num_cpus=8,
        include_dashboard=False,
        log_to_driver=False,
        _system_config={"metrics_report_interval_ms": 1000},  # Ray's default is 10 s
    )
    port = free_port()
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    handle = serve.run(app(AppSettings()), name="whisper", route_prefix="/")
    yield Graph(f"http://127.0.0.1:{port}", handle)
    serve.shutdown()
    ray.shutdown()
