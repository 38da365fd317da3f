import fcntl
import io
import json
import os
import pty
import shlex
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import click
import pytest
import srt
from click.testing import CliRunner, Result

from docs.terminal import run as terminal_run
from docs.terminal import screen
from serve_app import local
from serve_app.cli import main
from serve_app.cli.transcribe.inputs import Source
from serve_app.cli.transcribe.outputs import plan_outputs, write_whole
from serve_app.cli.transcribe.wanted import to_chunks
from serve_app.domain import ResponseFormat
from tests.clips import DATA, encode, references, speech

LIGHT, TRAIN = DATA / "light.flac", DATA / "train.flac"
PROGRAM = [sys.executable, "-c", "from serve_app.cli import main; main()", "transcribe"]


def run(*words: str | Path, stdin: bytes | None = None) -> Result:
    command = ["transcribe", "-m", "embedded", *map(str, words)]
    return CliRunner().invoke(main, command, input=stdin)


def test_one_file_is_printed_and_nothing_else_on_stdout() -> None:
    answer = run(LIGHT)
    assert (answer.exit_code, answer.stdout) == (0, references()["light"] + "\n")
    assert "real-time factor" in answer.stderr


def test_several_formats_become_files_and_a_second_run_skips_them(tmp_path: Path) -> None:
    words = (DATA / "t*.flac", "--response-format", "srt", "vtt", "json", "--output-dir", tmp_path)
    answer = run(*words)
    assert answer.exit_code == 0
    stems = sorted(path.stem for path in DATA.glob("t*.flac"))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(f"{stem}.{kind}" for stem in stems for kind in ("srt", "vtt", "json"))
    assert json.loads((tmp_path / "train.json").read_text())["text"] == references()["train"]
    [cue] = srt.parse((tmp_path / "train.srt").read_text())
    assert cue.content == references()["train"]
    assert len(answer.stderr.splitlines()) == len(stems) + 1  # the model, and a line for each
    (tmp_path / "train.vtt").unlink()
    again = run(*words, "--resume")
    assert again.exit_code == 0
    assert f"{len(stems) - 1} of {len(stems)} files are done already" in again.stderr
    assert "[1/1]" in again.stderr
    assert (tmp_path / "train.vtt").is_file()


def test_nothing_is_loaded_where_all_is_done(tmp_path: Path) -> None:
    (tmp_path / "light.txt").write_text("as it was")
    answer = run(LIGHT, "-m", "no/such-model", "-o", tmp_path, "--resume")
    assert answer.exit_code == 0
    assert (tmp_path / "light.txt").read_text() == "as it was"


def test_the_standard_input_is_a_file() -> None:
    answer = run("-", "-f", "json", stdin=LIGHT.read_bytes())
    assert json.loads(answer.stdout)["text"] == references()["light"]


def test_a_bad_file_fails_alone_and_the_exit_status_tells(tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no audio")
    answer = run(bad, LIGHT)
    assert answer.exit_code == 1
    assert answer.stdout == f"==> {LIGHT} <==\n{references()['light']}\n"
    assert "bad.wav: failed: " in answer.stderr
    assert "(invalid_audio)" in answer.stderr


def test_a_folder_that_cannot_be_written_is_told_for_its_file(tmp_path: Path) -> None:
    (tmp_path / "light.txt").mkdir()
    answer = run(LIGHT, "-o", tmp_path)
    assert answer.exit_code == 1
    assert "light.flac: failed:" in answer.stderr
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] in ([], [".light.txt.part"])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "Name the files"),
        (("/no/such.wav",), "no file"),
        (("/no/such*.wav",), "no file"),
        ((DATA,), "folder"),
        (("https://example.org/a.mp3",), "address"),
        ((LIGHT, "-f", "srt", "json"), "--output-dir"),
        ((LIGHT, "-f", "xml"), "xml"),
        ((LIGHT, "--resume"), "--output-dir"),
        ((LIGHT, "--beam-size", "99"), "beam_size"),
        ((LIGHT, "--field", "temperature"), "NAME=VALUE"),
        ((LIGHT, "--field", "nonsense=1"), "nonsense"),
        ((LIGHT, "--field", "stream=true"), "stream"),
        ((LIGHT, TRAIN, "--transcript-path", "out.json"), "one file"),
        ((LIGHT, "--device-id", "mps"), "GPU's number"),
        ((LIGHT, "--num-speakers", "2"), "diarize"),
        ((LIGHT, "--diarize", "--num-speakers", "2", "--min-speakers", "2"), "min_speakers"),
        ((LIGHT, "--url", "http://127.0.0.1:9", "--batch-size", "3"), "--batch-size"),
        ((LIGHT, "--url", "http://127.0.0.1:9", "--diarization_model", "x/y"), "--diarization-mo"),
    ],
    ids=lambda value: None if isinstance(value, tuple) else str(value),
)
def test_what_cannot_be_meant_is_told_before_anything_is_loaded(
    words: tuple[Any, ...], reason: str
) -> None:
    answer = run(*words)
    assert answer.exit_code == 2
    assert reason in answer.stderr.splitlines()[-1]


def test_files_of_one_name_keep_their_suffix_and_the_same_name_is_refused(tmp_path: Path) -> None:
    for name in ("a.wav", "a.flac", "sub/a.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(LIGHT.read_bytes())
    out = tmp_path / "out"
    assert run(tmp_path / "a.wav", tmp_path / "a.flac", "-o", out).exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == ["a.flac.txt", "a.wav.txt"]
    answer = run(tmp_path / "**" / "a.wav", "-o", out)
    assert answer.exit_code == 2
    assert "a.wav" in answer.stderr


def test_insanely_fast_whispers_spellings_are_known(tmp_path: Path) -> None:
    path = tmp_path / "output.json"
    words = ("--file-name", LIGHT, "--transcript-path", path, "--timestamp", "word")
    answer = run(*words, "--hf-token", "hf_planted", "--task", "transcribe", "--batch-size", "24")
    assert answer.exit_code == 0
    assert "batches of 24" in answer.stderr
    made = json.loads(path.read_text())
    assert made["text"] == references()["light"]
    assert [chunk["text"] for chunk in made["chunks"]] == references()["light"].split()
    assert all(start <= end for start, end in (chunk["timestamp"] for chunk in made["chunks"]))
    segments = run(LIGHT, "--transcript-path", path, "--timestamp", "chunk")
    assert segments.exit_code == 0
    assert len(json.loads(path.read_text())["chunks"]) == 1


def test_the_speakers_of_a_server_are_in_that_json_too() -> None:
    piece = {"start": 0.0, "end": 1.0, "text": "hello"}
    verbose = {"text": "hello", "segments": [{**piece, "speaker": "A"}, piece]}
    made = json.loads(to_chunks(verbose, words=False))
    assert made["speakers"] == [{"speaker": "A", "timestamp": [0.0, 1.0], "text": "hello"}]
    assert len(made["chunks"]) == 2


def test_options_reach_the_model() -> None:
    assert run(LIGHT, "--max-new-tokens", "2").stdout.strip() != references()["light"]
    assert run(LIGHT, "--field", "clip_timestamps=0,0.2").stdout.strip() != references()["light"]
    brackets = ("--field", "chunking_strategy[type]=server_vad")
    brackets += ("--field", "chunking_strategy[threshold]=0.6")
    assert run(LIGHT, *brackets).stdout.strip() == references()["light"]
    assert (
        "float32, batches of 2"
        in run(LIGHT, "--compute-type", "float32", "--device", "cpu", "--batch-size", "2").stderr
    )
    words = json.loads(run(LIGHT, "-f", "verbose_json", "--word-timestamps").stdout)["words"]
    assert [word["word"] for word in words] == references()["light"].split()


def test_a_server_that_is_not_there_fails_every_file() -> None:
    answer = run(LIGHT, "--url", "http://127.0.0.1:9")
    assert answer.exit_code == 1
    assert "failed" in answer.stderr


def test_a_terminal_gets_a_bar_with_the_time_left_and_a_pipe_gets_none(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    command = [*PROGRAM, "-m", "embedded", str(LIGHT), str(TRAIN), "-o", str(tmp_path)]
    made = subprocess.run(command, stderr=follower, check=True, timeout=120)
    os.close(follower)
    with io.FileIO(leader) as terminal:
        shown = terminal.read(65536).decode()
    assert made.returncode == 0
    for part in ("100%|", "2/2 files", "real-time factor", " left", str(tmp_path / "light.txt")):
        assert part in shown
    assert "%|" not in run(LIGHT).stderr


def test_a_transcript_on_a_terminal_has_lines_of_its_own_beside_the_bar(tmp_path: Path) -> None:
    exit_code, stream = terminal_run(f"{shlex.join(PROGRAM)} -m embedded {LIGHT}", tmp_path)
    assert exit_code == 0
    assert references()["light"] in screen(stream).splitlines()


def test_interrupting_keeps_what_is_done_and_says_how_to_go_on(tmp_path: Path) -> None:
    long = tmp_path / "long.wav"
    long.write_bytes(encode(speech(1800)))
    command = [*PROGRAM, "-m", "embedded", str(LIGHT), str(long), "-o", str(tmp_path / "out")]
    # What a shell starts in the background ignores Ctrl-C, and so would this.
    command = ["env", "--default-signal=INT", *command]
    program = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline_s = time.monotonic() + 60
    while not (tmp_path / "out" / "light.txt").is_file():
        assert time.monotonic() < deadline_s, "the short file was not written"
        time.sleep(0.05)
    program.send_signal(signal.SIGINT)
    _, told = program.communicate(timeout=60)
    assert program.returncode == 130
    assert "--resume goes on" in told
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["light.txt"]


def test_interrupting_while_the_model_loads_is_an_interruption_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[int] = []

    def end(code: int) -> None:
        ended.append(code)
        raise SystemExit(code)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(local, "load", interrupted)
    monkeypatch.setattr(os, "_exit", end)
    answer = run(LIGHT)
    assert ended == [130]
    assert "0 of 1 files were done" in answer.stderr


def test_a_folder_that_cannot_be_written_to_is_told_before_anything_is_transcribed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(local, "load", None)  # it is not called
    answer = run(LIGHT, "-o", tmp_path / "file" / "folder")
    assert answer.exit_code == 2
    assert "cannot be made: Not a directory" in answer.stderr


def test_a_name_that_is_not_text_stops_no_file(tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/a\xff.flac"
    Path(os.fsdecode(odd)).write_bytes(LIGHT.read_bytes())
    made = subprocess.run(
        [*map(os.fsencode, PROGRAM), b"-m", b"embedded", odd, os.fsencode(TRAIN)],
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    for name in ("light", "train"):
        assert references()[name] in made.stdout.decode()


def test_names_that_meet_in_one_file_are_refused() -> None:
    sources = [Source(name="a.wav"), Source(name="a.verbose.wav")]
    formats = [ResponseFormat.JSON, ResponseFormat.VERBOSE_JSON]
    with pytest.raises(click.UsageError, match=r"a\.verbose\.json"):
        plan_outputs(sources, Path("out"), formats)


def test_a_file_is_whole_however_many_write_it_and_its_name_may_be_as_long_as_any(
    tmp_path: Path,
) -> None:
    path = tmp_path / ("a" * 251 + ".txt")
    content = "x" * 1_000_000
    with ThreadPoolExecutor(2) as pool:
        writing = [pool.submit(write_whole, path, content) for _ in range(40)]
        while not all(one.done() for one in writing):
            assert not path.is_file() or path.stat().st_size == len(content)
        assert [one.exception() for one in writing] == [None] * 40
    assert list(tmp_path.iterdir()) == [path]


class PlantedServer(BaseHTTPRequestHandler):
    """Is busy at first; then refuses what is not audio, and tells what it was asked."""

    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.asked.append(f"{self.path} {self.headers['authorization']} {len(body) > 1000}")
        if len(self.asked) == 1:
            self._answer(503, {"error": {"message": "busy", "code": "queue_full"}})
        elif b"fLaC" in body:
            self._answer(200, {"text": "heard", "usage": {}})
        else:
            self._answer(400, {"error": {"message": "Not audio.", "code": "invalid_audio"}})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


def test_a_servers_answers_and_refusals_are_passed_on_and_its_pauses_kept(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    with ThreadingHTTPServer(("127.0.0.1", 0), PlantedServer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        answer = run(
            *(LIGHT, tmp_path / "bad.wav", "--url", url, "--api-key", "secret", "--jobs", "1"),
            *("-o", tmp_path, "-f", "json", "--task", "translate"),
        )
        server.shutdown()
    assert answer.exit_code == 1
    assert json.loads((tmp_path / "light.json").read_text())["text"] == "heard"
    assert "bad.wav: failed: Not audio. (invalid_audio)" in answer.stderr
    [busy, heard, refused] = PlantedServer.asked
    assert busy == heard == "/v1/audio/translations Bearer secret True"
    assert refused == "/v1/audio/translations Bearer secret False"
