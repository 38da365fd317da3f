from pathlib import Path
from typing import Any

import pytest

from serve_app.profiles import Choices, ProfileError, render
from serve_app.settings import AppSettings
from tests.environment_examples import TURBO, look_up
from tests.unit.profiles.test_presets import PRODUCTION
from tests.unit.profiles.test_rendering import rendered, short


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


TURBO_ON_GPU = "{model: turbo, device: cuda}"


def test_what_the_code_takes_for_a_model_counts_where_a_profile_does_not_say_it(
    tmp_path: Path,
) -> None:
    profile = short(tmp_path, TURBO_ON_GPU)
    assert rendered(profile).gpus_needed == 1
    environment = {"WHISPER__DEVICE_INDEX": "1"}
    assert rendered(profile, environment=environment).environment == {"CUDA_VISIBLE_DEVICES": "1"}


def test_a_part_of_the_options_keeps_what_the_code_takes_beside_it(tmp_path: Path) -> None:
    made = rendered(short(tmp_path, TURBO_ON_GPU), accelerator="H100")
    options = look_up(made.config, f"{TURBO}.ray_actor_options")
    assert options == {"num_cpus": 1, "num_gpus": 1, "accelerator_type": "H100"}


def test_options_left_to_the_code_follow_the_device(tmp_path: Path) -> None:
    on_cpu = ("args.models.device=cpu",)
    assert rendered(short(tmp_path, TURBO_ON_GPU), assignments=on_cpu).gpus_needed == 0


def test_a_diarizer_on_a_gpu_is_counted_without_a_word_about_it(tmp_path: Path) -> None:
    args = "{model: base, device: cpu, diarization: {device: cuda}}"
    assert rendered(short(tmp_path, args)).gpus_needed == 1


def test_on_the_cpu_no_kind_of_gpu_is_waited_for(tmp_path: Path) -> None:
    pinned = (
        "{name: WhisperTranscriber-turbo, ray_actor_options: {num_gpus: 1, accelerator_type: T4}}"
    )
    config = rendered(short(tmp_path, TURBO_ON_GPU, f"[{pinned}]"), device="cpu").config
    assert look_up(config, f"{TURBO}.ray_actor_options.accelerator_type") is None


@pytest.mark.parametrize(
    ("device", "compute_type", "other"),
    [
        *(
            ("cpu", name, "GPU")
            for name in ("float16", "bfloat16", "int8_float16", "int8_bfloat16")
        ),
        ("cuda", "int16", "CPU"),
    ],
)
def test_a_number_type_that_no_such_device_has_is_refused(
    device: str, compute_type: str, other: str
) -> None:
    environment = {"WHISPER__COMPUTE_TYPE": compute_type}
    with pytest.raises(ProfileError, match=f"{compute_type} needs a {other}.*take"):
        rendered("turbo", device=device, environment=environment)
