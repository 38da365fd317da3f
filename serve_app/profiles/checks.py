"""Whether a completed config is sound, as far as that can be told without Ray."""

from collections.abc import Iterable
from typing import Any

from serve_app.profiles.files import Config, ProfileError
from serve_app.profiles.merging import DIARIZER, TRANSCRIBER, merge, read_settings, transcribers
from serve_app.profiles.shape import application, one_line
from serve_app.resources import actor_options
from serve_app.settings import (
    MAX_ONGOING_CHUNKS,
    BatchLimits,
    ModelSettings,
    TranscriberUserConfig,
)

# CTranslate2 refuses the first on every CPU, the second on every GPU. What else a device lacks is
# known only where the model is loaded.
GPU_TYPES = ("float16", "bfloat16", "int8_float16", "int8_bfloat16")
CPU_TYPES = ("int16",)
# Files that fit into a replica with all the chunks that each may have under way. Where one fills
# it, a short request waits in Serve's router, which knows no turns.
N_FILES = 4


def check_settings(config: Config) -> None:
    """Check our own settings in a config, and that its deployments belong to its models.

    Raises:
        ProfileError: something is not valid.
    """
    settings = read_settings(config)
    known = actor_options(settings)
    for options in application(config)["deployments"]:
        if options["name"] not in known:
            raise ProfileError(_no_deployment(options["name"], known))
    for model in settings.models:
        if model.device == "cpu" and model.compute_type in GPU_TYPES:
            raise ProfileError(
                f"{model.name}: compute_type {model.compute_type} needs a GPU; on a CPU take int8 "
                "or float32."
            )
        if model.device == "cuda" and model.compute_type in CPU_TYPES:
            raise ProfileError(
                f"{model.name}: compute_type {model.compute_type} needs a CPU; on a GPU take "
                "float16 or int8_float16."
            )


def _no_deployment(name: str, known: Iterable[str]) -> str:
    """Return why a deployment cannot be, and what to do."""
    if name == DIARIZER:
        return f"{name}: args say nothing under diarization; fill it in, or take this out."
    if name.startswith(f"{TRANSCRIBER}-"):
        return f"{name}: args.models declares no model of that name."
    return f"No deployment '{name}'. There are: {', '.join(known)}."


def raise_limits(config: Config) -> tuple[Config, tuple[str, ...]]:
    """Return the config with limits that let its batches fill, and a note on each that was raised.

    Raises:
        ProfileError: a user_config is not valid.
    """
    notes = []
    settings = read_settings(config)
    in_flight = settings.max_chunks_in_flight
    # One file can keep each of the workers busy and have its next batch ready.
    wanted = max(2 * _batch(options) * _n_workers(model) for model, options in transcribers(config))
    if wanted > in_flight:
        notes.append(f"args.max_chunks_in_flight is raised from {in_flight} to {wanted}.")
        config = merge(config, {"args": {"max_chunks_in_flight": wanted}})
        in_flight = wanted
    config, queues = _raise_queues(config, in_flight)
    notes += queues
    for model, options in transcribers(config):
        limit = _max_ongoing(options)
        wanted = max(_batch(options) * (_n_workers(model) + 1), N_FILES * in_flight)
        if wanted > limit:
            name = options["name"]
            notes.append(f"{name}: max_ongoing_requests is raised from {limit} to {wanted}.")
            config = merge(config, {"deployments": {name: {"max_ongoing_requests": wanted}}})
    return config, tuple(notes)


def _raise_queues(config: Config, in_flight: int) -> tuple[Config, list[str]]:
    """Return the config with queues that one request's chunks fit in, and a note on each raised."""
    models, notes = [], []
    for model in application(config)["args"]["models"]:
        queued = ModelSettings.model_validate(model).max_queued_chunks
        if queued < in_flight:
            notes.append(
                f"{model['name']}: max_queued_chunks is raised from {queued} to {in_flight}."
            )
        models.append({**model, "max_queued_chunks": in_flight} if queued < in_flight else model)
    return merge(config, {"args": {"models": models}}), notes


def check_limits(config: Config) -> None:
    """Check that every replica can fill its batches.

    Raises:
        ProfileError: one cannot, or its user_config is not valid.
    """
    for model, options in transcribers(config):
        limits = BatchLimits(
            max_ongoing_requests=_max_ongoing(options),
            max_batch_size=_batch(options),
            n_workers=_n_workers(model),
        )
        try:
            limits.check()
        except ValueError as error:
            raise ProfileError(f"{options['name']}: {error}") from None


def _batch(options: Config) -> int:
    """Return the batch size that is asked for; 1 where that is left to the device."""
    try:
        user_config = TranscriberUserConfig.model_validate(options.get("user_config") or {})
    except ValueError as error:
        raise ProfileError(f"{options['name']}.user_config: {one_line(error)}") from None
    return user_config.max_batch_size or 1


def _max_ongoing(options: Config) -> int:
    return int(options.get("max_ongoing_requests", MAX_ONGOING_CHUNKS))


def _n_workers(model: dict[str, Any]) -> int:
    return int(model.get("n_workers", 1))
