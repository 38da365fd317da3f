"""What a machine has, what it lacks, and what helps: one function for each thing looked at."""

import ctypes
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path

import requests

from serve_app import local, models
from serve_app.domain import TranscriptionRequest
from serve_app.settings import COMMUNITY_PIPELINE, EMBEDDED
from serve_app.stages.whisper import device

PACKAGES = ("serve_app", "ray", "ctranslate2", "faster-whisper", "av", "onnxruntime", "numpy")
OPTIONAL = (("pyannote.audio", "diarization"), ("nvidia-cublas-cu12", "cuda"))
MIN_FREE_BYTES = 5e9  # large-v3 is 3.1 GB, and its download is kept beside it until it is whole
PORTS: Mapping[int, str] = {8000: "HTTP", 8265: "Ray's dashboard"}
HUB_TIMEOUT_S = 5.0
REFUSED = (requests.codes.unauthorized, requests.codes.forbidden)
SMI_TIMEOUT_S = 30.0  # a first call may have to load the driver
# The shape of large-v3, by which the batch that fits is told.
LARGE = device.ModelShape(width=1280, n_decoder_layers=32)


class Level(StrEnum):
    """How good a finding is."""

    OK = "ok"
    WARN = "warn"  # it works, and something does not
    FAIL = "fail"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line."""

    name: str
    level: Level
    text: str
    remedy: str = ""


def _ok(name: str, text: str) -> Finding:
    return Finding(name=name, level=Level.OK, text=text)


def _warn(name: str, text: str, remedy: str) -> Finding:
    return Finding(name=name, level=Level.WARN, text=text, remedy=remedy)


def _fail(name: str, text: str, remedy: str) -> Finding:
    return Finding(name=name, level=Level.FAIL, text=text, remedy=remedy)


def check_python() -> Iterator[Finding]:
    """Look at the interpreter."""
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if (3, 11) <= sys.version_info[:2] <= (3, 13) and sys.platform == "linux":
        yield _ok("python", text)
    else:
        yield _fail("python", text, "serve_app needs Linux and Python 3.11 to 3.13.")


def check_packages() -> Iterator[Finding]:
    """Look at what is installed."""
    yield _ok("packages", ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES))
    for name, extra in OPTIONAL:
        try:
            yield _ok("packages", f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            yield _ok("packages", f"no {name}: the extra serve_app[{extra}] is not installed")


def check_gpu() -> Iterator[Finding]:
    """Look at the GPUs, their driver, and what CTranslate2 makes of them."""
    device.preload_cublas()
    import ctranslate2

    n_devices = ctranslate2.get_cuda_device_count()
    if shutil.which("nvidia-smi"):
        yield _driver()
    if not n_devices:
        yield _warn("gpu", "CTranslate2 finds none", "The CPU is used, which is slower.")
    else:
        yield _ok("gpu", f"CTranslate2 finds {n_devices}")
        yield _cublas()
        yield _memory()
    for name in ("cpu", "cuda") if n_devices else ("cpu",):
        types = ", ".join(sorted(ctranslate2.get_supported_compute_types(name)))
        yield _ok("types", f"{name}: {types}")


def _driver() -> Finding:
    answer = _nvidia_smi("--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
    if answer.returncode:
        return _fail("driver", answer.stdout.strip()[:200], "Reinstall NVIDIA's driver.")
    told = [line for line in answer.stdout.splitlines() if line]
    if newest := re.search(r"CUDA Version: *([\d.]+)", _nvidia_smi().stdout):
        told.append(f"CUDA up to {newest[1]}")
    return _ok("driver", "; ".join(told))


def _nvidia_smi(*options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["nvidia-smi", *options],
        capture_output=True,
        text=True,
        timeout=SMI_TIMEOUT_S,
        check=False,  # whoever asks looks at the code
    )


def _cublas() -> Finding:
    try:
        ctypes.CDLL("libcublas.so.12")
    except OSError:
        return _fail("cublas", "libcublas.so.12 is not found", "pip install 'serve_app[cuda]'")
    return _ok("cublas", "version 12")


def _memory() -> Finding:
    free_bytes = device.free_cuda_bytes()
    if free_bytes is None:
        return _warn("memory", "nvidia-smi does not tell the free memory", "Repair the driver.")
    batch = device.largest_batch(256, LARGE, free_bytes=free_bytes, beam_size=1, n_workers=1)
    text = (
        f"{free_bytes / 1e9:.1f} GB free: batches of {batch} chunks of large-v3, less its weights"
    )
    return _ok("memory", text)


def check_disk() -> Iterator[Finding]:
    """Look at the room in the Hugging Face cache, and in the folder of temporary files."""
    from huggingface_hub import constants

    # Of the temporary files only those of a large model's conversion need so much.
    for name, folder, variable, short in (
        ("cache", constants.HF_HUB_CACHE, "HF_HOME", _fail),
        ("tmp", tempfile.gettempdir(), "TMPDIR", _warn),
    ):
        there = next(path for path in (Path(folder), *Path(folder).parents) if path.exists())
        free_bytes = shutil.disk_usage(there).free
        text = f"{name}: {free_bytes / 1e9:.1f} GB free in {_shown(Path(folder))}"
        if not os.access(there, os.W_OK):
            yield _fail("disk", f"{name}: {there} cannot be written", f"Set {variable}.")
        elif free_bytes < MIN_FREE_BYTES:
            yield short("disk", text, f"Make room, {MIN_FREE_BYTES / 1e9:g} GB, or set {variable}.")
        else:
            yield _ok("disk", text)


def _shown(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def check_hub() -> Iterator[Finding]:
    """Ask the Hugging Face hub whether the token is known and a gated model may be read."""
    from huggingface_hub import constants, get_token

    endpoint = os.environ.get("HF_ENDPOINT", constants.ENDPOINT)
    token = get_token()
    if not token:
        text = "no Hugging Face token: public models only, and no diarization with pyannote's"
        yield _warn("hub", text, "Set HF_TOKEN, where you need gated models.")
        return
    headers = {"Authorization": f"Bearer {token}"}
    try:
        who = requests.get(f"{endpoint}/api/whoami-v2", headers=headers, timeout=HUB_TIMEOUT_S)
        url = f"{endpoint}/{COMMUNITY_PIPELINE}/resolve/main/config.yaml"
        gated = requests.head(url, headers=headers, timeout=HUB_TIMEOUT_S)
    except requests.RequestException as error:
        text = f"{endpoint} cannot be reached ({type(error).__name__})"
        yield _warn("hub", text, "Models that are not in the cache cannot be downloaded.")
        return
    yield _token(who, endpoint)
    if who.ok:
        yield _gated(gated, endpoint)


def _token(answer: requests.Response, endpoint: str) -> Finding:
    if answer.ok:
        return _ok("hub", f"the token is {answer.json().get('name', 'known')}'s")
    if answer.status_code in REFUSED:
        text = f"the token is refused ({answer.status_code})"
        return _fail("hub", text, "Make a new one in the hub's settings and set HF_TOKEN.")
    return _unwell(answer, endpoint)


def _gated(answer: requests.Response, endpoint: str) -> Finding:
    if answer.ok:
        return _ok("hub", f"{COMMUNITY_PIPELINE} may be read")
    if answer.status_code in REFUSED:
        text = f"{COMMUNITY_PIPELINE} may not be read ({answer.status_code})"
        return _warn("hub", text, f"Accept its conditions at {endpoint}/{COMMUNITY_PIPELINE}")
    return _unwell(answer, endpoint)


def _unwell(answer: requests.Response, endpoint: str) -> Finding:
    text = f"{endpoint} answers {answer.status_code}"
    return _warn("hub", text, "Try again later: models may not be downloaded now.")


def check_ports(ports: Mapping[int, str] = PORTS) -> Iterator[Finding]:
    """See whether the ports of a graph are free."""
    for port, use in ports.items():
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                yield _ok("ports", f"{port} ({use}) is free")
            else:
                text = f"{port} ({use}) is in use: a graph is up already, or another program"
                yield _warn("ports", text, "serve-app serve --port chooses another one.")


def check_decode() -> Iterator[Finding]:
    """Transcribe the embedded clip with the embedded model."""
    expected = models.asset("sample/sample.txt").read_text().strip()
    with local.load(EMBEDDED) as whisper:
        made = whisper.transcribe(models.asset("sample/sample.flac"), TranscriptionRequest())
    placement = whisper.placement
    text = f"{placement.device}, {placement.compute_type}: {made.real_time_factor:.3f} of real time"
    if made.text == expected:
        yield _ok("decode", text)
    else:
        yield _fail(
            "decode",
            f"{text}; heard {made.text!r}",
            "Try `serve-app transcribe --compute-type float32`.",
        )


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    *(check_python, check_packages, check_gpu, check_disk, check_hub, check_ports, check_decode),
)
