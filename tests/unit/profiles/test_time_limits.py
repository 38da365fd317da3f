from pathlib import Path

import pytest

from serve_app.profiles import ProfileError
from tests.environment_examples import TURBO, look_up
from tests.unit.profiles.test_rendering import rendered, short


def test_limits_of_serve_follow_a_longer_request_and_say_so() -> None:
    made = rendered(
        "turbo", overlays=("diarization",), assignments=("args.request_timeout_s=7200",)
    )
    assert look_up(made.config, "http_options.request_timeout_s") == 7260
    for name in ("Ingress", "SpeakerDiarizer"):
        assert look_up(made.config, f"deployments.{name}.graceful_shutdown_timeout_s") == 7200
    assert [note for note in made.notes if "raised from 3600 to 7200" in note] == [
        f"{name}: graceful_shutdown_timeout_s is raised from 3600 to 7200."
        for name in ("Ingress", "SpeakerDiarizer")
    ]
    assert "http_options.request_timeout_s is raised from 3660 to 7260." in made.notes


@pytest.mark.parametrize(
    ("text", "deployment"),
    [
        ("args.audio.slice_timeout_s=400", "deployments.AudioPreprocessor"),
        ("args.retry.try_timeout_s=400", TURBO),
    ],
)
def test_a_replica_that_is_replaced_has_as_long_as_its_callers_wait(
    text: str, deployment: str
) -> None:
    config = rendered("turbo", assignments=(text,)).config
    assert look_up(config, f"{deployment}.graceful_shutdown_timeout_s") == 400


def test_a_shorter_limit_changes_no_other() -> None:
    assert rendered("turbo", assignments=("args.request_timeout_s=60",)).notes == ()


@pytest.mark.parametrize(
    "assignments",
    [
        ("http_options.request_timeout_s=60",),
        ("http_options.request_timeout_s=3600",),
        ("http_options.request_timeout_s=60", "args.request_timeout_s=7200"),
    ],
)
def test_a_limit_of_serve_below_the_apps_is_refused(assignments: tuple[str, ...]) -> None:
    with pytest.raises(ProfileError, match=r"must lie above .*raise the one or lower the other"):
        rendered("turbo", assignments=assignments)


def test_a_limit_within_the_app_is_refused_with_what_to_do() -> None:
    with pytest.raises(ProfileError) as caught:
        rendered("turbo", assignments=("args.models.batch_timeout_s=900",))
    assert str(caught.value) == (
        "args: turbo: batch_timeout_s is 900 and must not lie above retry.try_timeout_s, which is "
        "300: lower the one or raise the other"
    )


def test_serve_may_have_no_limit_or_a_lower_one_over_a_lower_one_of_the_app(tmp_path: Path) -> None:
    assert rendered(short(tmp_path, "{model: base}")).notes == ()
    lower = ("http_options.request_timeout_s=60", "args.request_timeout_s=50")
    assert look_up(rendered("turbo", assignments=lower).config, "args.request_timeout_s") == 50
