"""What is not shaped like a config or an overlay is told in one line, never by a traceback."""

from pathlib import Path

import pytest

from serve_app.profiles import ProfileError
from tests.unit.profiles.test_rendering import rendered, short, write

# What reads most of a config.
CHOICES = {"WHISPER__MODEL_TTL": "60", "WHISPER__MAX_CONCURRENT_REQUESTS": "9"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("args: [1]", "args: Input should be a valid dict"),
        ("1: {}", "Not known: 1. Known: args"),
        ("args: {1: 2}", "args.1"),
        ("deployments: {Ingress: 3}", "deployments.Ingress: Input"),
        ("deployments: {1: {}}", "deployments.1"),
        ("http_options: [a]", "http_options: Input"),
        ("http_options: {port: many}", "http_options.port: Input"),
        ("deployments: {WhisperTranscriber: {max_ongoing_requests: null}}", "max_ongoing_requests"),
        (
            "deployments: {WhisperTranscriber: {autoscaling_config: {min_replicas: null}}}",
            "WhisperTranscriber-turbo: autoscaling_config.min_replicas: Input",
        ),
        ("args: {vad: {threshold: 50}}", "args: vad: .*threshold must lie in"),
        ("args: {vad: {threshold: .nan}}", "args: vad.threshold: .*finite"),
        ("args: {models: null}", "args: models"),
    ],
)
def test_an_overlay_of_another_shape_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ProfileError, match=reason) as caught:
        rendered("turbo", overlays=(write(tmp_path, text),), environment=CHOICES)
    assert "\n" not in str(caught.value)


def test_what_is_empty_in_an_overlay_changes_nothing(tmp_path: Path) -> None:
    own = write(tmp_path, "args:\ndeployments:\n  Ingress:\nhttp_options:\n")
    assert rendered("turbo", overlays=(own,)).config == rendered("turbo").config


@pytest.mark.parametrize(
    ("deployments", "reason"),
    [
        ("null", "deployments: Input should be a valid list"),
        ("[a]", "deployments.0: Input"),
        ("[{name: 3}]", "deployments.0.name: Input should be a valid string"),
        ("[{name: Ingres}]", "No deployment 'Ingres'. There are: Ingress, AudioPreprocessor"),
        ("[{name: SpeakerDiarizer}]", "SpeakerDiarizer: args say nothing under diarization"),
        ("[{name: WhisperTranscriber-base, max_ongoing_requests: many}]", "max_ongoing_requests"),
        (
            "[{name: WhisperTranscriber-base, ray_actor_options: {num_gpus: many}}]",
            "WhisperTranscriber-base: ray_actor_options.num_gpus: Input",
        ),
        ("[{name: WhisperTranscriber-base, ray_actor_options: null}]", "ray_actor_options: Input"),
    ],
)
def test_a_profile_of_another_shape_is_refused(
    tmp_path: Path, deployments: str, reason: str
) -> None:
    profile = short(tmp_path, "{model: base}", deployments)
    for environment in ({}, CHOICES):
        with pytest.raises(ProfileError, match=reason) as caught:
            rendered(profile, environment=environment)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["http_options: [a]", "http_options: {host: 3}"])
def test_a_profile_whose_address_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ProfileError, match=r"^http_options"):
        rendered(short(tmp_path, "{model: base}", rest=text))


@pytest.mark.parametrize("args", ["null", "[1]", "{1: 2}"])
def test_args_of_another_shape_are_refused(tmp_path: Path, args: str) -> None:
    with pytest.raises(ProfileError, match=r"^args"):
        rendered(short(tmp_path, args))


def test_models_that_are_set_need_no_options_of_their_own() -> None:
    two = "args.models=[{name: demo, source: embedded}, {name: b, source: embedded}]"
    config = rendered("demo", assignments=(two,)).config
    names = [one["name"] for one in config["applications"][0]["deployments"]]
    assert "WhisperTranscriber-b" in names
