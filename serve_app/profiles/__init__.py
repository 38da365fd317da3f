"""Profiles to complete Serve configs: profile < overlays < environment < command line.

A name, and what was chosen beside it, go in; a config as plain data comes out, for `serve run`,
`serve deploy` or KubeRay. Called by the command line alone. Knows the settings, and no Ray.
"""

from serve_app.profiles.environment import NAMES, environment_table
from serve_app.profiles.files import ProfileError, overlay_names, profile_names, read_profile
from serve_app.profiles.merging import with_actor_options
from serve_app.profiles.placement import gpus_needed
from serve_app.profiles.rendering import Choices, Rendered, render
from serve_app.profiles.replicas import scaling_of

__all__ = [
    "NAMES",
    "Choices",
    "ProfileError",
    "Rendered",
    "environment_table",
    "gpus_needed",
    "overlay_names",
    "profile_names",
    "read_profile",
    "render",
    "scaling_of",
    "with_actor_options",
]
