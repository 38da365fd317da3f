"""Settings in, the bound deployment graph out. Called by `serve run`, `serve deploy`, KubeRay."""

# No `from __future__ import annotations` here: Serve reads the builder's raw annotation to
# validate its arguments.
from functools import partial

from ray import serve
from ray.serve import Application

from serve_app.deployments import (
    AudioPreprocessor,
    Ingress,
    SpeakerDiarizer,
    WhisperTranscriber,
)
from serve_app.resources import actor_options
from serve_app.settings import MAX_ONGOING_CHUNKS, AppSettings, TranscriberUserConfig

# A replica that hangs or is cut off is replaced after three failed checks, about 20 s; with Serve's
# own numbers it takes up to two minutes.
_deployment = partial(serve.deployment, health_check_period_s=2, health_check_timeout_s=5)

# Requests wait inside the graph, where they can be batched, not in front of it. What a killed
# Ingress had is lost to its callers, so a busy one has more time to answer a check.
_ingress = _deployment(max_ongoing_requests=256, health_check_timeout_s=15)(Ingress)
# Slices wait in the replica, where those of new files go first, and not in Serve's router.
_preprocessor = _deployment(max_ongoing_requests=64)(AudioPreprocessor)
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


def app(args: AppSettings) -> Application:
    """Bind the graph: one Ingress, one AudioPreprocessor, one WhisperTranscriber per model.

    Where the settings have `diarization`, there is a SpeakerDiarizer too. A Serve config's
    `deployments:` section overrides the options set here.
    """
    resources = actor_options(args)
    # A replica that is replaced finishes what it has: after Serve's 20 s it would be cut off. Each
    # has as long as what calls it waits, so that a longer time would change nothing.
    ingress = _ingress.options(
        ray_actor_options=resources["Ingress"], graceful_shutdown_timeout_s=args.request_timeout_s
    )
    preprocessor = _preprocessor.options(
        ray_actor_options=resources["AudioPreprocessor"],
        graceful_shutdown_timeout_s=args.audio.slice_timeout_s,
    )
    user_config = TranscriberUserConfig().model_dump()
    transcribers = {
        model.name: _transcriber.options(
            name=f"WhisperTranscriber-{model.name}",
            ray_actor_options=resources[f"WhisperTranscriber-{model.name}"],
            user_config=user_config,
            graceful_shutdown_timeout_s=args.retry.try_timeout_s,
        ).bind(model)
        for model in args.models
    }
    diarizer = None
    if args.diarization:
        diarizer = _diarizer.options(
            ray_actor_options=resources["SpeakerDiarizer"],
            graceful_shutdown_timeout_s=args.request_timeout_s,
        ).bind(args.diarization)
    return ingress.bind(args, preprocessor.bind(args.audio), transcribers, diarizer)
