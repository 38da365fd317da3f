"""A graph that runs in a process of its own, as long as the command needs it."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import click
import requests
import yaml

from serve_app.cli.cluster import left_behind, listens
from serve_app.profiles import Rendered

# `serve run`, which stops the graph on SIGINT; a shell's background jobs start with that ignored.
_SERVE_RUN = """
import signal, sys
from ray.serve.scripts import cli
signal.signal(signal.SIGINT, signal.default_int_handler)
cli(["run", *sys.argv[1:]])
"""

# What Ray is started with. A replica that fails its health checks is killed: Serve would otherwise
# ask it to end and wait for as long as one that drains may take, and what it had would wait too.
# A proxy that takes longer to start than Serve's 5 s, as on a busy machine, would be killed amid
# it, and the start of the graph would fail.
# What keeps memory flat: glibc gives each of a process's dozens of threads an arena of its own, and
# what was freed in one is not used by the others; it keeps ever larger blocks for later, where no
# size (bytes) is set from which they go back to the system; and Ray's gcs_server keeps the history
# of its last 100,000 calls, of which there are some for every chunk, where processes report them.
# It and the raylet use jemalloc, whose caches in each of their threads grow with every replica that
# dies: without caches they are a fifth smaller, and stay so.
# Serve's processes hand their counts to Ray 10 times a second where not told else, in a thread for
# each handle, and Ray exports them every 10 s.
# HAProxy, where it runs, starts anew whenever replicas of the Ingress come or go, and the old one
# ends after so many seconds with what it still has: the profiles' longest request (3660 s), which
# may have come over a connection that was idle for up to 90 s.
RAY_ENVIRONMENT = {
    "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "1000",
    "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "3750",
    "RAY_task_events_report_interval_ms": "0",  # no reports
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "131072",
    "RAY_JEMALLOC_CONF": "narenas:1,tcache:false",
    "RAY_JEMALLOC_PROFILE": "raylet,gcs_server",  # whom that is for
}

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
START_TIMEOUT_S = 600.0  # a first start may download a model
STOP_TIMEOUT_S = 90.0  # behind HAProxy an Ingress stays 30 s for those who may still come


@contextmanager
def running(rendered: Rendered, *, shows_log: bool = False) -> "Iterator[subprocess.Popen[bytes]]":
    """Run `serve run` on a config; yield its process once it is ready; stop it on leaving.

    Ctrl-C, SIGTERM and the end of the terminal end the command, and so the graph.

    Args:
        rendered: the config, and where it listens.
        shows_log: pass the graph's log on to stderr, instead of its end where the start fails.

    Raises:
        click.ClickException: the port is taken, or the graph does not get ready.
    """
    _check_port(rendered.url)
    with _ended_by_signals(), tempfile.TemporaryDirectory(prefix="serve-app-") as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(yaml.safe_dump(rendered.config))
        log = Path(folder) / "log.txt"
        address = ["--address", "local"] if left_behind() else []
        with log.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, "-c", _SERVE_RUN, *address, str(path)],
                stdout=sys.stderr if shows_log else file,
                stderr=sys.stderr if shows_log else subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches it through us alone, and once
                env={**RAY_ENVIRONMENT, **os.environ, **rendered.environment},
            )
        try:
            _wait_until_ready(rendered.url, process, log)
            yield process
        finally:
            _stop(process)


def direct_session() -> requests.Session:
    """Return a session for the graph that this command started.

    A proxy that the environment names would look for 127.0.0.1 on its own machine.
    """
    session = requests.Session()
    session.trust_env = False
    return session


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Leave the block, and the program with the shell's exit code, where a signal asks for it."""

    def leave(signum: int, _: object) -> None:
        raise SystemExit(128 + signum)

    # Under `nohup` the end of the terminal is ignored already, and stays so.
    stops = [stop for stop in STOPS if signal.getsignal(stop) is not signal.SIG_IGN]
    before = {stop: signal.signal(stop, leave) for stop in stops}
    try:
        yield
    finally:
        for stop, handler in before.items():
            signal.signal(stop, handler)


def _wait_until_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    began_s = time.monotonic()
    state = ""
    while (elapsed_s := time.monotonic() - began_s) < START_TIMEOUT_S:
        if process.poll() is not None:
            raise click.ClickException(f"The graph did not start.\n{_tail(log)}".rstrip())
        ready, now = _readiness(url)
        if ready:
            click.echo(f"[{elapsed_s:5.1f} s] ready")
            return
        if now != state:
            state = now
            click.echo(f"[{elapsed_s:5.1f} s] starting {state}")
        time.sleep(0.5)
    raise click.ClickException(f"Not ready after {START_TIMEOUT_S:.0f} s.\n{_tail(log)}".rstrip())


def _tail(log: Path) -> str:
    return log.read_text()[-4000:]


def _readiness(url: str) -> tuple[bool, str]:
    """Return whether the graph is ready and, where it is not, what it waits for."""
    try:
        with direct_session() as session:
            answer = session.get(f"{url}/ready", timeout=5)
    except requests.Timeout:
        return False, "Ingress"
    except requests.RequestException:
        return False, "Ray and Serve"
    if answer.ok:
        return True, ""
    try:
        return False, ", ".join(answer.json()["waiting_for"])
    except (ValueError, KeyError, TypeError):  # Serve answers in text before the Ingress is up
        return False, "Ingress"


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End what `running` started, the way Ctrl-C would."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()


def _check_port(url: str) -> None:
    if listens(url):
        address = urlsplit(url)
        raise click.ClickException(
            f"Port {address.port} on {address.hostname} is in use. Choose one with --port."
        )
