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
from serve_app.settings import AppSettings

IMPORT_PATH = "serve_app.app:app"
DIARIZER = "SpeakerDiarizer"
TRANSCRIBER = "WhisperTranscriber"  # and a hyphen and the model's name
# What an overlay may hold: Serve would pass over anything else.
PARTS = ("args", "deployments", "http_options", "logging_config", "proxy_location")


def application(config: Config) -> Config:
    """Return this app's part of a Serve config, not a copy.

    Raises:
        ProfileError: the config has none, or several.
    """
    listed = config.get("applications")
    found = [
        app
        for app in (listed if isinstance(listed, list) else [])
        if isinstance(app, dict) and app.get("import_path") == IMPORT_PATH
    ]
    if len(found) != 1:
        raise ProfileError(
            f"A profile has one application with 'import_path: {IMPORT_PATH}'; here are "
            f"{len(found)}."
        )
    return found[0]


def transcribers(config: Config) -> Iterator[tuple[Config, Config]]:
    """Yield each declared model of a completed config with its deployment, not copies."""
    app = application(config)
    deployments = {one["name"]: one for one in app["deployments"]}
    for model in app["args"]["models"]:
        yield model, deployments[f"{TRANSCRIBER}-{model['name']}"]


def complete(config: Config) -> Config:
    """Return the config with every model and deployment written out, so that it can be changed.

    Raises:
        ProfileError: it holds no application of ours, its `args` are not valid, or a deployment has
            no name.
    """
    config = deepcopy(config)
    app = application(config)
    args = app.setdefault("args", {})
    try:
        settings = AppSettings.model_validate(args)
    except ValueError as error:
        raise ProfileError(f"args: {one_line(error)}") from None
    if "models" not in args:
        args.pop("model", None)
        args.pop("device", None)
        args["models"] = [m.model_dump(exclude_unset=True, mode="json") for m in settings.models]
    deployments = app.setdefault("deployments", [])
    names = ["Ingress", "AudioPreprocessor", *(f"{TRANSCRIBER}-{m.name}" for m in settings.models)]
    names += [DIARIZER] if settings.diarization else []
    if not all(isinstance(one, dict) and one.get("name") for one in deployments):
        raise ProfileError("deployments: each of them needs a name.")
    present = {one["name"] for one in deployments}
    deployments.extend({"name": name} for name in names if name not in present)
    return config


def merge(config: Config, overlay: Mapping[str, Any]) -> Config:
    """Return a completed config with the overlay's values in place of its own.

    Raises:
        ProfileError: the overlay holds what is not known, or names a deployment that is not there.
    """
    if unknown := overlay.keys() - set(PARTS):
        raise ProfileError(f"Not known: {', '.join(sorted(unknown))}. Known: {', '.join(PARTS)}.")
    rest = dict(overlay)
    args, deployments = rest.pop("args", {}), rest.pop("deployments", {})
    if not isinstance(deployments, Mapping):
        raise ProfileError("deployments: an overlay has them as a mapping by name.")
    merged: Config = _lay(deepcopy(config), rest)
    app = application(merged)
    app["args"] = _lay(app["args"], args)
    # The one deployment that an overlay can bring along.
    names = {one["name"] for one in app["deployments"]}
    if app["args"].get("diarization") is not None and DIARIZER not in names:
        app["deployments"].append({"name": DIARIZER})
    for name, options in deployments.items():
        for i in _matching(app["deployments"], name):
            app["deployments"][i] = _lay(app["deployments"][i], options)
    return merged


def one_line(error: ValueError) -> str:
    """Return what a validation error says, on one line."""
    if not hasattr(error, "errors"):
        return " ".join(str(error).split())
    return "; ".join(
        f"{'.'.join(str(part) for part in one['loc']) or 'all'}: {one['msg']}"
        for one in error.errors()
    )


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
