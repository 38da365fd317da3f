import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
import yaml
from click.testing import CliRunner, Result

from serve_app.cli import main
from tests.environment_examples import TURBO, look_up
from tests.servers import free_port

NO_GPU = {"CUDA_VISIBLE_DEVICES": "", "RAY_ADDRESS": ""}


def run(*words: str, **environment: str) -> Result:
    return CliRunner().invoke(main, words, env=environment)


def test_a_port_in_use_is_told_with_the_remedy() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        answer = run("demo", "--port", str(taken.getsockname()[1]))
    assert answer.exit_code == 1
    assert "in use" in answer.output
    assert "--port" in answer.output


def test_help_names_the_commands() -> None:
    output = run("--help").output
    for command in ("serve", "demo", "config", "transcribe", "models", "doctor"):
        assert command in output


def test_config_prints_a_complete_config_and_nothing_else() -> None:
    answer = run(
        *("config", "turbo", "--overlay", "vram-saver", "--overlay", "ultra-low-latency"),
        *("--accelerator", "H100", "--port", "9000", "--set", "args.models.beam_size=2"),
        WHISPER__BATCH_SIZE="64",
        LOG_LEVEL="warning",
        ENABLE_UI="true",
    )
    config = yaml.safe_load(answer.stdout)
    assert look_up(config, f"{TURBO}.user_config.max_batch_size") == 64
    assert look_up(config, f"{TURBO}.user_config.batch_wait_timeout_s") == 0.01
    assert look_up(config, f"{TURBO}.ray_actor_options.accelerator_type") == "H100"
    assert look_up(config, "args.models.0.compute_type") == "int8_float16"
    assert look_up(config, "args.models.0.beam_size") == 2
    assert look_up(config, "http_options.port") == 9000
    assert look_up(config, "logging_config.log_level") == "WARNING"
    assert answer.stderr.startswith("Note: ENABLE_UI changes nothing")


def test_what_a_config_cannot_say_is_noted() -> None:
    answer = run("config", "turbo", WHISPER__DEVICE_INDEX="0", CUDA_VISIBLE_DEVICES="5,6")
    assert "CUDA_VISIBLE_DEVICES=5;" in answer.stderr


@pytest.mark.parametrize("command", ["serve", "config"])
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("turbo-deluxe",), "No profile"),
        (("turbo", "--overlay", "fast"), "No overlay"),
        (("turbo", "--set", "args.x=1"), "args: x"),
    ],
)
def test_a_mistake_is_told_in_one_line(command: str, words: tuple[str, ...], reason: str) -> None:
    answer = run(command, *words)
    assert answer.exit_code == 1
    assert answer.stderr.startswith(f"Error: {reason}")
    assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["serve", "config"])
def test_a_misspelled_variable_is_told_in_one_line(command: str) -> None:
    answer = run(command, "turbo", WHISPER__BATCHSIZE="3")
    assert answer.exit_code == 1
    assert answer.stderr.count("\n") == 1
    assert "WHISPER__BATCH_SIZE" in answer.stderr


def test_without_a_gpu_a_profile_that_needs_one_ends_in_one_line() -> None:
    command = [sys.executable, "-c", "from serve_app.cli import main; main()", "serve", "turbo"]
    answer = subprocess.run(
        command, env={**os.environ, **NO_GPU}, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 1
    assert answer.stderr == (
        "Error: turbo needs 1 GPU, and here is none. "
        "To run it on the CPU: serve-app serve turbo --device cpu\n"
    )


# Starts something in the place of the graph that only waits.
WITHOUT_GRAPH = """
from serve_app.cli import graph, main
graph._SERVE_RUN = "import time; time.sleep(60)"
main()
"""


@pytest.mark.parametrize("command", ["serve", "demo"])
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
def test_the_graph_ends_with_its_command_and_its_terminal(command: str, sent: int) -> None:
    # Whoever starts the tests may have had signals ignored.
    program = [*("env", "--default-signal=HUP,TERM"), sys.executable, "-c", WITHOUT_GRAPH]
    words = [command, "--port", str(free_port())]
    running = psutil.Popen([*program, *words], stderr=subprocess.PIPE, text=True)
    deadline_s = time.monotonic() + 60
    while not (graph := running.children()):
        assert running.poll() is None, running.stderr.read()
        assert time.monotonic() < deadline_s, "the graph was not started"
        time.sleep(0.05)
    running.send_signal(sent)
    assert running.wait(timeout=60) == 128 + sent
    assert not psutil.wait_procs(graph, timeout=10)[1]


# Starts something in the place of the graph that is ready and hears the same in every file.
ANSWERING = '''
from serve_app.cli import graph, main
graph._SERVE_RUN = """
import signal, sys, yaml
signal.alarm(100)  # where nobody stops it
from http.server import BaseHTTPRequestHandler, HTTPServer
class Graph(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "20")
        self.end_headers()
        self.wfile.write(b'{"text": "it heard"}')
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()
port = yaml.safe_load(open(sys.argv[1]))["http_options"]["port"]
HTTPServer(("127.0.0.1", port), Graph).serve_forever()
"""
main()
'''


def test_the_graph_is_asked_without_the_environments_proxies() -> None:
    environment = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    answer = subprocess.run(
        [sys.executable, "-c", ANSWERING, "demo", "--port", str(free_port())],
        env={**environment, "HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert answer.returncode == 0, answer.stderr
    assert "it heard" in answer.stdout
