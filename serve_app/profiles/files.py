"""Where profiles and overlays lie, and what is in them."""

from importlib import resources
from pathlib import Path
from typing import Any

import yaml

Config = dict[str, Any]  # a Serve config, or a part of one, as YAML holds it


class ProfileError(ValueError):
    """A profile, or what is to change in it, cannot be used. The message is one line."""


def profile_names() -> list[str]:
    """Return the names of the profiles that come with serve_app."""
    return _names(_folder())


def overlay_names() -> list[str]:
    """Return the names of the overlays that come with serve_app."""
    return _names(_folder() / "overlays")


def read_profile(profile: str) -> Config:
    """Return the config of a profile.

    Args:
        profile: one of `profile_names`, or the path of a config file.

    Raises:
        ProfileError: there is none, or it is not a Serve config of this app.
    """
    return _read(_find(profile, _folder(), "profile"))


def read_overlay(overlay: str) -> Config:
    """Return what an overlay changes, in the form that `merge` takes.

    Args:
        overlay: one of `overlay_names`, or the path of a file.

    Raises:
        ProfileError: there is none, or it holds no mapping.
    """
    return _read(_find(overlay, _folder() / "overlays", "overlay"))


def _folder() -> Path:
    """Return the folder of the profiles: inside an installed package, or beside the checkout's."""
    package = Path(str(resources.files("serve_app")))
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def _names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))


def _find(name: str, folder: Path, kind: str) -> Path:
    if Path(name).is_file():
        return Path(name)
    if name not in _names(folder):
        names = ", ".join(_names(folder))
        raise ProfileError(f"No {kind} '{name}'. There are: {names}; or give a file.")
    return folder / f"{name}.yaml"


def _read(path: Path) -> Config:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ProfileError(f"{path} cannot be read: {reason}") from None
    if not isinstance(content, dict):
        raise ProfileError(f"{path} does not hold a YAML mapping.")
    return content
