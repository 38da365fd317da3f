from pathlib import Path
from typing import Any

import pytest

from serve_app.profiles import Choices, ProfileError, Rendered, render
from serve_app.settings import AppSettings
from tests.environment_examples import TURBO, look_up


def rendered(profile: str, **choices: Any) -> Rendered:
    return render(profile, Choices(**choices), lambda: 0)


def write(tmp_path: Path, text: str, name: str = "profile.yaml") -> str:
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def short(tmp_path: Path, args: str, deployments: str = "[]", rest: str = "") -> str:
    """Write a profile with these parts, each in YAML; return its path."""
    app = f"import_path: 'serve_app.app:app', args: {args}, deployments: {deployments}"
    return write(tmp_path, f"applications: [{{{app}}}]\n{rest}")


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


def test_a_diarizer_goes_with_its_settings() -> None:
    config = rendered("demo-diarization", assignments=("args.diarization=null",)).config
    names = [one["name"] for one in config["applications"][0]["deployments"]]
    assert names == ["Ingress", "AudioPreprocessor", "WhisperTranscriber-demo"]


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
        ("args.vad.threshold=50", "threshold must lie in"),
        ("args.models.compute_type=fp16", "args: models.0.compute_type: .*'bfloat16'"),
        ("args.models.compute_type=''", "args: models.0.compute_type"),
        ("args.models=null", "args: models"),
        ("deployments.Ingress=3", "deployments.Ingress"),
        ("deployments.Ingress.max_ongoing_requests=many", "Ingress: max_ongoing_requests"),
        (f"{TURBO}.user_config.batch=3", "user_config: batch"),
        (f"{TURBO}.user_config.max_batch_size=many", "max_batch_size"),
    ],
)
def test_a_setting_that_is_not_known_or_not_valid_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ProfileError, match=reason) as caught:
        rendered("turbo", assignments=(text,))
    assert "\n" not in str(caught.value)


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
            "deployments.0.name: Field required",
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
        ("::1", "http://[::1]:81"),
        ("10.0.0.1", "http://10.0.0.1:81"),
    ],
)
def test_a_caller_on_the_machine_finds_the_api(host: str, url: str) -> None:
    assert rendered("turbo", host=host, port=81).url == url
