"""What README shows a caller, run against the real graph with nothing but the address changed."""

import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import srt
from click.testing import CliRunner
from ray import serve

from serve_app.cli import main
from tests.clips import DATA, clip, encode, references
from tests.serve.conftest import TIMEOUT_S, Graph

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
ADDRESS = "http://127.0.0.1:8000"
SAMPLE = (ROOT / "serve_app/assets/sample/sample.txt").read_text().strip()


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [content for name, content in found if name == language]


def curl_lines() -> list[str]:
    """Every call of curl, with the lines that continue it."""
    found = [line for block in blocks("") for line in re.split(r"(?<!\\)\n", block)]
    return [line for line in found if line.startswith("curl ") and not needs_diarizer(line)]


def needs_diarizer(line: str) -> bool:
    """Tell whether a call is for another profile; test_diarization.py runs that one."""
    return "diarized_json" in line and "multichannel" not in line


def python_block(holding: str) -> str:
    [found] = [block for block in blocks("python") if holding in block]
    return found


def is_srt(text: str) -> bool:
    return " ".join(cue.content for cue in srt.parse(text)) == SAMPLE


def is_verbose(text: str) -> bool:
    return " ".join(word["word"] for word in json.loads(text)["words"]) == SAMPLE


def is_stream(text: str) -> bool:
    return "transcript.text.delta" in text and text.endswith("data: [DONE]\n\n")


# By what only that line holds.
ANSWERS: dict[str, Callable[[str], bool]] = {
    "sample.flac": lambda text: json.loads(text)["text"] == SAMPLE,
    "response_format=srt": is_srt,
    "granularities[]=word": is_verbose,
    "stream=true": is_stream,
    "response_format=text": lambda text: text == f"{SAMPLE}\n",
    "multichannel": lambda text: {s["speaker"] for s in json.loads(text)["segments"]} == {"A", "B"},
    "/v1/models": lambda text: [m["id"] for m in json.loads(text)["data"]] == ["demo"],
    "POST": lambda text: json.loads(text)["state"] == "ready",
    "/api/ps": lambda text: json.loads(text)["models"] == ["demo"],
    "/speech/timestamps": lambda text: json.loads(text)[0]["end"] > 1000,
    "/language": lambda text: json.loads(text)["language"] == "english",
    "/ready": lambda text: json.loads(text) == {"status": "ready"},
}


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("line", curl_lines())
def test_a_curl_line_is_answered_as_readme_promises(line: str, graph: Graph) -> None:
    assert ADDRESS in line
    expected = [check for mark, check in ANSWERS.items() if mark in line][-1]
    command = line.replace("curl", "curl -sS --fail-with-body", 1).replace(ADDRESS, graph.url)
    made = subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    assert expected(made.stdout), made.stdout


def test_readme_shows_every_kind_of_call() -> None:
    lines = curl_lines()
    assert all(any(mark in line for line in lines) for mark in ANSWERS)


def test_the_official_client_prints_the_transcript(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(python_block("import OpenAI").replace(ADDRESS, graph.url), {})
    assert printed.getvalue() == f"{SAMPLE}\n"


def test_a_python_caller_prints_the_transcript(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clip.mp3").write_bytes(encode(clip("light"), "mp3", "libmp3lame"))
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(python_block("clip.mp3"), {})
    assert printed.getvalue().startswith(references()["light"])


def printed_by(block: str) -> str:
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(block, {"__name__": "__main__"})
    return printed.getvalue()


def test_an_app_of_ones_own_takes_the_handle(graph: Graph) -> None:
    block = python_block("class Minutes").replace("/recordings", str(DATA))
    try:
        assert printed_by(block) == f"{[references()['meeting']]}\n"
    finally:
        serve.delete("minutes")


def test_the_facade_prints_the_transcript(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DATA)
    assert printed_by(python_block("made.real_time_factor")).startswith(references()["meeting"])


def test_turkish_case_is_changed_as_turkish_is_written() -> None:
    assert printed_by(python_block("to_upper")) == "İĞNE IŞIK ışık iğne\n"


def test_a_folder_becomes_lines(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray.data", reason="the extra serve_app[data] is not installed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips").mkdir()
    shutil.copy(DATA / "light.flac", "clips")
    block = python_block("read_binary_files").replace("/recordings", str(tmp_path / "clips"))
    printed_by(block.replace("n_workers=2, ", ""))
    [row] = (tmp_path / "out.jsonl").read_text().splitlines()
    assert json.loads(row)["text"] == references()["light"]


def test_the_command_lines_do_what_they_show(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [ln for block in blocks("") for ln in block.splitlines() if "serve-app tr" in ln]
    made = []
    for line in lines:
        words = line.replace(ADDRESS, graph.url).split()[1:]
        stdin = (ROOT / words.pop()).read_bytes() if "<" in words else None
        words = [word.replace("tests/data", str(DATA)) for word in words if word != "<"]
        monkeypatch.chdir(tmp_path)
        made.append(CliRunner().invoke(main, words, input=stdin))
    assert [answer.exit_code for answer in made] == [0, 0, 0, 0]
    assert "are done already" in made[1].stderr
    assert json.loads(made[2].stdout)["text"] == references()["meeting"]
    assert (tmp_path / "out" / "train.txt").read_text() == references()["train"] + "\n"
