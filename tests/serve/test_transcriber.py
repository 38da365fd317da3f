"""A WhisperTranscriber by itself on real Serve: live settings, and a device that is too small."""

import time
from collections.abc import Sequence
from typing import Any

import pytest
from ray import serve
from ray.serve.handle import DeploymentHandle

from serve_app.deployments import WhisperTranscriber
from serve_app.domain import Chunk, ChunkJob, ChunkTranscript, DecodeOptions
from serve_app.scheduler import GateStats
from serve_app.settings import EMBEDDED, ModelSettings
from tests.fakes import EchoEngine, job
from tests.serve.conftest import TIMEOUT_S, Graph, deploy

MODEL = ModelSettings(name="fake", source=EMBEDDED, device="cpu")


class SmallDevice(EchoEngine):
    """An engine whose device holds two chunks."""

    placement = "planted"
    languages = ("en",)

    def largest_batch(self, wanted: int | None, free_bytes: int | None) -> int:
        return wanted or 4

    def transcribe(self, jobs: Sequence[ChunkJob]) -> list[ChunkTranscript | ChunkJob]:
        if len(jobs) > 2:
            raise RuntimeError("CUDA failed with error out of memory")
        return super().transcribe(jobs)

    def detect_languages(self, chunk: Chunk) -> list[tuple[str, float]]:
        time.sleep(0.05)
        return [("en", 1.0)]


class SmallTranscriber(WhisperTranscriber):
    """The real deployment with that engine in the place of the model."""

    def _load(self, revision: str | None) -> Any:
        return SmallDevice(batch_s=0.02)


# What `serve deploy` builds: see `configure`.
app = serve.deployment(max_ongoing_requests=64, ray_actor_options={"num_cpus": 0.1})(
    SmallTranscriber
).bind(MODEL)


def configure(user_config: dict[str, Any]) -> DeploymentHandle[Any]:
    deployment = {"name": "SmallTranscriber", "user_config": user_config}
    deploy(
        {
            "name": "transcriber",
            "route_prefix": None,
            "import_path": "tests.serve.test_transcriber:app",
            "deployments": [deployment],
        }
    )
    return serve.get_app_handle("transcriber")


def stats_of(handle: DeploymentHandle[Any]) -> GateStats:
    stats: GateStats = handle.gate_stats.remote().result(timeout_s=TIMEOUT_S)
    return stats


def answers(
    handle: DeploymentHandle[Any], values: Sequence[int], options: DecodeOptions | None = None
) -> list[str]:
    jobs = [job(v, owner=f"r{v}", options=options) for v in values]
    responses = [handle.transcribe_chunk.remote(one) for one in jobs]
    return [response.result(timeout_s=TIMEOUT_S).text for response in responses]


@pytest.fixture
def handle(graph: Graph) -> Any:
    yield configure({"max_batch_size": 16})
    serve.delete("transcriber")


def test_running_out_of_memory_halves_the_batch_for_good_and_fails_nobody(
    handle: DeploymentHandle[Any],
) -> None:
    assert answers(handle, range(40)) == [str(i) for i in range(40)]
    assert stats_of(handle).max_batch_size <= 2
    assert answers(handle, range(40)) == [str(i) for i in range(40)]
    assert stats_of(handle).max_batch_size <= 2


def test_a_wider_search_than_the_profiles_halves_nobody_elses_batches(
    handle: DeploymentHandle[Any],
) -> None:
    wide = DecodeOptions(beam_size=16)
    for _ in range(2):  # the second time in parts from the start
        assert answers(handle, range(40), wide) == [str(i) for i in range(40)]
    assert stats_of(handle).max_batch_size == 16


def test_new_batch_settings_reach_a_live_replica_without_a_restart(
    handle: DeploymentHandle[Any],
) -> None:
    answers(handle, range(2))
    before = stats_of(handle)
    configure({"max_batch_size": 8, "batch_wait_timeout_s": 0.05})
    after = stats_of(handle)
    assert (before.max_batch_size, after.max_batch_size) == (16, 8)
    assert after.n_jobs == before.n_jobs == 2  # the same replica, with its counters


def test_settings_that_are_not_valid_leave_the_old_ones_in_force(
    handle: DeploymentHandle[Any],
) -> None:
    for bad in ({"max_batch_size": 65}, {"max_batch_size": 0}, {"batch_size": 4}):
        configure(bad)
        assert stats_of(handle).max_batch_size == 16


def test_a_chunk_waits_for_one_detection_however_many_are_asked_for(
    handle: DeploymentHandle[Any],
) -> None:
    began_s = time.monotonic()
    detections = [handle.detect_language.remote(job().chunk) for _ in range(60)]
    assert answers(handle, [1]) == ["1"]
    waited_s = time.monotonic() - began_s
    for detection in detections:
        assert detection.result(timeout_s=TIMEOUT_S).probabilities == (("en", 1.0),)
    assert waited_s < (time.monotonic() - began_s) / 2
