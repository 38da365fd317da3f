"""Settings in, the bound deployment graph out. Called by `serve run`, `serve deploy`, KubeRay."""

# No `from __future__ import annotations` here: Serve reads the builder's raw annotation to
# validate its arguments.
from ray.serve import Application

from serve_app.deployments import AudioPreprocessor, Ingress, WhisperTranscriber
from serve_app.settings import AppSettings, TranscriberUserConfig


def app(args: AppSettings) -> Application:
    """Bind the graph: one Ingress, one AudioPreprocessor, one WhisperTranscriber per model.

    A Serve config's `deployments:` section overrides the options set here.
    """
    user_config = TranscriberUserConfig().model_dump()
    transcribers = {
        model.name: WhisperTranscriber.options(
            name=f"WhisperTranscriber-{model.name}", user_config=user_config
        ).bind(model)
        for model in args.models
    }
    return Ingress.bind(args, AudioPreprocessor.bind(), transcribers)
