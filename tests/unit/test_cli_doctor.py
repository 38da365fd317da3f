import os
import re
import shutil
import socket
import threading
from collections import namedtuple
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import ctranslate2
import pytest
from click.testing import CliRunner, Result

from serve_app.cli import checks, main

Usage = namedtuple("Usage", "total used free")
GOOD, BAD, OVERLOADED = "hf_good", "hf_bad", "hf_503"


class PlantedHub(BaseHTTPRequestHandler):
    """Knows one token, answers one 503, and lets nobody read gated models."""

    def do_GET(self) -> None:
        statuses = {f"Bearer {GOOD}": 200, f"Bearer {OVERLOADED}": 503}
        self._answer(statuses.get(self.headers["authorization"], 401), b'{"name": "somebody"}')

    def do_HEAD(self) -> None:
        self._answer(403, b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), PlantedHub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def run(**environment: str) -> Result:
    return CliRunner().invoke(main, ["doctor"], env={"CUDA_VISIBLE_DEVICES": "", **environment})


def levels(answer: Result, name: str) -> list[str]:
    return re.findall(rf"^(ok|warn|fail) +{name} ", answer.stdout, re.MULTILINE)


def test_without_a_gpu_it_can_transcribe_and_says_so(hub: str) -> None:
    answer = run(HF_TOKEN=GOOD, HF_ENDPOINT=hub)
    assert answer.exit_code == 0
    for name in ("python", "packages", "types", "disk", "decode"):
        assert set(levels(answer, name)) == {"ok"}
    assert levels(answer, "gpu") == ["warn"]
    assert "The CPU is used" in answer.stdout
    assert "the token is somebody's" in answer.stdout
    assert levels(answer, "hub") == ["ok", "warn"]  # the gated model's conditions
    assert "Accept its conditions" in answer.stdout
    assert "of real time" in answer.stdout


def test_a_full_disk_and_a_wrong_token_fail_each_with_its_remedy(
    hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 10**12, 10**6))
    answer = run(HF_TOKEN=BAD, HF_ENDPOINT=hub)
    assert answer.exit_code == 1
    assert levels(answer, "disk") == ["fail", "warn"]
    for variable in ("HF_HOME", "TMPDIR"):
        assert f"Make room, 5 GB, or set {variable}." in answer.stdout
    assert levels(answer, "hub") == ["fail"]
    assert "the token is refused (401)" in answer.stdout
    assert levels(answer, "decode") == ["ok"]  # the others go on
    assert "2 of" in answer.stdout.splitlines()[-1]


PLANTED_SMI = """#!/bin/sh
case "$*" in
  *memory.free*) echo 40000 ;;
  *driver_version*) echo "NVIDIA A100, 570.86.15, 40960 MiB" ;;
  *) echo "| NVIDIA-SMI 570.86.15   Driver Version: 570.86.15   CUDA Version: 12.8 |" ;;
esac
"""


def test_with_a_gpu_driver_cuda_cublas_and_the_batch_that_fits_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nvidia-smi").write_text(PLANTED_SMI)
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 1)
    monkeypatch.setattr(ctranslate2, "get_supported_compute_types", lambda name: {"float32"})
    found = {finding.name: finding for finding in checks.check_gpu()}
    assert found["driver"].text == "NVIDIA A100, 570.86.15, 40960 MiB; CUDA up to 12.8"
    assert found["gpu"].text == "CTranslate2 finds 1"
    assert re.search(r"41\.9 GB free: batches of \d+ chunks", found["memory"].text)
    lacks_cublas = found["cublas"].level is checks.Level.FAIL
    assert ("serve_app[cuda]" in found["cublas"].remedy) == lacks_cublas


def test_a_hub_that_cannot_be_reached_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", GOOD)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    [finding] = checks.check_hub()
    assert (finding.level, "cannot be reached" in finding.text) == ("warn", True)


def test_a_hub_that_does_not_answer_now_is_a_warning_and_no_fault_of_the_token(
    hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", OVERLOADED)
    monkeypatch.setenv("HF_ENDPOINT", hub)
    [finding] = checks.check_hub()
    assert (finding.level, finding.text) == ("warn", f"{hub} answers 503")


def test_a_port_in_use_is_a_warning_and_a_free_one_is_well() -> None:
    with socket.socket() as taken, socket.socket() as free:
        for probe in (taken, free):
            probe.bind(("127.0.0.1", 0))
        taken.listen()
        ports = {probe.getsockname()[1]: "HTTP" for probe in (taken, free)}
        in_use, is_free = checks.check_ports(ports)
    assert (in_use.level, is_free.level) == ("warn", "ok")
    assert "--port" in in_use.remedy


def test_a_check_that_breaks_is_a_failure_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(path: object) -> Usage:
        raise PermissionError("planted")

    monkeypatch.setattr(shutil, "disk_usage", broken)
    answer = run(HF_TOKEN="", HF_ENDPOINT="http://127.0.0.1:9")
    assert answer.exit_code == 1
    assert "PermissionError: planted" in answer.stdout
    assert levels(answer, "decode") == ["ok"]
