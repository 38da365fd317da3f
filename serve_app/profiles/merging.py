"""An overlay laid over a config: pure functions of plain data.

An overlay has the shape of a Serve config, less the list of applications: `args` and `deployments`
stand at its top and are meant for this app. `args.models` given as a mapping is meant for every
model. `deployments` is a mapping by name, in which `WhisperTranscriber` is meant for the deployment
of every model.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from serve_app.profiles.files import Config, ProfileError
from serve_app.profiles.replicas import make_way
from serve_app.profiles.shape import application, check_overlay, check_shape, one_line
from serve_app.resources import actor_options
from serve_app.settings import AppSettings

DIARIZER = "SpeakerDiarizer"
TRANSCRIBER = "WhisperTranscriber"  # and a hyphen and the model's name


def transcribers(config: Config) -> Iterator[tuple[Config, Config]]:
    """Yield each declared model of a completed config with its deployment, not copies."""
    app = application(config)
    deployments = {one["name"]: one for one in app["deployments"]}
    for model in app["args"]["models"]:
        yield model, deployments[f"{TRANSCRIBER}-{model['name']}"]


def read_settings(config: Config) -> AppSettings:
    """Return our own settings in a config. Raises ProfileError where they are not valid."""
    try:
        return AppSettings.model_validate(application(config).get("args", {}))
    except ValueError as error:
        raise ProfileError(f"args: {one_line(error)}") from None


def complete(config: Config) -> Config:
    """Return the config with every model and deployment written out, so that it can be changed.

    Raises:
        ProfileError: it is no config, holds no application of ours, or its `args` are not valid.
    """
    check_shape(config)
    config = deepcopy(config)
    app, settings = application(config), read_settings(config)
    args = app.setdefault("args", {})
    if "models" not in args:
        args.pop("model", None)
        args.pop("device", None)
        args["models"] = [m.model_dump(exclude_unset=True, mode="json") for m in settings.models]
    deployments = app.setdefault("deployments", [])
    present = {one["name"] for one in deployments}
    deployments.extend({"name": name} for name in actor_options(settings) if name not in present)
    return config


def with_actor_options(config: Config) -> Config:
    """Return the config, completed, with what each replica takes of its node written out too.

    Raises:
        ProfileError: as `complete` does.
    """
    config = complete(config)
    own = actor_options(read_settings(config))
    for options in application(config)["deployments"]:
        options.setdefault("ray_actor_options", own.get(options["name"], {}))
    return config


def merge(config: Config, overlay: Mapping[str, Any]) -> Config:
    """Return a completed config with the overlay's values in place of its own.

    Raises:
        ProfileError: the overlay holds what is not known, or names a deployment that is not there.
    """
    rest = check_overlay(overlay)
    args, deployments = rest.pop("args", {}), rest.pop("deployments")
    merged: Config = _lay(deepcopy(config), rest)
    app = application(merged)
    app["args"] = _lay(app["args"], args)
    if "diarization" in args:
        _follow_diarization(app)
    for name, options in deployments.items():
        for i in _matching(app["deployments"], name):
            own = app["deployments"][i]
            if "ray_actor_options" in options and "ray_actor_options" not in own:
                code = actor_options(read_settings(merged)).get(own["name"], {})
                own = {**own, "ray_actor_options": code}  # Serve would drop them
            app["deployments"][i] = _lay(make_way(own, options), options)
    return merged


def _follow_diarization(app: Config) -> None:
    """Bring or take away the one deployment that comes and goes with a setting."""
    is_wanted = app["args"].get("diarization") is not None
    others = [one for one in app["deployments"] if one["name"] != DIARIZER]
    if not is_wanted:
        app["deployments"] = others
    elif len(others) == len(app["deployments"]):
        app["deployments"].append({"name": DIARIZER})


def _lay(under: Any, over: Any) -> Any:
    """Return `over` laid on `under`: mappings by key; a mapping on a list, on each of its items."""
    if isinstance(under, dict) and isinstance(over, Mapping):
        return {**under, **{key: _lay(under.get(key), value) for key, value in over.items()}}
    if isinstance(under, list) and isinstance(over, Mapping):
        return [_lay(item, over) for item in under]
    return deepcopy(over)


def _matching(deployments: list[Config], name: str) -> list[int]:
    names = [one["name"] for one in deployments]
    chosen = [
        i
        for i, own in enumerate(names)
        if own == name or (name == TRANSCRIBER and own.startswith(f"{TRANSCRIBER}-"))
    ]
    if not chosen:
        raise ProfileError(f"No deployment '{name}'. There are: {', '.join(names)}.")
    return chosen
