"""A model's name to the settings of an app that has it alone, and its weights to an engine."""

import os
from typing import Any

from serve_app import models, pipeline
from serve_app.settings import EMBEDDED, AppSettings, ModelSettings, model_name
from serve_app.stages.whisper import WhisperEngine


def make_settings(source: str, **model: Any) -> AppSettings:
    """Return the settings of an app with one model.

    Args:
        source: of the model.
        model: further fields of ModelSettings.
    """
    if source == EMBEDDED:  # with the chunks that it was trained on
        model = {**AppSettings().models[0].model_dump(), **model}
    declared = ModelSettings(**{"name": model_name(source), "source": source, **model})
    return AppSettings(models=(declared,))


def load_engine(model: ModelSettings, revision: str | None = None) -> WhisperEngine:
    """Load a model and decode once. Raises ModelLoadError."""
    directory = models.locate_model(model.source, revision)
    engine = WhisperEngine(directory, model, n_cores=n_cores())
    pipeline.warm_up(engine, model.source)
    return engine


def n_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))
