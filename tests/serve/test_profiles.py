"""Rendered configs against Ray's own schema, and one that runs. Only the last test starts Ray."""

import re
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import (
    DeploymentSchema,
    HTTPOptionsSchema,
    LoggingConfig,
    RayActorOptionsSchema,
    ServeApplicationSchema,
    ServeDeploySchema,
)
from ray.util.accelerators import accelerators

from serve_app.profiles import Choices, overlay_names, profile_names, render
from serve_app.profiles.placement import ACCELERATORS
from tests.clips import DATA, references
from tests.environment_examples import EXAMPLES, Example, look_up
from tests.serve.test_wheel import clean_environment
from tests.servers import free_port

START_LIMIT_S = 150


def rendered(profile: str, **choices: Any) -> dict[str, Any]:
    return render(profile, Choices(**choices), lambda: 0).config


def accept(config: dict[str, Any]) -> dict[str, Any]:
    """Return what Serve takes over from a config, with every option known to it."""
    closed = {
        ServeDeploySchema: [config],
        HTTPOptionsSchema: [config["http_options"]],
        LoggingConfig: [config["logging_config"]],
        ServeApplicationSchema: config["applications"],
        DeploymentSchema: config["applications"][0]["deployments"],
    }
    options = config["applications"][0]["deployments"]
    closed[AutoscalingConfig] = [one.get("autoscaling_config", {}) for one in options]
    closed[RayActorOptionsSchema] = [one["ray_actor_options"] for one in options]
    for schema, parts in closed.items():
        for part in parts:
            assert part.keys() <= schema.model_fields.keys()
    with warnings.catch_warnings():
        # Deprecated, and the only setting that acts: the variables that are to replace it are not
        # read yet.
        warnings.filterwarnings("ignore", message="The `metrics_interval_s` field")
        for one in closed[AutoscalingConfig]:
            AutoscalingConfig.model_validate(one)
        taken = ServeDeploySchema.model_validate(config)
    return taken.model_dump(exclude_unset=True)


@pytest.mark.parametrize("profile", profile_names())
def test_serve_takes_every_profile_and_knows_all_its_options(profile: str) -> None:
    accept(rendered(profile))


@pytest.mark.parametrize("overlay", [name for name in overlay_names() if name != "vram-saver"])
def test_serve_takes_every_overlay_over_every_profile(overlay: str) -> None:
    for profile in profile_names():
        accept(rendered(profile, overlays=(overlay,)))


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_what_a_variable_changes_reaches_serve(example: Example) -> None:
    config = rendered(example.profile, environment={example.name: example.text})
    assert look_up(accept(config), example.path) == example.value


@pytest.mark.parametrize("name", ["WHISPER__MODEL_TTL", "WHISPER__DEVICE_INDEX"])
def test_serve_takes_a_fixed_number_of_replicas_that_a_variable_changes(
    tmp_path: Path, name: str
) -> None:
    config = rendered("turbo")
    options = config["applications"][0]["deployments"][-1]
    options.pop("autoscaling_config")
    options["num_replicas"] = 4
    path = tmp_path / "fixed.yaml"
    path.write_text(yaml.safe_dump(config))
    accept(rendered(str(path)))
    accept(rendered(str(path), environment={name: "0"}))


def test_the_names_of_accelerators_are_rays() -> None:
    names = {value for key, value in vars(accelerators).items() if key.startswith("NVIDIA_")}
    assert set(ACCELERATORS) == names


@pytest.fixture
def turbo_on_cpu(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The turbo profile on the CPU with the embedded weights, changed by the environment."""
    port = free_port()
    command = [sys.executable, "-c", "from serve_app.cli import main; main()", "serve", "turbo"]
    words = ["--device", "cpu", "--set", "args.models.source=embedded"]
    environment = {
        **clean_environment(),
        "WHISPER__BATCH_SIZE": "3",
        "API_KEY": "s3cret",
        "UVICORN_PORT": str(port),
    }
    log = tmp_path / "log.txt"
    with log.open("w") as out:
        process = subprocess.Popen([*command, *words], stdout=out, stderr=out, env=environment)
    try:
        deadline_s = time.monotonic() + START_LIMIT_S
        while "Ctrl-C stops it." not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline_s, log.read_text()
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}", log
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 128 + signal.SIGTERM


def test_a_profile_for_gpus_answers_from_a_cpu_as_the_environment_says(
    turbo_on_cpu: tuple[str, Path],
) -> None:
    url, log = turbo_on_cpu

    def ask(headers: dict[str, str]) -> requests.Response:
        with (DATA / "light.flac").open("rb") as file:
            return requests.post(
                f"{url}/v1/audio/transcriptions", files={"file": file}, headers=headers, timeout=60
            )

    assert ask({}).status_code == 401
    assert ask({"Authorization": "Bearer s3cret"}).json()["text"] == references()["light"]
    assert re.search(r"model=turbo max_batch_size=3 \(asked for: 3\)", log.read_text())
    assert "s3cret" not in log.read_text()
