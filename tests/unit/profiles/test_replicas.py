from pathlib import Path
from typing import Any

import pytest

from serve_app.profiles import ProfileError
from serve_app.profiles.replicas import make_way, n_at_start, scaling_of
from tests.environment_examples import look_up
from tests.unit.profiles.test_rendering import rendered, short, write

BASE = "deployments.WhisperTranscriber-base"


def with_replicas(tmp_path: Path, options: str, name: str = "WhisperTranscriber-base") -> str:
    return short(tmp_path, "{model: base, device: cuda}", f"[{{name: {name}, {options}}}]")


@pytest.mark.parametrize(
    ("options", "low", "start", "high"),
    [
        ({}, 1, 1, 1),
        ({"num_replicas": None}, 1, 1, 1),
        ({"num_replicas": 4}, 4, 4, 4),
        ({"num_replicas": "auto"}, 1, 1, 100),
        ({"num_replicas": "auto", "autoscaling_config": {"max_replicas": 8}}, 1, 1, 8),
        ({"autoscaling_config": {"min_replicas": 0, "initial_replicas": 1}}, 0, 1, 1),
        ({"autoscaling_config": {"min_replicas": 2, "max_replicas": 4}}, 2, 2, 4),
    ],
)
def test_replicas_are_counted_as_serve_does(
    options: dict[str, Any], low: int, start: int, high: int
) -> None:
    scaling = scaling_of(options)
    assert (scaling["min_replicas"], n_at_start(scaling), scaling["max_replicas"]) == (
        low,
        start,
        high,
    )


def test_a_fixed_number_of_replicas_needs_as_many_gpus(tmp_path: Path) -> None:
    profile = with_replicas(tmp_path, "num_replicas: 4")
    assert rendered(profile).gpus_needed == 4


def test_a_fixed_number_is_where_an_idle_time_begins(tmp_path: Path) -> None:
    profile = with_replicas(tmp_path, "num_replicas: 4")
    config = rendered(profile, environment={"WHISPER__MODEL_TTL": "60"}).config
    scaling = look_up(config, f"{BASE}.autoscaling_config")
    assert "num_replicas" not in look_up(config, BASE)
    assert (scaling["min_replicas"], scaling["initial_replicas"]) == (0, 4)
    assert (scaling["max_replicas"], scaling["downscale_to_zero_delay_s"]) == (4, 60)


def test_gpus_bound_a_fixed_number(tmp_path: Path) -> None:
    profile = with_replicas(tmp_path, "num_replicas: 4")
    config = rendered(profile, environment={"WHISPER__DEVICE_INDEX": "[0, 1]"}).config
    assert "num_replicas" not in look_up(config, BASE)
    assert look_up(config, f"{BASE}.autoscaling_config") == {"min_replicas": 2, "max_replicas": 2}


@pytest.mark.parametrize(("number", "limit"), [("4", 250), ("auto", 10)])
def test_requests_are_shared_out_over_a_fixed_number_too(
    tmp_path: Path, number: str, limit: int
) -> None:
    profile = with_replicas(tmp_path, f"num_replicas: {number}", "Ingress")
    config = rendered(profile, environment={"WHISPER__MAX_CONCURRENT_REQUESTS": "1000"}).config
    assert look_up(config, "deployments.Ingress.max_ongoing_requests") == limit


def test_a_fixed_number_ends_an_autoscaler(tmp_path: Path) -> None:
    own = write(tmp_path, "deployments: {Ingress: {num_replicas: 3}}", "own.yaml")
    ingress = look_up(rendered("turbo", overlays=(own,)).config, "deployments.Ingress")
    assert ingress["num_replicas"] == 3
    assert "autoscaling_config" not in ingress


def test_options_beside_the_number_of_replicas_stay() -> None:
    own = {"name": "a", "num_replicas": 2}
    assert make_way(own, {"max_ongoing_requests": 3}) == own


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("num_replicas: 2, autoscaling_config: {max_replicas: 2}", "give one of them"),
        ("autoscaling_config: {min_replicas: 2}", "must not fall"),
        ("autoscaling_config: {initial_replicas: 3, max_replicas: 2}", "must not fall"),
    ],
)
def test_numbers_of_replicas_that_serve_refuses_are_refused(
    tmp_path: Path, options: str, reason: str
) -> None:
    with pytest.raises(ProfileError, match=f"^WhisperTranscriber-base: .*{reason}"):
        rendered(with_replicas(tmp_path, options))
