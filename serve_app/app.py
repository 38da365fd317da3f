"""Settings in, the bound deployment graph out. Called by `serve run`, `serve deploy`, KubeRay."""

# No `from __future__ import annotations` here: Serve reads the builder's raw annotation to
# validate its arguments.
from functools import partial
from typing import Any

from ray import serve
from ray.serve import Application

from serve_app.deployments import (
    AudioPreprocessor,
    Ingress,
    SpeakerDiarizer,
    WhisperTranscriber,
)
from serve_app.settings import (
    MAX_ONGOING_CHUNKS,
    AppSettings,
    DiarizationSettings,
    ModelSettings,
    TranscriberUserConfig,
)

# A replica that hangs or is cut off is replaced after three failed checks, about 20 s; with Serve's
# own numbers it takes up to two minutes.
_deployment = partial(serve.deployment, health_check_period_s=2, health_check_timeout_s=5)

# Together the three fit a machine with two cores.
# Requests wait inside the graph, where they can be batched, not in front of it. What a killed
# Ingress had is lost to its callers, so a busy one has more time to answer a check.
_ingress = _deployment(
    max_ongoing_requests=256, health_check_timeout_s=15, ray_actor_options={"num_cpus": 0.25}
)(Ingress)
# Slices wait in the replica, where those of new files go first, and not in Serve's router.
_preprocessor = _deployment(max_ongoing_requests=64, ray_actor_options={"num_cpus": 0.75})(
    AudioPreprocessor
)
# What does not run yet waits in the gate, in the fair order. Several files must fit with all their
# chunks under way (`max_chunks_in_flight` each): where one alone fills the replica, a short request
# waits in Serve's router instead, which knows no turns.
_transcriber = _deployment(max_ongoing_requests=MAX_ONGOING_CHUNKS)(WhisperTranscriber)

# Files wait in the replica for their turn. Clustering the voices of a long file holds Python's lock
# for seconds, in which no check of the replica's health is answered.
_diarizer = serve.deployment(
    max_ongoing_requests=64,
    health_check_period_s=5,
    health_check_timeout_s=60,
    max_constructor_retry_count=3,
)(SpeakerDiarizer)

# CTranslate2 allocates its activations anew for each layer. On huge pages, which glibc (2.35 and
# later) asks for only when told, batches cost less core time: `benchmarks huge_pages`. It is read
# when the process starts.
HUGE_PAGES = {"env_vars": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}}


def app(args: AppSettings) -> Application:
    """Bind the graph: one Ingress, one AudioPreprocessor, one WhisperTranscriber per model.

    Where the settings have `diarization`, there is a SpeakerDiarizer too. A Serve config's
    `deployments:` section overrides the options set here.
    """
    # A replica that is replaced finishes what it has: after Serve's 20 s it would be cut off. Each
    # has as long as what calls it waits, so that a longer time would change nothing.
    ingress = _ingress.options(graceful_shutdown_timeout_s=args.request_timeout_s)
    preprocessor = _preprocessor.options(graceful_shutdown_timeout_s=args.audio.slice_timeout_s)
    user_config = TranscriberUserConfig().model_dump()
    transcribers = {
        model.name: _transcriber.options(
            name=f"WhisperTranscriber-{model.name}",
            ray_actor_options=_actor_options(model),
            user_config=user_config,
            graceful_shutdown_timeout_s=args.retry.try_timeout_s,
        ).bind(model)
        for model in args.models
    }
    diarizer = _bind_diarizer(args, args.diarization) if args.diarization else None
    return ingress.bind(args, preprocessor.bind(args.audio), transcribers, diarizer)


def _bind_diarizer(args: AppSettings, settings: DiarizationSettings) -> Application:
    resources = {"num_cpus": 1, "num_gpus": 1 if settings.device == "cuda" else 0}
    return _diarizer.options(
        ray_actor_options=resources, graceful_shutdown_timeout_s=args.request_timeout_s
    ).bind(settings)


def _actor_options(model: ModelSettings) -> dict[str, Any]:
    """Return what a replica of the model needs of its node."""
    if model.device == "cuda":
        return {"num_cpus": 1, "num_gpus": 1}
    return {"num_cpus": 1, "runtime_env": HUGE_PAGES}
