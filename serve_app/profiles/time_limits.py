"""Serve's time limits that lie around the app's own: they follow a longer one, or are refused."""

from operator import attrgetter
from typing import Any

from serve_app.profiles.files import Config, ProfileError
from serve_app.profiles.merging import merge, read_settings
from serve_app.profiles.shape import application

# The app's own answer, which is in OpenAI's error shape, is to leave before Serve gives up on it.
MARGIN_S = 60
HTTP = "http_options.request_timeout_s"
OWN = "request_timeout_s"
DRAIN = "graceful_shutdown_timeout_s"
# The limit on what a replica may still have when it is replaced, by its deployment's first word.
DRAINED = {
    "Ingress": OWN,
    "SpeakerDiarizer": OWN,
    "AudioPreprocessor": "audio.slice_timeout_s",
    "WhisperTranscriber": "retry.try_timeout_s",
}


def raise_time_limits(config: Config, base: Config) -> tuple[Config, tuple[str, ...]]:
    """Return the config with Serve's limits above the app's, and a note on each that was raised.

    A limit that covered the app's own in the base, as one of 3660 s does 3600 s, is made to cover a
    longer one too. One that did not is left as it was chosen.
    """
    new, old = read_settings(config), read_settings(base)
    http_s = _http_limit(config)
    overlay: dict[str, Any] = {"deployments": {}}
    notes = []
    if http_s is not None and old.request_timeout_s < http_s <= new.request_timeout_s:
        wanted_s = new.request_timeout_s + MARGIN_S
        overlay["http_options"] = {"request_timeout_s": wanted_s}
        notes.append(f"{HTTP} is raised from {http_s:g} to {wanted_s:g}.")
    for options in application(config)["deployments"]:
        name, drain_s = options["name"], options.get(DRAIN)
        limit_s = attrgetter(DRAINED[name.partition("-")[0]])
        if drain_s is not None and limit_s(old) <= drain_s < limit_s(new):
            overlay["deployments"][name] = {DRAIN: limit_s(new)}
            notes.append(f"{name}: {DRAIN} is raised from {drain_s:g} to {limit_s(new):g}.")
    return merge(config, overlay), tuple(notes)


def check_time_limits(config: Config) -> None:
    """Check that the app's limit is met before Serve's, whose answer is plain text.

    Raises:
        ProfileError: Serve's comes first.
    """
    http_s, own_s = _http_limit(config), read_settings(config).request_timeout_s
    if http_s is not None and http_s <= own_s:
        raise ProfileError(
            f"{HTTP} is {http_s:g} and must lie above args.{OWN}, which is {own_s:g}: raise the "
            "one or lower the other."
        )


def _http_limit(config: Config) -> float | None:
    limit_s: float | None = config.get("http_options", {}).get("request_timeout_s")
    return limit_s
