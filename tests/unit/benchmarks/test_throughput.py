import json
from pathlib import Path
from typing import Any

import click
import pytest

from benchmarks import throughput
from benchmarks.corpus import CorpusError
from benchmarks.results import Report
from benchmarks.throughput import OPTIONS, Work, summary_line


def parse(*arguments: str) -> dict[str, Any]:
    """What the command line makes of its options."""
    command = click.Command("throughput", params=list(OPTIONS))
    return command.make_context("throughput", list(arguments)).params


def test_the_line_is_that_of_vllms_offline_benchmark() -> None:
    row = {
        "word_error_rate": 0.02314,
        "requests_per_s": {"median": 35.3},
        "model": "large-v3",
        "compute_type": "float16",
        "max_batch_size": 128,
    }
    assert summary_line(row) == (
        "WER: 2.31 | throughput: 35.30 reqs/sec | model: large-v3 | compute_type: float16 | "
        "max_batch_size: 128"
    )


def test_max_num_seqs_is_the_batch_size() -> None:
    assert parse("--max-num-seqs", "64") == parse("--max-batch-size", "64")
    assert parse("--max-num-seqs", "64")["max_batch_size"] == 64


def test_an_fp8_cache_is_refused_with_what_to_use_instead() -> None:
    with pytest.raises(click.BadParameter, match="--compute-type int8_float16"):
        parse("--kv-cache-type", "fp8")
    assert parse("--kv-cache-type", "auto") == parse()


def test_what_is_named_is_what_runs(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    table = tmp_path / "mine.tsv"
    table.write_text("a.wav\tmerhaba\n")
    [mine] = Work(**parse("--corpus", str(table), "--language", "tr")).corpora()
    assert (mine.name, mine.language, mine.texts) == ("mine.tsv", "tr", ["merhaba"])
    [clips] = Work(**parse("--demo")).corpora()
    assert len(clips.recordings) == 24


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--demo", "--model", "turbo"], "give it alone"),
        (["--demo", "--class", "many"], "give it alone"),
        (["--language", "tr"], "--language is that of a --corpus"),
    ],
)
def test_options_that_exclude_each_other_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(click.UsageError, match=message):
        Work(**parse(*arguments)).corpora()


def test_a_corpus_that_is_not_there_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no corpus"):
        throughput.run(
            Report("throughput", tmp_path, {}), quick=True, corpus=tmp_path / "none", model="none"
        )


def test_the_demo_gives_speeds_and_error_rates(tmp_path: Path, capsys: Any) -> None:
    report = Report("throughput", tmp_path, {"quick": True})
    throughput.run(report, quick=True, demo=True, max_batch_size=8)
    [row] = json.loads(report.path.read_text())["rows"]
    assert (row["n_files"], row["n_windows"]) == (24, 24)
    assert row["max_batch_size"] == 8
    assert 40 < row["audio_s"] < 60
    assert row["n_tokens"] > 80
    assert row["word_error_rate"] < 0.1
    for what, total in (("requests", 24), ("audio_s", row["audio_s"]), ("tokens", row["n_tokens"])):
        assert row[f"{what}_per_s"]["median"] == pytest.approx(total / row["took_s"]["median"])
    assert summary_line(row) in capsys.readouterr().out.splitlines()
    assert report.path.with_suffix(".png").is_file()


def test_a_file_that_is_no_audio_ends_the_run_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    (tmp_path / "refs.tsv").write_text("bad.wav\thello\n")
    with pytest.raises(click.ClickException, match=r"bad\.wav"):
        throughput.run(Report("throughput", tmp_path, {}), quick=True, corpus=tmp_path / "refs.tsv")
