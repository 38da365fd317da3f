"""The shape of a Serve config and of an overlay, as far as they are read here.

Serve checks the same and more, but only when a config is deployed. What nobody reads here may be
anything.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from serve_app.profiles.files import Config, ProfileError
from serve_app.profiles.replicas import n_at_start, scaling_of

IMPORT_PATH = "serve_app.app:app"


class _Shape(BaseModel):
    # Strict: what reads a config takes its values as they are.
    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class _HttpOptions(_Shape):
    host: str = ""
    port: int = Field(8000, ge=0, le=65_535)
    request_timeout_s: NonNegativeFloat | None = None


class _Config(_Shape):
    http_options: _HttpOptions = _HttpOptions()
    logging_config: dict[str, Any] | None = None


class _Named(_Shape):
    name: str = Field(min_length=1)


class _Application(_Shape):
    args: dict[str, Any] = {}
    deployments: list[_Named] = []


class _Scaling(_Shape):
    min_replicas: NonNegativeInt = 1
    initial_replicas: NonNegativeInt | None = None
    max_replicas: PositiveInt = 1
    target_ongoing_requests: PositiveFloat | None = None


class _ActorOptions(_Shape):
    num_cpus: NonNegativeFloat | None = None
    num_gpus: NonNegativeFloat | None = None
    accelerator_type: str | None = None


class _Deployment(_Shape):
    num_replicas: PositiveInt | Literal["auto"] | None = None
    autoscaling_config: _Scaling | None = None
    max_ongoing_requests: PositiveInt = 1
    graceful_shutdown_timeout_s: NonNegativeFloat = 0
    ray_actor_options: _ActorOptions = _ActorOptions()
    user_config: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _check_replicas(self) -> "_Deployment":
        if isinstance(self.num_replicas, int) and self.autoscaling_config is not None:
            raise ValueError("num_replicas and autoscaling_config: give one of them")
        scaling = scaling_of(self.model_dump(exclude_unset=True))
        if not scaling["min_replicas"] <= n_at_start(scaling) <= scaling["max_replicas"]:
            raise ValueError(
                "autoscaling_config: min_replicas, initial_replicas and max_replicas must not fall"
            )
        return self


class _Overlay(_Shape):
    model_config = ConfigDict(extra="forbid")  # Serve would pass over anything else

    args: dict[str, Any] = {}
    deployments: dict[str, dict[str, Any]] = {}
    http_options: dict[str, Any] = {}
    logging_config: dict[str, Any] = {}
    proxy_location: str = ""


# What an overlay may hold.
PARTS = tuple(_Overlay.model_fields)


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


def check_shape(config: Config) -> None:
    """Check that a Serve config is one, as far as it is read here.

    Raises:
        ProfileError: it is not.
    """
    app = application(config)
    _check(_Config, config)
    _check(_Application, app)
    for options in app.get("deployments", ()):
        _check(_Deployment, options, options["name"])


def check_overlay(overlay: Mapping[Any, Any]) -> Config:
    """Return an overlay without its empty parts, which change nothing.

    Raises:
        ProfileError: it holds what is not known, or what is not a mapping.
    """
    if unknown := [str(key) for key in overlay if key not in PARTS]:
        raise ProfileError(f"Not known: {', '.join(sorted(unknown))}. Known: {', '.join(PARTS)}.")
    given = {key: value for key, value in overlay.items() if value is not None}
    deployments = given.get("deployments", {})
    if not isinstance(deployments, Mapping):
        raise ProfileError("deployments: an overlay has them as a mapping by name.")
    given["deployments"] = {
        name: options for name, options in deployments.items() if options is not None
    }
    _check(_Overlay, given)
    return given


def one_line(error: ValueError) -> str:
    """Return what a validation error says, on one line."""
    if not hasattr(error, "errors"):
        return " ".join(str(error).split())
    told = []
    for one in error.errors():
        place, message = ".".join(map(str, one["loc"])), one["msg"].removeprefix("Value error, ")
        told.append(f"{place}: {message}" if place else message)
    return "; ".join(told)


def _check(shape: type[BaseModel], part: Any, name: str = "") -> None:
    try:
        shape.model_validate(part)
    except ValueError as error:
        raise ProfileError(f"{name}: {one_line(error)}" if name else one_line(error)) from None
