"""`serve run` on the import path, as a workstation user types it."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from serve_app.models import locate_model
from serve_app.settings import EMBEDDED
from tests.clips import DATA, references
from tests.serve.test_wheel import clean_environment

URL = "http://127.0.0.1:8000"  # `serve run` on an import path has no option for another port
START_LIMIT_S = 120

# Tests that run in a shell's background inherit SIGINT ignored, and so would `serve run`.
WITH_CTRL_C = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_an_import_path_and_a_models_directory_are_enough(tmp_path: Path) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 8000)) == 0:
            pytest.skip("port 8000 is in use, and `serve run serve_app.app:app` takes no other")
    serve = Path(sys.executable).with_name("serve")
    command = [serve, "run", "serve_app.app:app", f"model={locate_model(EMBEDDED)}"]
    log = tmp_path / "log.txt"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", WITH_CTRL_C, *command],
            stdout=out,
            stderr=out,
            cwd=tmp_path,
            env=clean_environment(),
        )
    try:
        deadline_s = time.monotonic() + START_LIMIT_S
        while not _is_ready():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline_s, log.read_text()
            time.sleep(0.5)
        with (DATA / "light.flac").open("rb") as file:
            answer = requests.post(
                f"{URL}/v1/audio/transcriptions", files={"file": file}, timeout=60
            )
        assert answer.json()["text"] == references()["light"]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


def _is_ready() -> bool:
    try:
        return requests.get(f"{URL}/ready", timeout=5).ok
    except requests.RequestException:
        return False
