import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from docs.settings import PARTS, read_comments, settings_table
from serve_app.settings import (
    AppSettings,
    BatchLimits,
    ModelSettings,
    TranscriberUserConfig,
    model_name,
)


def test_model_is_short_for_a_list_of_one() -> None:
    settings = AppSettings.model_validate({"model": "Systran/faster-whisper-base"})
    [model] = settings.models
    assert (model.name, model.source) == ("faster-whisper-base", "Systran/faster-whisper-base")


def test_device_goes_with_model() -> None:
    settings = AppSettings.model_validate({"model": "turbo", "device": "cuda"})
    assert settings.models[0].device == "cuda"


def test_model_and_models_together_are_refused() -> None:
    with pytest.raises(ValidationError, match="not both"):
        AppSettings.model_validate({"model": "a", "models": [{"name": "b", "source": "c"}]})


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="batch_window"):
        AppSettings.model_validate({"batch_window": 3})
    with pytest.raises(ValidationError, match="batch_size"):
        TranscriberUserConfig.model_validate({"batch_size": 3})


def test_an_unknown_key_of_the_vad_is_refused() -> None:
    with pytest.raises(ValidationError, match="min_silence_ms"):
        AppSettings.model_validate({"vad": {"min_silence_ms": 300}})


@pytest.mark.parametrize(
    "args",
    [
        {"model": None},
        {"model": ""},
        {"models": [{"name": "m", "source": ""}]},
        {"diarization": {"source": ""}},
    ],
)
def test_a_source_is_a_text_that_is_not_empty(args: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"source\n.*(string|character)"):
        AppSettings.model_validate(args)


@pytest.mark.parametrize("temperature", [-1, 5, math.nan])
def test_a_models_temperatures_have_the_range_of_a_requests(temperature: float) -> None:
    with pytest.raises(ValidationError, match="temperatures"):
        ModelSettings(name="m", source="s", temperatures=(0.0, temperature))


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_no_number_is_endless(value: float) -> None:
    for args in ({"request_timeout_s": value}, {"audio": {"slice_s": value}}):
        with pytest.raises(ValidationError, match="finite"):
            AppSettings.model_validate(args)


def test_a_range_of_the_vad_is_told_as_a_setting_is() -> None:
    with pytest.raises(ValidationError, match=r"vad\n.*threshold must lie in"):
        AppSettings.model_validate({"vad": {"threshold": 50}})


@pytest.mark.parametrize(
    ("args", "outer"),
    [
        ({"audio": {"decode_timeout_s": 900}}, "slice_timeout_s, which is 120"),
        ({"audio": {"slice_timeout_s": 20}}, "slice_timeout_s, which is 20"),
        (
            {"models": [{"name": "m", "source": "s", "batch_timeout_s": 900}]},
            "retry.try_timeout_s, which is 300",
        ),
        ({"retry": {"try_timeout_s": 60}}, "retry.try_timeout_s, which is 60"),
        ({"diarization": {"file_timeout_s": 9000}}, "request_timeout_s, which is 3600"),
    ],
)
def test_a_time_limit_that_could_never_act_is_refused(args: dict[str, Any], outer: str) -> None:
    with pytest.raises(ValidationError, match=f"must not lie above {outer}: lower the one"):
        AppSettings.model_validate(args)


def test_a_request_may_be_shorter_than_a_diarizers_default() -> None:
    settings = AppSettings.model_validate({"request_timeout_s": 600, "diarization": {}})
    assert settings.request_timeout_s == 600


def test_too_few_ongoing_requests_to_fill_a_batch_are_refused_with_the_number_that_does() -> None:
    BatchLimits(max_ongoing_requests=32, max_batch_size=16, n_workers=2).check()
    with pytest.raises(ValueError, match="32 or more"):
        BatchLimits(max_ongoing_requests=31, max_batch_size=16, n_workers=2).check()


def test_limits_that_leave_the_device_idle_are_told() -> None:
    enough = BatchLimits(max_ongoing_requests=48, max_batch_size=16, n_workers=2)
    tight = BatchLimits(max_ongoing_requests=47, max_batch_size=16, n_workers=2)
    assert enough.idle_warning() is None
    assert "48 or more" in (tight.idle_warning() or "")


def test_two_models_must_not_share_a_name() -> None:
    models = [{"name": "a", "source": "x"}, {"name": "b", "source": "y", "aliases": ["a"]}]
    with pytest.raises(ValidationError, match="share"):
        AppSettings.model_validate({"models": models})


@pytest.mark.parametrize(
    ("source", "name"),
    [("org/my_model", "my_model"), ("/data/models/tiny/", "tiny"), ("turbo", "turbo")],
)
def test_a_models_name_is_the_last_part_of_its_source(source: str, name: str) -> None:
    assert model_name(source) == name


@pytest.mark.parametrize(("source", "max_chunk_s"), [("embedded", 5.0), ("turbo", 30.0)])
def test_the_embedded_model_has_shorter_chunks_unless_told_otherwise(
    source: str, max_chunk_s: float
) -> None:
    assert ModelSettings(name="m", source=source).max_chunk_s == max_chunk_s
    assert ModelSettings(name="m", source=source, max_chunk_s=20).max_chunk_s == 20


def test_readme_has_the_table_of_every_setting() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert settings_table() in readme, "python -m docs.settings writes it"


def test_every_setting_has_a_meaning_in_that_table() -> None:
    silent = [
        f"{prefix}{name}"
        for prefix, part in PARTS.items()
        for name, meaning in read_comments(part).items()
        if not meaning and f"`{prefix}{name}`" in settings_table()
    ]
    assert silent == []
    assert "`models[].tokens_per_s`" in settings_table()
