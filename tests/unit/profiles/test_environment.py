from pathlib import Path
from typing import Any

import pytest

from serve_app.profiles import NAMES, Choices, ProfileError, Rendered, environment_table, render
from serve_app.settings import AppSettings, TranscriberUserConfig
from tests.environment_examples import DISTIL, EXAMPLES, TURBO, Example, look_up


def rendered(profile: str, **environment: str) -> Rendered:
    return render(profile, Choices(environment=environment), lambda: 0)


def settings_of(config: dict[str, Any]) -> AppSettings:
    return AppSettings.model_validate(config["applications"][0]["args"])


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_a_variable_changes_the_config_at_its_place(example: Example) -> None:
    before = rendered(example.profile).config
    after = rendered(example.profile, **{example.name: example.text}).config
    assert look_up(after, example.path) == example.value
    assert look_up(before, example.path) != example.value


def test_every_variable_has_an_example_or_says_that_it_changes_nothing() -> None:
    examples = {example.name for example in EXAMPLES}
    assert examples == {name.name for name in NAMES if not name.no_meaning}


@pytest.mark.parametrize("name", [name for name in NAMES if name.no_meaning], ids=lambda n: n.name)
def test_a_variable_without_a_meaning_here_is_told_in_one_line(name: Any) -> None:
    made = rendered("turbo", **{name.name: "x"})
    assert made.config == rendered("turbo").config
    [note] = made.notes
    assert name.name in note
    assert "\n" not in note


def test_what_reaches_the_models_settings_is_valid_there() -> None:
    config = rendered(
        "turbo",
        WHISPER__COMPUTE_TYPE="int8_float16",
        WHISPER__NUM_WORKERS="2",
        WHISPER__CPU_THREADS="4",
        ALLOW_ORIGINS='["*"]',
        API_KEY="secret",
    ).config
    settings = settings_of(config)
    model = settings.models[0]
    assert (model.compute_type, model.n_workers, model.cpu_threads) == ("int8_float16", 2, 4)
    assert settings.api.allow_origins == ("*",)
    assert settings.api.keys_env == "API_KEY"


def test_what_reaches_a_user_config_is_valid_there() -> None:
    config = rendered("turbo", WHISPER__BATCH_SIZE="320", WHISPER__BATCH_WINDOW_MS="100").config
    user_config = TranscriberUserConfig.model_validate(look_up(config, f"{TURBO}.user_config"))
    assert (user_config.max_batch_size, user_config.batch_wait_timeout_s) == (320, 0.1)


def test_limits_follow_a_larger_batch_and_say_so() -> None:
    made = rendered("turbo", WHISPER__BATCH_SIZE="512")
    assert settings_of(made.config).max_chunks_in_flight == 1024
    assert look_up(made.config, f"{TURBO}.max_ongoing_requests") == 4096
    assert len(made.notes) == 2


def test_limits_of_a_small_profile_follow_too() -> None:
    settings = settings_of(rendered("demo", WHISPER__BATCH_SIZE="512").config)
    assert settings.max_chunks_in_flight == 1024
    assert settings.models[0].max_queued_chunks == 1024


def queues(config: dict[str, Any]) -> list[int]:
    return [model.max_queued_chunks for model in settings_of(config).models]


@pytest.mark.parametrize(
    ("choices", "expected", "risen"),
    [
        ({"overlays": ("ultra-throughput",)}, [1024, 768, 768], "large-v3: {} from 512 to 768."),
        (
            {"environment": {"WHISPER__BATCH_SIZE": "300"}},
            [1024, 768, 600],
            "large-v3: {} from 512 to 600.",
        ),
    ],
)
def test_only_the_queues_that_are_too_short_are_raised(
    choices: dict[str, Any], expected: list[int], risen: str
) -> None:
    made = render("all", Choices(**choices), lambda: 0)
    assert queues(rendered("all").config) == [1024, 768, 512]
    assert queues(made.config) == expected
    notes = [note for note in made.notes if "max_queued_chunks" in note]
    assert notes == [risen.format("max_queued_chunks is raised")]


def test_the_lines_of_a_halkspeech_container_are_taken_as_they_are() -> None:
    made = rendered(
        "turbo",
        WHISPER__PRELOAD_MODEL="true",
        WHISPER__USE_BATCHED_MODE="true",
        WHISPER__BATCH_SIZE="256",
        WHISPER__BATCH_WINDOW_MS="25",
        WHISPER__INFERENCE_DEVICE="cuda",
        WHISPER__COMPUTE_TYPE="float16",
        WHISPER__CPU_THREADS="1",
        WHISPER__NUM_WORKERS="1",
        WHISPER__MAX_QUEUE_SIZE="4096",
        WHISPER__MAX_CONCURRENT_REQUESTS="1000",
        WHISPER__MODEL_TTL="-1",
        LOG_LEVEL="info",
    )
    assert made.config == rendered("turbo").config
    assert made.notes == ()


def test_the_variable_that_halkspeech_documents_goes_before_the_one_that_it_reads() -> None:
    config = rendered("turbo", STT_MODEL_TTL="60", WHISPER__MODEL_TTL="300").config
    assert look_up(config, f"{TURBO}.autoscaling_config.downscale_to_zero_delay_s") == 300


def test_never_unloading_keeps_a_model_that_is_loaded_at_the_start() -> None:
    config = rendered("all", WHISPER__MODEL_TTL="-1").config
    assert look_up(config, f"{TURBO}.autoscaling_config.min_replicas") == 1
    assert look_up(config, f"{DISTIL}.autoscaling_config.min_replicas") == 0


def test_preloading_changes_nothing_for_a_model_that_always_has_a_replica() -> None:
    # Serve goes back to initial_replicas whenever a config changes, also from many replicas.
    config = rendered("all", WHISPER__PRELOAD_MODEL="true").config
    assert look_up(config, f"{TURBO}.autoscaling_config.initial_replicas") is None


def test_an_idle_time_is_kept_where_models_are_not_loaded_at_the_start() -> None:
    config = rendered("turbo", WHISPER__MODEL_TTL="60", WHISPER__PRELOAD_MODEL="false").config
    scaling = look_up(config, f"{TURBO}.autoscaling_config")
    assert (scaling["min_replicas"], scaling["downscale_to_zero_delay_s"]) == (0, 60)
    # Not even 0: Serve would end all replicas whenever a config changes.
    assert scaling["initial_replicas"] is None


def test_models_that_wait_for_a_request_do_not_go_back_to_zero_when_a_config_changes() -> None:
    config = rendered("turbo", WHISPER__PRELOAD_MODEL="false").config
    assert "initial_replicas" not in look_up(config, f"{TURBO}.autoscaling_config")


def test_a_gpus_index_is_told_to_ray_among_the_visible_ones() -> None:
    assert rendered("turbo", WHISPER__DEVICE_INDEX="1").environment == {"CUDA_VISIBLE_DEVICES": "1"}
    made = rendered("turbo", WHISPER__DEVICE_INDEX="[1, 0]", CUDA_VISIBLE_DEVICES="4,7")
    assert made.environment == {"CUDA_VISIBLE_DEVICES": "7,4"}
    with pytest.raises(ProfileError, match="no GPU 2"):
        rendered("turbo", WHISPER__DEVICE_INDEX="2", CUDA_VISIBLE_DEVICES="4,7")


def test_a_gpus_index_is_nothing_to_a_cpu() -> None:
    made = rendered("demo", WHISPER__DEVICE_INDEX="1")
    assert made.config == rendered("demo").config
    assert made.environment == {}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("WHISPER__INFERENCE_DEVICE", "gpu"),
        ("WHISPER__DEVICE_INDEX", "-1"),
        ("WHISPER__DEVICE_INDEX", "[]"),
        ("WHISPER__DEVICE_INDEX", "true"),
        ("WHISPER__COMPUTE_TYPE", "fp8"),
        ("WHISPER__CPU_THREADS", "-1"),
        ("WHISPER__NUM_WORKERS", "0"),
        ("WHISPER__BATCH_SIZE", ""),
        ("WHISPER__BATCH_SIZE", "1.5"),
        ("WHISPER__BATCH_WINDOW_MS", "20000"),
        ("WHISPER__USE_BATCHED_MODE", "maybe"),
        ("WHISPER__MAX_QUEUE_SIZE", "0"),
        ("WHISPER__MODEL_TTL", "-2"),
        ("LOG_LEVEL", "loud"),
        ("ALLOW_ORIGINS", "https://a.example"),
        ("ALLOW_ORIGINS", "[1]"),
        ("UVICORN_HOST", "a b"),
        ("UVICORN_PORT", "70000"),
    ],
)
def test_a_bad_value_is_refused_in_one_line_that_says_what_is_expected(
    name: str, text: str
) -> None:
    with pytest.raises(ProfileError, match=rf"^{name}=.*expected .*\.$") as caught:
        rendered("turbo", **{name: text})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "two words", "one,two", "hash#tag", "ünicode"])
def test_a_bad_key_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ProfileError, match=r"^API_KEY: expected") as caught:
        rendered("turbo", API_KEY=key)
    assert not key or key not in str(caught.value)


def test_a_key_does_not_stand_in_the_config() -> None:
    assert "s3cret" not in str(rendered("turbo", API_KEY="s3cret").config)


def test_an_unknown_name_is_refused_with_those_that_are_spelled_nearly_so() -> None:
    with pytest.raises(ProfileError, match=r"WHISPER__BATCHSIZE .*WHISPER__BATCH_SIZE"):
        rendered("turbo", WHISPER__BATCHSIZE="3")


def test_other_variables_are_nobody_s_business() -> None:
    assert rendered("turbo", PATH="/bin", WHISPER="x").config == rendered("turbo").config


def test_readme_holds_the_table_of_names() -> None:
    readme = Path(__file__).parents[3] / "README.md"
    assert environment_table() in readme.read_text(encoding="utf-8")
