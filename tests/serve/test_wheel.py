"""The built wheel in a clean environment, used from another folder: what a user installs works."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers import free_port

ROOT = Path(__file__).parents[2]
DEMO_TIMEOUT_S = 150  # below the test's own, so that a slow demo shows what it printed

LIST_DATA_FILES = """
from importlib.resources import files
root = files("serve_app")
print(*(path.relative_to(root) for path in root.rglob("*")), sep="\\n")
"""
EXPECTED_DATA_FILES = {
    "py.typed",
    "configs/demo.yaml",
    "assets/sample/sample.flac",
    "assets/sample/sample.txt",
    "assets/whisper-demo-en/README.md",
    "assets/whisper-demo-en/config.json",
    "assets/whisper-demo-en/model.bin",
    "assets/whisper-demo-en/preprocessor_config.json",
    "assets/whisper-demo-en/tokenizer.json",
    "assets/whisper-demo-en/vocabulary.json",
}


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A virtual environment that holds the wheel, and a folder that holds nothing."""

    bin: Path
    elsewhere: Path

    def run(self, *command: str, timeout_s: float = 60) -> "subprocess.CompletedProcess[str]":
        """Run a command of the environment from the empty folder."""
        program, *arguments = command
        return subprocess.run(
            [self.bin / program, *arguments],
            cwd=self.elsewhere,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )


def clean_environment() -> dict[str, str]:
    """Return this environment less what could point the child at the checkout or a running Ray."""
    ours = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {
        name: value
        for name, value in os.environ.items()
        if name not in ours and not name.startswith(("RAY_", "WHISPER__"))
    }


def uv(*arguments: str | Path) -> None:
    """Run uv, and show what it said where it fails."""
    beside_python = Path(sys.executable).with_name("uv")
    program = beside_python if beside_python.is_file() else shutil.which("uv")
    assert program, "uv is part of the test extra"
    done = subprocess.run(
        [program, *arguments], env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Build the wheel from the checkout and install it, with the pinned versions."""
    folder = tmp_path_factory.mktemp("wheel")
    uv("build", "--wheel", "--out-dir", folder, ROOT)
    (wheel,) = folder.glob("*.whl")
    uv("venv", "--python", sys.executable, folder / "venv")
    python = folder / "venv" / "bin" / "python"
    uv("pip", "install", "-p", python, "-c", ROOT / "constraints.txt", f"{wheel}[demo]")
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    return Installed(bin=python.parent, elsewhere=elsewhere)


def test_the_command_is_installed_and_shows_its_help(installed: Installed) -> None:
    done = installed.run("serve-app", "--help")
    assert done.returncode == 0, done.stderr
    assert {"demo", "serve"} <= set(done.stdout.split())


def test_the_app_imports_from_the_wheel_and_not_from_the_checkout(installed: Installed) -> None:
    done = installed.run("python", "-c", "import serve_app.app as a; print(a.__file__)")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(installed.bin.parent)


def test_the_wheel_carries_the_profiles_and_the_assets(installed: Installed) -> None:
    done = installed.run("python", "-c", LIST_DATA_FILES)
    assert done.returncode == 0, done.stderr
    assert EXPECTED_DATA_FILES - set(done.stdout.splitlines()) == set()


@pytest.mark.timeout(180)
def test_the_demo_runs_from_the_wheel(installed: Installed) -> None:
    port = str(free_port())
    done = installed.run("serve-app", "demo", "--port", port, timeout_s=DEMO_TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "word error rate" in done.stdout
