"""When a model is loaded and when it is unloaded, in the terms of Serve's autoscaler."""

from collections.abc import Callable

from serve_app.profiles.files import Config
from serve_app.profiles.merging import transcribers
from serve_app.profiles.replicas import n_at_start, scaling_of

# Serve has no "never": a model that is started by a request stays for ten years.
NEVER_S = 10 * 365 * 24 * 3600
# How soon idleness is seen where a profile did not scale before; Serve's own are 10 and 30 s.
SOON = {"metrics_interval_s": 1, "look_back_period_s": 5}


def unload_after(idle_s: int, config: Config) -> Config:
    """Return the overlay that unloads every model after that many idle seconds.

    -1 unloads none: a model that is loaded at the start stays, and one that waits for its first
    request stays from then on. 0 unloads a model as soon as Serve sees it idle.
    """

    def change(scaling: Config) -> Config:
        if idle_s < 0:
            return {} if scaling["min_replicas"] else {"downscale_to_zero_delay_s": NEVER_S}
        unloads = {"min_replicas": 0, "downscale_to_zero_delay_s": idle_s}
        n_loaded = n_at_start(scaling)
        return {**unloads, "initial_replicas": n_loaded} if n_loaded else unloads

    return _for_each(config, change)


def preload(at_start: bool, config: Config) -> Config:
    """Return the overlay that loads every model at the start, or at its first request."""

    def change(scaling: Config) -> Config:
        # Only where needed: Serve goes back to initial_replicas whenever the config changes.
        if at_start:
            return {} if n_at_start(scaling) else {"initial_replicas": 1}
        lazy: Config = {"min_replicas": 0}
        if scaling.get("initial_replicas") is not None:
            lazy["initial_replicas"] = None  # Serve starts with min_replicas
        if scaling["min_replicas"]:  # it was never to be unloaded
            lazy["downscale_to_zero_delay_s"] = NEVER_S
        return lazy

    return _for_each(config, change)


def _for_each(config: Config, change: Callable[[Config], Config]) -> Config:
    overlays = {}
    for _, options in transcribers(config):
        changed = change(scaling_of(options))
        if changed:
            soon = {} if options.get("autoscaling_config") else SOON
            overlays[options["name"]] = {"autoscaling_config": {**soon, **changed}}
    return {"deployments": overlays}
