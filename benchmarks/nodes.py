"""A Ray cluster on this machine's loopback, with nodes to lose, behind the front proxy.

Linux's namespaces keep it apart from the machine: its network is a loopback of its own, and each
node has a hosts file in which `serve-node` is the node's own address, so that each node's HTTP
proxy listens there. The head's state lies in Redis, as in k8s/rayservice.yaml. Needs root and what
Debian has as iptables, nginx-light and redis-server.
"""

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL
from unittest.mock import patch

import click
import psutil
import ray
import requests
import yaml
from ray import serve

from benchmarks.faults import PROXY, wait_until
from benchmarks.processes import started_as
from benchmarks.results import ROOT
from serve_app.cli.graph import RAY_ENVIRONMENT

HEAD = "127.0.0.1"
GCS_PORT, REDIS_PORT, HTTP_PORT, FRONT_PORT = 6379, 6380, 8000, 8080
N_CORES = 4  # that a node claims to have: replicas must be placed, however small the machine
OBJECT_STORE_BYTES = 2**28
# Less than each deployment's `graceful_shutdown_timeout_s`: where no other node can take a replica,
# Serve lets it work until no more than that is left, and k8s/rayservice.yaml's 600 s are long.
DRAIN_S = 100
RAY_FOLDER = Path("/tmp/ray")
VARIABLES = {
    **RAY_ENVIRONMENT,
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": str(DRAIN_S),
    "RAY_gcs_rpc_server_reconnect_timeout_s": "600",  # as KubeRay sets it
    "RAY_worker_niceness": "0",
    "RAY_AUTH_MODE": "disabled",
}
_PROGRAMS = ("unshare", "ip", "iptables", "nginx", "redis-server")
_INSIDE = "SERVE_APP_BENCHMARK_NAMESPACES"
_HOST = "serve-node"
_SERVICE = "server whisper-serve-svc:8000 "


def enter_namespaces() -> None:
    """Start this program again in namespaces of its own, unless it is there.

    Raises:
        click.ClickException: the machine lacks something for it.
    """
    if _INSIDE in os.environ:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        # Where Ray keeps its sessions, and the address that others on the machine would connect to.
        RAY_FOLDER.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(RAY_FOLDER)], check=True)
        _set_kernel()
        return
    missing = [name for name in _PROGRAMS if not shutil.which(name)]
    if os.geteuid() != 0:
        missing.append("root's rights")
    if missing:
        raise click.ClickException(f"This machine lacks {', '.join(missing)}.")
    os.environ[_INSIDE] = "1"
    apart = ["--net", "--pid", "--mount", "--propagation", "private", "--mount-proc"]
    again = [sys.executable, "-m", "benchmarks", *sys.argv[1:]]
    os.execvp("unshare", ["unshare", *apart, "--fork", "--kill-child", *again])


def _set_kernel() -> None:
    """Give this network what the front proxy's pods ask of theirs."""
    documents = yaml.safe_load_all((ROOT / "k8s/front-proxy/front-proxy.yaml").read_text())
    [pod] = [d["spec"]["template"]["spec"] for d in documents if d["kind"] == "Deployment"]
    for wanted in pod["securityContext"]["sysctls"]:
        Path("/proc/sys", *wanted["name"].split(".")).write_text(wanted["value"])


class Node:
    """One node of the cluster, with a loopback address of its own."""

    def __init__(self, number: int, folder: Path) -> None:
        self.address = f"127.0.0.{number}"
        self._hosts = folder / f"hosts-{number}"
        self._log = folder / f"node-{number}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return where its HTTP proxy listens."""
        return f"http://{self.address}:{HTTP_PORT}"

    def start(self) -> None:
        """Start it; it joins the cluster by and by."""
        name = os.uname().nodename
        self._hosts.write_text(f"{self.address} {_HOST}\n127.0.0.1 localhost {name}\n")
        command = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block"),
            f"--node-ip-address={self.address}",
            f"--object-store-memory={OBJECT_STORE_BYTES}",
        ]
        environment = {**os.environ, **VARIABLES}
        if self.address == HEAD:
            command += ["--head", f"--port={GCS_PORT}", "--num-cpus=0", "--include-dashboard=false"]
            environment["RAY_REDIS_ADDRESS"] = f"{HEAD}:{REDIS_PORT}"
            # As on a new machine: by it a head that comes back finds a Ray that runs already.
            (RAY_FOLDER / "ray_current_cluster").unlink(missing_ok=True)
        else:
            command += [f"--address={HEAD}:{GCS_PORT}", f"--num-cpus={N_CORES}"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "bash", "-c", _WITH_HOSTS, str(self._hosts), *command],
                env=environment,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """End all its processes at once, as a machine that loses its power, but for the network."""
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def kill_proxy(self) -> None:
        """End its HTTP proxy alone."""
        ids = {process.pid for process in self._processes()}
        [pid] = ids & set(started_as(PROXY))
        os.kill(pid, signal.SIGKILL)

    def tell_to_end(self) -> None:
        """Let it hand over its work and end, as Kubernetes does; return when it has ended."""
        if self._process is None:
            raise RuntimeError("the node was not started")
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """Lose every packet to and from it during the block."""
        for way in ("-s", "-d"):
            rule = ["iptables", "-A", "INPUT", way, self.address, "-j", "DROP"]
            subprocess.run(rule, check=True)
        try:
            yield
        finally:
            subprocess.run(["iptables", "-F"], check=True)

    def answers(self) -> bool:
        """Tell whether the graph is ready behind its proxy."""
        with suppress(requests.RequestException):
            return requests.get(f"{self.url}/ready", timeout=5).ok
        return False

    def _processes(self) -> Sequence[psutil.Process]:
        if self._process is None:
            return []
        root = psutil.Process(self._process.pid)
        return [root, *root.children(recursive=True)]


_WITH_HOSTS = 'mount --bind "$0" /etc/hosts && exec "$@"'


@contextmanager
def cluster(n_nodes: int) -> Iterator[Sequence[Node]]:
    """Run a head, which has no replica, and so many nodes; yield them in this order, with Serve.

    This process is of the first node behind the head, which so must stay.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="serve-app-nodes-")))
        stack.enter_context(patch.dict(os.environ, VARIABLES))
        keeps_nothing = ["--save", "", "--bind", HEAD, "--port", str(REDIS_PORT)]
        redis = subprocess.Popen(["redis-server", *keeps_nothing], cwd=folder, stdout=DEVNULL)
        stack.callback(redis.terminate)
        nodes = [Node(number, folder) for number in range(1, n_nodes + 2)]
        for node in nodes:
            node.start()
            stack.callback(node.kill)
            time.sleep(5.0)
        _connect(nodes[1])
        stack.callback(ray.shutdown)
        wait_until(lambda: sum(told["Alive"] for told in ray.nodes()) == len(nodes))
        serve.start(proxy_location="EveryNode", http_options={"host": _HOST, "port": HTTP_PORT})
        yield nodes


def _connect(node: Node) -> None:
    def connected() -> bool:
        with suppress(ConnectionError, RuntimeError):
            ray.init(
                address=f"{HEAD}:{GCS_PORT}",
                _node_ip_address=node.address,
                log_to_driver=False,
                logging_level=logging.WARNING,
            )
        return bool(ray.is_initialized())

    wait_until(connected)


class FrontProxy:
    """k8s/front-proxy/nginx.conf before the proxies of some nodes."""

    url = f"http://{HEAD}:{FRONT_PORT}"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def send_to(self, nodes: Sequence[Node]) -> None:
        """Send each new request to these, in turn: in a cluster, the Service chooses a pod."""
        text = (ROOT / "k8s/front-proxy/nginx.conf").read_text()
        for i in range(text.count(_SERVICE)):
            address = nodes[i % len(nodes)].address
            text = text.replace(_SERVICE, f"server {address}:{HTTP_PORT} ", 1)
        text = text.replace("listen 8080 ", f"listen {HEAD}:{FRONT_PORT} ")
        text = text.replace("/run/front-proxy", str(self._folder))
        text = text.replace("/dev/stdout", f"{self._folder}/log")
        config = self._folder / "nginx.conf"
        config.write_text(text)
        if self._process:
            self._process.send_signal(signal.SIGHUP)
            return
        command = ["nginx", "-e", "stderr", "-p", str(self._folder), "-c", str(config)]
        with (self._folder / "errors").open("w") as errors:
            self._process = subprocess.Popen([*command, "-g", "user root;"], stderr=errors)
        wait_until(self._is_up)

    def end(self) -> None:
        """End it, if it runs."""
        if self._process:
            self._process.terminate()
            self._process.wait()

    def _is_up(self) -> bool:
        with suppress(requests.RequestException):
            return requests.get(f"{self.url}/-/alive", timeout=1).ok
        return False


@contextmanager
def front_proxy(nodes: Sequence[Node]) -> Iterator[FrontProxy]:
    """Run a front proxy before these nodes during the block."""
    with tempfile.TemporaryDirectory(prefix="serve-app-front-") as folder:
        front = FrontProxy(Path(folder))
        try:
            front.send_to(nodes)
            yield front
        finally:
            front.end()
