"""The `serve-app` command: start the graph from a profile, or show it working."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import click
import requests
import yaml

from serve_app import models
from serve_app.domain import SAMPLE_RATE
from serve_app.stages import audio

# `serve run`, which stops the graph on SIGINT; a shell's background jobs start with that ignored.
_SERVE_RUN = """
import signal, sys
from ray.serve.scripts import cli
signal.signal(signal.SIGINT, signal.default_int_handler)
cli(["run", sys.argv[1]])
"""

START_TIMEOUT_S = 600.0  # a first start may download a model
STOP_TIMEOUT_S = 30.0


@click.group()
@click.version_option(package_name="serve_app")
def main() -> None:
    """Whisper speech-to-text on Ray Serve."""


@main.command()
@click.argument("profile", default="demo")
@click.option("--port", type=int, help="Listen here instead of the profile's port.")
def serve(profile: str, port: int | None) -> None:
    """Serve PROFILE (a name such as `demo`, or a config file) until Ctrl-C."""
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, _on_stop)
    with _running(profile, port) as url:
        click.echo(f"Serving {profile} at {url}. Try:\n")
        sample = models.asset("sample/sample.flac")
        click.echo(f"  curl {url}/v1/audio/transcriptions -F file=@{sample}\n")
        click.echo("Ctrl-C stops it.")
        signal.pause()


@main.command()
@click.option("--port", type=int, help="Listen here instead of the profile's port.")
def demo(port: int | None) -> None:
    """Start the embedded model, transcribe the bundled clip over HTTP, and stop."""
    clip = models.asset("sample/sample.flac")
    reference = models.asset("sample/sample.txt").read_text().strip()
    with _running("demo", port) as url:
        click.echo(f"Sending {clip.name} to {url}/v1/audio/transcriptions")
        began_s = time.perf_counter()
        answer = _post(url, clip)
        took_s = time.perf_counter() - began_s
    duration_s = len(audio.decode_audio(clip.read_bytes(), max_s=60).samples) / SAMPLE_RATE
    click.echo(f"\ntranscript:       {answer}")
    click.echo(f"reference:        {reference}")
    click.echo(f"word error rate:  {_word_error_rate(reference, answer):.1%}")
    click.echo(f"audio:            {duration_s:.1f} s, answered in {took_s:.2f} s")
    click.echo(f"real-time factor: {took_s / duration_s:.3f}")


def _on_stop(signum: int, _: object) -> None:
    raise SystemExit(128 + signum)


def profile_path(profile: str) -> Path:
    """Return the config file of a profile.

    Raises:
        click.BadParameter: there is no such file, and no profile of that name.
    """
    if Path(profile).is_file():
        return Path(profile)
    installed = Path(str(resources.files("serve_app") / "configs"))
    checkout = Path(__file__).parent.parent / "configs"
    folder = installed if installed.is_dir() else checkout
    path = folder / f"{profile}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
        raise click.BadParameter(f"No profile '{profile}'. There are: {names}; or give a file.")
    return path


@contextmanager
def _running(profile: str, port: int | None) -> Iterator[str]:
    """Run `serve run` on a profile; yield its address once it is ready; stop it on leaving."""
    config = yaml.safe_load(profile_path(profile).read_text())
    http = config.setdefault("http_options", {})
    if port:
        http["port"] = port
    host, port = http.get("host", "127.0.0.1"), http.get("port", 8000)
    _check_port(host, port)
    with tempfile.TemporaryDirectory(prefix="serve-app-") as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(yaml.safe_dump(config))
        log = Path(folder) / "log.txt"
        with log.open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "-c", _SERVE_RUN, str(path)],
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches it through us alone, and once
                env={"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", **os.environ},
            )
        try:
            url = f"http://{host}:{port}"
            _wait_until_ready(url, process, log)
            yield url
        finally:
            _stop(process)


def _wait_until_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    began_s = time.monotonic()
    state = ""
    while (elapsed_s := time.monotonic() - began_s) < START_TIMEOUT_S:
        if process.poll() is not None:
            raise click.ClickException(f"The graph did not start:\n{log.read_text()[-4000:]}")
        ready, now = _readiness(url)
        if ready:
            click.echo(f"[{elapsed_s:5.1f} s] ready")
            return
        if now != state:
            state = now
            click.echo(f"[{elapsed_s:5.1f} s] starting {state}")
        time.sleep(0.5)
    raise click.ClickException(
        f"Not ready after {START_TIMEOUT_S:.0f} s.\n{log.read_text()[-4000:]}"
    )


def _readiness(url: str) -> tuple[bool, str]:
    """Return whether the graph is ready and, where it is not, what it waits for."""
    try:
        answer = requests.get(f"{url}/ready", timeout=5)
    except requests.Timeout:
        return False, "Ingress"
    except requests.RequestException:
        return False, "Ray and Serve"
    if answer.ok:
        return True, ""
    try:
        return False, ", ".join(answer.json()["waiting_for"])
    except ValueError:  # Serve's proxy answers in plain text before the Ingress is up
        return False, "Ingress"


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End what `_running` started, the way Ctrl-C would."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()


def _check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex((host, port)) == 0:
            raise click.ClickException(f"Port {port} on {host} is in use. Choose one with --port.")


def _post(url: str, clip: Path) -> str:
    with clip.open("rb") as file:
        answer = requests.post(f"{url}/v1/audio/transcriptions", files={"file": file}, timeout=120)
    body: dict[str, Any] = answer.json()
    if not answer.ok:
        raise click.ClickException(body["error"]["message"])
    return str(body["text"])


def _word_error_rate(reference: str, hypothesis: str) -> float:
    try:
        import jiwer
    except ImportError:
        raise click.ClickException("Install the extra: pip install 'serve_app[demo]'") from None
    return float(jiwer.wer(reference, hypothesis))
