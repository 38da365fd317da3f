from typing import Any

import pytest
import yaml

from serve_app.profiles import overlay_names, profile_names, read_profile
from serve_app.settings import AppSettings, BatchLimits, TranscriberUserConfig
from tests.environment_examples import TURBO, look_up
from tests.unit.profiles.test_rendering import rendered

PRODUCTION = ("turbo", "distil", "large-v3", "all")


def check(config: dict[str, Any]) -> None:
    """Check a config as far as can be without Ray: settings, names, limits."""
    [app] = config["applications"]
    settings = AppSettings.model_validate(app["args"])
    assert config["http_options"]["request_timeout_s"] > settings.request_timeout_s
    deployments = {one["name"]: one for one in app["deployments"]}
    names = {f"WhisperTranscriber-{model.name}" for model in settings.models}
    names |= {"SpeakerDiarizer"} if settings.diarization else set()
    assert deployments.keys() == names | {"Ingress", "AudioPreprocessor"}
    for model in settings.models:
        options = deployments[f"WhisperTranscriber-{model.name}"]
        user_config = TranscriberUserConfig.model_validate(options["user_config"])
        limits = BatchLimits(
            max_ongoing_requests=options["max_ongoing_requests"],
            max_batch_size=user_config.max_batch_size or 1,
            n_workers=model.n_workers,
        )
        limits.check()
        assert limits.idle_warning() is None
        assert model.max_queued_chunks >= settings.max_chunks_in_flight
        # Else one long file fills the replica, and others wait where there are no turns.
        assert options["max_ongoing_requests"] >= 4 * settings.max_chunks_in_flight
        assert (options["ray_actor_options"].get("num_gpus", 0) > 0) == (model.device == "cuda")


@pytest.mark.parametrize("profile", profile_names())
def test_a_profile_is_sound_and_comes_out_as_it_is(profile: str) -> None:
    made = rendered(profile)
    assert made.config == read_profile(profile)
    assert made.notes == ()
    check(made.config)


@pytest.mark.parametrize("overlay", [name for name in overlay_names() if name != "vram-saver"])
@pytest.mark.parametrize("profile", profile_names())
def test_every_overlay_fits_every_profile(profile: str, overlay: str) -> None:
    made = rendered(profile, overlays=(overlay,))
    assert made.config != read_profile(profile)
    check(made.config)


@pytest.mark.parametrize(
    ("profile", "batch", "wait_s", "queue", "at_once"),
    [
        ("turbo", 256, 0.025, 4096, 1000),
        ("distil", 224, 0.03, 3072, 800),
        ("large-v3", 192, 0.04, 2048, 600),
    ],
)
def test_the_presets_keep_their_numbers(
    profile: str, batch: int, wait_s: float, queue: int, at_once: int
) -> None:
    for config in (read_profile(profile), read_profile("all")):
        own = look_up(config, f"deployments.WhisperTranscriber-{profile}")
        assert own["user_config"]["max_batch_size"] == batch
        assert own["user_config"]["batch_wait_timeout_s"] == wait_s
        models = {m["name"]: m for m in config["applications"][0]["args"]["models"]}
        assert models[profile]["compute_type"] == "float16"
    config = read_profile(profile)
    ingress = look_up(config, "deployments.Ingress")
    settings = AppSettings.model_validate(config["applications"][0]["args"])
    assert ingress["graceful_shutdown_timeout_s"] >= settings.request_timeout_s
    assert ingress["max_queued_requests"] == queue
    n_replicas = ingress["autoscaling_config"]["max_replicas"]
    assert ingress["max_ongoing_requests"] * n_replicas == at_once


@pytest.mark.parametrize("profile", PRODUCTION)
def test_a_profile_for_production_has_two_ways_in_and_names_no_kind_of_gpu(profile: str) -> None:
    config = read_profile(profile)
    assert look_up(config, "deployments.Ingress.autoscaling_config.min_replicas") >= 2
    assert look_up(config, "http_options.host") == "127.0.0.1"
    assert "accelerator_type" not in yaml.safe_dump(config)


@pytest.mark.parametrize("profile", PRODUCTION)
def test_only_models_that_are_not_the_default_are_started_by_a_request(profile: str) -> None:
    [app] = read_profile(profile)["applications"]
    for i, model in enumerate(app["args"]["models"]):
        options = look_up(read_profile(profile), f"deployments.WhisperTranscriber-{model['name']}")
        assert options["autoscaling_config"]["min_replicas"] == (1 if i == 0 else 0)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("whisper-1", "turbo"),
        ("turbo", "turbo"),
        ("large-v3-turbo", "turbo"),
        ("deepdml/faster-whisper-large-v3-turbo-ct2", "turbo"),
        ("openai/whisper-large-v3-turbo", "turbo"),
        ("distil", "distil"),
        ("distil-large-v3", "distil"),
        ("Systran/faster-distil-whisper-large-v3", "distil"),
        ("large-v3", "large-v3"),
        ("large", "large-v3"),
        ("Systran/faster-whisper-large-v3", "large-v3"),
    ],
)
def test_the_three_models_are_found_by_every_name_that_people_use(name: str, model: str) -> None:
    from serve_app.models import find_model

    [app] = read_profile("all")["applications"]
    assert find_model(name, AppSettings.model_validate(app["args"]).models).name == model


def test_the_overlays_hold_their_numbers() -> None:
    low = rendered("turbo", overlays=("ultra-low-latency",)).config
    high = rendered("turbo", overlays=("ultra-throughput",)).config
    small = rendered("turbo", overlays=("vram-saver",)).config
    user_config = f"{TURBO}.user_config"
    assert look_up(low, user_config) == {
        "max_batch_size": 128,
        "batch_wait_timeout_s": 0.01,
        "revision": "main",
    }
    assert look_up(high, f"{user_config}.max_batch_size") == 384
    assert look_up(high, f"{user_config}.batch_wait_timeout_s") == 0.1
    assert look_up(high, "deployments.Ingress.max_queued_requests") == 8192
    assert look_up(small, f"{user_config}.max_batch_size") == 128
    assert look_up(small, "args.models.0.compute_type") == "int8_float16"
