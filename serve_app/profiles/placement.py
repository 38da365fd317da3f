"""Which devices a config runs on, and how many GPUs it asks for."""

import difflib
from typing import Any

from serve_app.profiles.files import Config, ProfileError, read_overlay
from serve_app.profiles.merging import transcribers, with_actor_options
from serve_app.profiles.replicas import n_at_start, scaling_of
from serve_app.profiles.shape import application

# Ray's names of NVIDIA GPUs (ray.util.accelerators). A replica that asks for a name which no node
# has waits for ever, so a misspelled one is refused.
ACCELERATORS = (
    *("V100", "P100", "T4", "P4", "K80", "A10G", "L4", "L40S", "A100", "A100-40G", "A100-80G"),
    *("H100", "H200", "H20", "B200", "B300", "GB200", "GB300", "RTX-PRO-6000"),
)


def options_of(config: Config, name: str) -> list[Config]:
    """Return the deployments of that name, not copies: one, or none."""
    return [one for one in application(config)["deployments"] if one["name"] == name]


def on_device(device: str, config: Config) -> Config:
    """Return the overlay that moves all models to `cpu` or `cuda`; empty where they are there."""
    if all(model.get("device") == device for model, _ in transcribers(config)):
        return {}
    return read_overlay(device)


def on_devices(indices: tuple[int, ...], config: Config) -> Config:
    """Return the overlay that gives each model no more replicas than those GPUs.

    Which GPUs they are is told to Ray where it starts (`visible_devices`).
    """
    overlays: dict[str, Any] = {}
    for model, options in transcribers(config):
        if model.get("device") == "cpu":
            continue
        scaling = scaling_of(options)
        limits = {"max_replicas": len(indices)}
        for key in ("min_replicas", "initial_replicas"):
            if scaling.get(key) is not None:
                limits[key] = min(scaling[key], len(indices))
        overlays[options["name"]] = {"autoscaling_config": limits}
    return {"deployments": overlays}


def visible_devices(indices: tuple[int, ...], visible: str | None) -> str:
    """Return the CUDA_VISIBLE_DEVICES that shows only those of the GPUs that are visible now.

    Raises:
        ProfileError: there is no GPU of such an index among them.
    """
    if visible is None:
        return ",".join(str(index) for index in indices)
    names = [name for name in visible.split(",") if name]
    if max(indices) >= len(names):
        raise ProfileError(
            f"There is no GPU {max(indices)}: CUDA_VISIBLE_DEVICES={visible} shows {len(names)}."
        )
    return ",".join(names[index] for index in indices)


def pin_accelerator(accelerator: str, config: Config) -> Config:
    """Return the overlay that places the models on GPUs of that name only.

    Raises:
        ProfileError: Ray does not know the name, or no model asks for a GPU.
    """
    by_lower = {name.lower(): name for name in ACCELERATORS}
    name = by_lower.get(accelerator.lower())
    if name is None:
        near = difflib.get_close_matches(accelerator.upper(), ACCELERATORS) or ACCELERATORS
        raise ProfileError(f"No accelerator '{accelerator}'. Did you mean {', '.join(near)}?")
    pinned = {"ray_actor_options": {"accelerator_type": name}}
    on_gpus = [o["name"] for _, o in transcribers(with_actor_options(config)) if _n_gpus(o) > 0]
    if not on_gpus:
        raise ProfileError(f"--accelerator {name}: no model of this config asks for a GPU.")
    return {"deployments": dict.fromkeys(on_gpus, pinned)}


def gpus_needed(config: Config) -> float:
    """Return the GPUs without which the config cannot start, or could not serve one of its models.

    Replicas that start at once need theirs side by side; a model that is started by a request
    needs its own at least.
    """
    at_start, largest = 0.0, 0.0
    for options in application(with_actor_options(config))["deployments"]:
        n_gpus = _n_gpus(options)
        at_start += n_gpus * n_at_start(scaling_of(options))
        largest = max(largest, n_gpus)
    return max(at_start, largest)


def _n_gpus(options: Config) -> float:
    return float(options["ray_actor_options"].get("num_gpus") or 0)
