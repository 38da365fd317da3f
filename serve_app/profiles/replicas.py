"""How many replicas a deployment has, by Serve's rules.

There is a fixed number (`num_replicas: 4`), an autoscaler (`autoscaling_config`), or neither, which
is one replica. `num_replicas: auto` is an autoscaler with other bounds.
"""

from collections.abc import Mapping
from typing import Any

from serve_app.profiles.files import Config

AUTO_MAX_REPLICAS = 100


def scaling_of(options: Mapping[str, Any]) -> Config:
    """Return a deployment's autoscaling_config with its bounds; a fixed number is both of them."""
    number = options.get("num_replicas") or 1
    low, high = (1, AUTO_MAX_REPLICAS) if number == "auto" else (number, number)
    return {"min_replicas": low, "max_replicas": high, **(options.get("autoscaling_config") or {})}


def n_at_start(scaling: Config) -> int:
    """Return the replicas that are started with the app, of a config that `scaling_of` made."""
    initial = scaling.get("initial_replicas")
    return int(scaling["min_replicas"] if initial is None else initial)


def make_way(own: Config, over: Mapping[str, Any]) -> Config:
    """Return a deployment's options less what Serve refuses beside those that are laid over them.

    An autoscaler that comes begins with the fixed number; a fixed number that comes ends an
    autoscaler.
    """
    is_fixed, becomes_fixed = (isinstance(d.get("num_replicas"), int) for d in (own, over))
    if is_fixed and over.get("autoscaling_config") and "num_replicas" not in over:
        rest = {key: value for key, value in own.items() if key != "num_replicas"}
        return {**rest, "autoscaling_config": scaling_of(own)}
    if becomes_fixed and "autoscaling_config" not in over:
        return {key: value for key, value in own.items() if key != "autoscaling_config"}
    return own
