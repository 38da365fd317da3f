from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.profiles import (
    Choices,
    ProfileError,
    Rendered,
    overlay_names,
    profile_names,
    read_profile,
    render,
)
from serve_app.settings import AppSettings, BatchLimits, TranscriberUserConfig
from tests.environment_examples import TURBO, look_up

PRODUCTION = ("turbo", "distil", "large-v3", "all")


def rendered(profile: str, **choices: Any) -> Rendered:
    return render(profile, Choices(**choices), lambda: 0)


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


def test_the_order_is_profile_overlay_environment_command_line() -> None:
    path = f"{TURBO}.user_config.max_batch_size"
    flag = (f"{TURBO}.user_config.max_batch_size=8",)
    overlay, environment = ("ultra-low-latency",), {"WHISPER__BATCH_SIZE": "16"}
    steps: list[dict[str, Any]] = [
        {},
        {"overlays": overlay},
        {"overlays": overlay, "environment": environment},
        {"overlays": overlay, "environment": environment, "assignments": flag},
    ]
    sizes = [look_up(rendered("turbo", **choices).config, path) for choices in steps]
    assert sizes == [256, 128, 16, 8]


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


def test_a_later_overlay_lies_on_an_earlier_one() -> None:
    path = f"{TURBO}.user_config.max_batch_size"
    overlays = ("ultra-throughput", "ultra-low-latency")
    assert look_up(rendered("turbo", overlays=overlays).config, path) == 128
    assert look_up(rendered("turbo", overlays=overlays[::-1]).config, path) == 384


def test_an_overlay_of_ones_own_is_a_file(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("deployments: {WhisperTranscriber-turbo: {max_ongoing_requests: 4000}}")
    config = rendered("turbo", overlays=(str(own),)).config
    assert look_up(config, f"{TURBO}.max_ongoing_requests") == 4000


def test_an_overlay_may_bring_models_of_its_own(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    turbo, mine = "{name: turbo, source: turbo}", "{name: mine, source: /models/mine}"
    own.write_text(f"args: {{models: [{turbo}, {mine}]}}")
    config = rendered(
        "turbo", overlays=(str(own),), environment={"WHISPER__BATCH_SIZE": "9"}
    ).config
    assert look_up(config, "deployments.WhisperTranscriber-mine.user_config.max_batch_size") == 9


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "deployments: {Transcriber: {max_ongoing_requests: 4000}}",
            "No deployment 'Transcriber'.*Ingress",
        ),
        ("deployments: [{name: Ingress}]", "mapping by name"),
        ("deployment: {}", "Not known: deployment. Known: args"),
        ("args: {models: {name: other}}", "no model of that name"),
        ("args: {models: {size: 3}}", "args: models.0.size"),
    ],
)
def test_an_overlay_that_does_not_fit_is_refused_in_one_line(
    tmp_path: Path, text: str, reason: str
) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(text)
    environment = {"WHISPER__MODEL_TTL": "3"}
    with pytest.raises(ProfileError, match=reason) as caught:
        rendered("turbo", overlays=(str(own),), environment=environment)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("profile", PRODUCTION)
def test_a_profile_for_gpus_runs_on_a_cpu(profile: str) -> None:
    made = rendered(profile, device="cpu")
    assert made.gpus_needed == 0
    for model in AppSettings.model_validate(made.config["applications"][0]["args"]).models:
        assert (model.device, model.compute_type) == ("cpu", "int8")


def test_auto_takes_a_gpu_where_there_is_one() -> None:
    assert render("turbo", Choices(device="auto"), lambda: 1).gpus_needed == 1
    assert render("turbo", Choices(device="auto"), lambda: 0).gpus_needed == 0
    environment = {"WHISPER__INFERENCE_DEVICE": "auto"}
    assert render("turbo", Choices(environment=environment), lambda: 0).gpus_needed == 0


def test_the_device_of_the_command_line_goes_before_the_environments() -> None:
    environment = {"WHISPER__INFERENCE_DEVICE": "cuda", "WHISPER__BATCH_SIZE": "2"}
    config = rendered("turbo", device="cpu", environment=environment).config
    assert look_up(config, "args.models.0.device") == "cpu"
    assert look_up(config, f"{TURBO}.user_config.max_batch_size") == 2


def test_a_number_type_that_a_cpu_does_not_have_is_refused() -> None:
    with pytest.raises(ProfileError, match="float16 needs a GPU"):
        rendered("turbo", device="cpu", environment={"WHISPER__COMPUTE_TYPE": "float16"})


def test_an_accelerator_pins_the_models_and_nothing_else() -> None:
    [app] = rendered("all", accelerator="h100").config["applications"]
    pinned = {
        one["name"]: one["ray_actor_options"].get("accelerator_type") for one in app["deployments"]
    }
    assert pinned == {
        "Ingress": None,
        "AudioPreprocessor": None,
        "WhisperTranscriber-turbo": "H100",
        "WhisperTranscriber-distil": "H100",
        "WhisperTranscriber-large-v3": "H100",
    }


def test_an_accelerator_that_cannot_be_is_refused() -> None:
    with pytest.raises(ProfileError, match=r"Did you mean .*H100"):
        rendered("turbo", accelerator="H10")
    with pytest.raises(ProfileError, match="asks for a GPU"):
        rendered("turbo", accelerator="H100", device="cpu")


@pytest.mark.parametrize(
    ("profile", "choices", "n_gpus"),
    [
        ("demo", {}, 0),
        ("turbo", {}, 1),
        ("all", {}, 0.55),  # the others start when they are asked for, beside it
        ("all", {"environment": {"WHISPER__PRELOAD_MODEL": "true"}}, 1),
        ("turbo", {"environment": {"WHISPER__PRELOAD_MODEL": "false"}}, 1),
    ],
)
def test_the_gpus_that_a_config_needs_are_counted(
    profile: str, choices: dict[str, Any], n_gpus: float
) -> None:
    assert rendered(profile, **choices).gpus_needed == pytest.approx(n_gpus)


def test_an_option_can_be_set_where_the_profile_says_something() -> None:
    config = rendered(
        "turbo",
        assignments=(
            "args.models.beam_size=5",
            "args.vad.min_silence_s=0.3",
            "deployments.WhisperTranscriber.ray_actor_options.num_cpus=4",
        ),
    ).config
    settings = AppSettings.model_validate(config["applications"][0]["args"])
    assert settings.models[0].beam_size == 5
    assert settings.vad.min_silence_s == 0.3
    assert look_up(config, f"{TURBO}.ray_actor_options.num_cpus") == 4


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("deployments.Ingress.max_ongoing_request=4", "says nothing there"),
        ("deployments.Ingres.max_ongoing_requests=4", "No deployment"),
        ("http_options.prot=4", "says nothing there"),
        ("args.vadd.threshold=0.3", "Extra inputs"),
        ("args.models=3", "args: models"),
        ("args=3", "PATH=VALUE"),
        ("args.vad.threshold", "PATH=VALUE"),
        ("args.vad.threshold=[", "as in YAML"),
        (f"{TURBO}.user_config.batch=3", "user_config: batch"),
        (f"{TURBO}.user_config.max_batch_size=many", "max_batch_size"),
    ],
)
def test_a_setting_that_is_not_known_or_not_valid_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ProfileError, match=reason) as caught:
        rendered("turbo", assignments=(text,))
    assert "\n" not in str(caught.value)


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "profile.yaml"
    path.write_text(text)
    return str(path)


def test_a_short_profile_takes_overlays_too(tmp_path: Path) -> None:
    profile = write(
        tmp_path, "applications: [{import_path: 'serve_app.app:app', args: {model: base}}]"
    )
    config = rendered(profile, environment={"WHISPER__BATCH_SIZE": "4"}).config
    assert look_up(config, "deployments.WhisperTranscriber-base.user_config.max_batch_size") == 4
    assert AppSettings.model_validate(config["applications"][0]["args"]).models[0].source == "base"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("applications: []", "one application"),
        ("applications: 3", "one application"),
        (
            "applications: [{import_path: 'serve_app.app:app', deployments: [{}]}]",
            "needs a name",
        ),
        ("applications: [{import_path: 'other:app'}]", "one application"),
        ("- a", "YAML mapping"),
        ("a: [", "cannot be read"),
        (
            "applications: [{import_path: 'serve_app.app:app', args: {modles: []}}]",
            "args: modles",
        ),
        (
            "applications: [{import_path: 'serve_app.app:app', args: {model: base}, "
            "deployments: [{name: WhisperTranscriber-bass}]}]",
            "no model of that name",
        ),
        (
            "applications: [{import_path: 'serve_app.app:app', args: {model: base}, deployments: "
            "[{name: WhisperTranscriber-base, max_ongoing_requests: 5, "
            "user_config: {max_batch_size: 8}}]}]",
            "8 or more",
        ),
    ],
)
def test_a_profile_that_cannot_be_served_is_refused_in_one_line(
    tmp_path: Path, text: str, reason: str
) -> None:
    with pytest.raises(ProfileError, match=reason) as caught:
        rendered(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ProfileError, match=r"No profile 'turbo-deluxe'.*demo.*turbo"):
        rendered("turbo-deluxe")
    with pytest.raises(ProfileError, match=r"No overlay 'fast'.*ultra-low-latency"):
        rendered("turbo", overlays=("fast",))


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:81"),
        ("::", "http://[::1]:81"),
        ("10.0.0.1", "http://10.0.0.1:81"),
    ],
)
def test_a_caller_on_the_machine_finds_the_api(host: str, url: str) -> None:
    assert rendered("turbo", host=host, port=81).url == url
