"""The benchmark's quick form against a server that answers each file by its content."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from benchmarks import http_load
from benchmarks.results import Report
from benchmarks.utterances import speech_clips
from tests.transcription_server import transcription_server

AT_MOST = ("--max-requests", "60")
AUDIO = [clip.audio for clip in speech_clips(4, 1.0)]
TEXTS = ["one two three", "four five six", "seven eight nine", "zero ten eleven"]


def own_text(body: bytes) -> tuple[int, str]:
    return 200, next(text for audio, text in zip(AUDIO, TEXTS, strict=True) if audio in body)


def measured(answer: Callable[[bytes], tuple[int, str]], out: Path, *arguments: str) -> Any:
    command = click.Command("http_load", params=[*http_load.OPTIONS])
    with transcription_server(answer) as url:
        context = command.make_context("http_load", ["--url", url, "--clip-s", "1", *arguments])
        report = Report("http_load", out, {})
        http_load.run(report, quick=True, **context.params)
        report.finish()
    return json.loads(report.path.read_text())


def test_any_server_gets_a_curve_of_checked_answers(tmp_path: Path) -> None:
    content = measured(own_text, tmp_path, *AT_MOST)
    assert [row["kind"] for row in content["rows"]] == ["closed loop", "closed loop", "open loop"]
    assert [row.get("n_clients") for row in content["rows"]] == [1, 2, None]
    assert all(row["ok"] == row["sent"] > 0 for row in content["rows"])
    assert all(
        row["audio_s_per_s"] == pytest.approx(row["requests_per_s"]) for row in content["rows"]
    )
    assert all(bar["met"] for bar in content["bars"])
    assert list(tmp_path.glob("*.png"))


def test_rates_that_are_asked_for_are_offered_and_the_limit_of_goodput_counts(
    tmp_path: Path,
) -> None:
    content = measured(
        own_text, tmp_path, *("--rate", "20", "--rate", "40", "--within-s", "1e-9"), *AT_MOST
    )
    offered = [row["offered_per_s"] for row in content["rows"] if "offered_per_s" in row]
    assert offered == [20.0, 40.0]
    assert all(row["goodput_per_s"] == 0.0 < row["requests_per_s"] for row in content["rows"])
