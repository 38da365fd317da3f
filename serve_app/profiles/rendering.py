"""A profile and everything chosen beside it, to the config that is served."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from serve_app.profiles import checks, parsing
from serve_app.profiles.environment import DEVICE, DEVICE_INDEX, NAMES, merge_environment, parse
from serve_app.profiles.files import Config, ProfileError, read_overlay, read_profile
from serve_app.profiles.merging import complete, merge
from serve_app.profiles.placement import gpus_needed, pin_accelerator, visible_devices
from serve_app.profiles.time_limits import check_time_limits, raise_time_limits


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What was chosen beside a profile. Later fields go before earlier ones."""

    overlays: tuple[str, ...] = ()  # names or files, the last one on top
    environment: Mapping[str, str] = field(default_factory=dict)
    device: str | None = None  # auto | cpu | cuda, instead of the environment's
    accelerator: str | None = None
    host: str | None = None
    port: int | None = None
    assignments: tuple[str, ...] = ()  # PATH=VALUE


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A complete Serve config, and what its reader should know."""

    config: Config
    notes: tuple[str, ...] = ()  # one line each
    # Variables that Ray is to start with, because a config cannot say it: CUDA_VISIBLE_DEVICES.
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def gpus_needed(self) -> float:
        """Return the GPUs without which it cannot start or could not serve a model."""
        return gpus_needed(self.config)

    @property
    def url(self) -> str:
        """Return where a caller on this machine finds the API."""
        http = self.config.get("http_options") or {}
        host = http.get("host", "0.0.0.0")  # Serve's own default
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"http://{f'[{host}]' if ':' in host else host}:{http.get('port', 8000)}"


def render(profile: str, choices: Choices, count_gpus: Callable[[], int]) -> Rendered:
    """Return the config of a profile with all choices applied, and checked.

    A profile that nothing changes comes out as it is, whatever it says.

    Args:
        profile: its name, or a file.
        choices: what is laid over it: overlays, then the environment, then the command line.
        count_gpus: called where the device is `auto`.

    Raises:
        ProfileError: something in it is not known or not valid; one line.
    """
    original = read_profile(profile)
    config = base = complete(original)
    for overlay in choices.overlays:
        config = complete(merge(config, read_overlay(overlay)))
    environment = _with_device(choices, count_gpus)
    config, notes = merge_environment(config, environment)
    config = complete(_merge_flags(config, choices))
    checks.check_settings(config)
    if config != base:
        config, fuller = checks.raise_limits(config)
        config, longer = raise_time_limits(config, base)
        notes += fuller + longer
    checks.check_limits(config)
    check_time_limits(config)
    return Rendered(
        config=original if config == base else config,
        notes=notes,
        environment=_ray_environment(config, environment),
    )


def _with_device(choices: Choices, count_gpus: Callable[[], int]) -> dict[str, str]:
    """Return the environment with the device that was chosen, and found where it was `auto`."""
    environment = dict(choices.environment)
    if choices.device:
        environment[DEVICE] = choices.device
    if environment.get(DEVICE, "").strip().lower() == "auto":
        environment[DEVICE] = "cuda" if count_gpus() else "cpu"
    return environment


def _merge_flags(config: Config, choices: Choices) -> Config:
    if choices.accelerator:
        config = merge(config, pin_accelerator(choices.accelerator, config))
    if choices.host:
        config = merge(config, {"http_options": {"host": choices.host}})
    if choices.port:
        config = merge(config, {"http_options": {"port": choices.port}})
    for text in choices.assignments:
        try:
            path, value = parsing.assignment(text)
        except ValueError as error:
            raise ProfileError(f"--set {text}: expected {error}.") from None
        config = _assign(config, path, value)
    return config


def _assign(config: Config, path: tuple[str, ...], value: Any) -> Config:
    """Set what a profile says already, or any of this project's settings, which are checked later.

    Serve itself passes over options that it does not know, so a misspelled one would go unnoticed.
    """
    merged = merge(config, parsing.nested(path, value))
    if path[0] != "args" and "user_config" not in path and _keys(merged) != _keys(config):
        raise ProfileError(
            f"--set {'.'.join(path)}: the profile says nothing there. Options that are new to it "
            "go into a file of your own."
        )
    return merged


def _keys(value: Any) -> Any:
    """Return the shape of plain data: its keys, without the values."""
    if isinstance(value, Mapping):
        return {key: _keys(part) for key, part in value.items()}
    if isinstance(value, list) and all(isinstance(part, Mapping) for part in value):
        return [_keys(part) for part in value]
    return None


def _ray_environment(config: Config, environment: Mapping[str, str]) -> dict[str, str]:
    if DEVICE_INDEX not in environment or not gpus_needed(config):
        return {}
    [name] = [name for name in NAMES if name.name == DEVICE_INDEX]
    indices = parse(name, environment[DEVICE_INDEX])
    shown = visible_devices(indices, environment.get("CUDA_VISIBLE_DEVICES"))
    return {"CUDA_VISIBLE_DEVICES": shown}
