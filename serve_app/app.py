"""Settings in, the bound deployment graph out. Called by `serve run`, `serve deploy`, KubeRay."""

# No `from __future__ import annotations` here: Serve reads the builder's raw annotation to
# validate its arguments.
from ray import serve
from ray.serve import Application

from serve_app.deployments import AudioPreprocessor, Ingress, WhisperTranscriber
from serve_app.settings import AppSettings, TranscriberUserConfig

# Together the three fit a machine with two cores.
# Requests wait inside the graph, where they can be batched, not in front of it.
_ingress = serve.deployment(max_ongoing_requests=256, ray_actor_options={"num_cpus": 0.25})(Ingress)
# One slice runs, one waits its turn, so that the core does not idle between them.
_preprocessor = serve.deployment(max_ongoing_requests=2, ray_actor_options={"num_cpus": 0.75})(
    AudioPreprocessor
)
# What does not run yet waits in the gate, in the fair order. Several files must fit with all their
# chunks under way (`max_chunks_in_flight` each): where one alone fills the replica, a short request
# waits in Serve's router instead, which knows no turns.
_transcriber = serve.deployment(max_ongoing_requests=512)(WhisperTranscriber)


def app(args: AppSettings) -> Application:
    """Bind the graph: one Ingress, one AudioPreprocessor, one WhisperTranscriber per model.

    A Serve config's `deployments:` section overrides the options set here.
    """
    user_config = TranscriberUserConfig().model_dump()
    transcribers = {
        model.name: _transcriber.options(
            name=f"WhisperTranscriber-{model.name}",
            ray_actor_options={"num_cpus": 1, "num_gpus": 1 if model.device == "cuda" else 0},
            user_config=user_config,
        ).bind(model)
        for model in args.models
    }
    return _ingress.bind(args, _preprocessor.bind(), transcribers)
