"""Where the engine runs, and how wide: device, number type, threads, and the largest batch.

The choices are pure functions of what was found; the probes that find it stand below them. An
explicit setting always wins.
"""

import ctypes
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import BinaryIO

from serve_app.domain import MAX_TOKENS
from serve_app.settings import ModelSettings

N_POSITIONS = 1500  # encoder outputs of a 30 s window
FLOAT16_BYTES = 2
# Working memory of the encoder for one window of a model 1280 wide (large, turbo, distil): its
# attention scores and the widest layer's activations in float16. An estimate, not a measurement.
ENCODER_BYTES_AT_1280 = 130e6
_NVIDIA_SMI_S = 30.0  # it takes a second or two where the driver has to wake
USABLE_SHARE = 0.9  # of the memory free after the model is loaded; the allocator wastes some


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where and with how many threads the model runs."""

    device: str  # cuda | cpu
    compute_type: str
    n_threads: int  # per worker, on the CPU


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """The sizes of a Whisper model that decide how much memory a batch takes."""

    width: int  # d_model
    n_decoder_layers: int


def choose_placement(
    settings: ModelSettings,
    *,
    n_cuda_devices: int,
    compute_types: Callable[[str], Collection[str]],
    n_cores: int,
) -> Placement:
    """Choose device, number type and threads.

    Args:
        settings: the model's; what they leave on `auto` or 0 is chosen here.
        n_cuda_devices: that this process can see.
        compute_types: tells what a device supports (CTranslate2's names).
        n_cores: that this process may use.

    Raises:
        ValueError: the device does not support the compute type; names those that it does.
    """
    device = settings.device
    if device == "auto":
        device = "cuda" if n_cuda_devices else "cpu"
    preferred = ("float16", "int8_float16", "float32") if device == "cuda" else ("int8", "float32")
    compute_type: str = settings.compute_type
    if compute_type == "auto":
        compute_type = next((t for t in preferred if t in compute_types(device)), "default")
    elif compute_type != "default" and compute_type not in compute_types(device):
        supported = ", ".join(sorted(compute_types(device)))
        raise ValueError(f"this {device} cannot compute in {compute_type}; set one of {supported}.")
    n_threads = settings.cpu_threads or max(1, n_cores // settings.n_workers)
    return Placement(device=device, compute_type=compute_type, n_threads=n_threads)


def bytes_per_chunk(shape: ModelShape, *, beam_size: int) -> int:
    """Return the device memory that one chunk of a batch takes, in float16.

    Cross-attention keys and values (they stay for the whole decode), each beam's own, and the
    encoder's working memory. large-v3: 2 x 32 layers x 1500 x 1280 x 2 bytes = 246 MB of the first.
    """
    per_position = 2 * shape.n_decoder_layers * shape.width * FLOAT16_BYTES
    encoder = ENCODER_BYTES_AT_1280 * shape.width / 1280
    return round(per_position * (N_POSITIONS + beam_size * MAX_TOKENS) + encoder)


def default_batch(device: str) -> int:
    """Return the largest batch where the profile names none.

    A GPU reads the weights once per step for all rows, so a large batch costs little more. A CPU
    gains little by one (a model of the shape `base` on 2 cores: 1.2 s a chunk alone, 0.9 in
    batches of 4 and of 16), and a short request has to wait for the batch that runs.
    """
    return 256 if device == "cuda" else 4


def largest_batch(
    wanted: int, shape: ModelShape, *, free_bytes: int | None, beam_size: int, n_workers: int
) -> int:
    """Return the wanted batch size, or the largest that fits beside the other workers' batches.

    Args:
        wanted: what the profile asks for.
        shape: the model's.
        free_bytes: of device memory with the model loaded; None where that is not known.
        beam_size: of the profile.
        n_workers: batches that are on the device at the same time.
    """
    if free_bytes is None:
        return wanted
    share = USABLE_SHARE * free_bytes / n_workers
    return max(1, min(wanted, int(share // bytes_per_chunk(shape, beam_size=beam_size))))


def read_shape(directory: Path) -> ModelShape:
    """Read a model's sizes from the variable names and shapes in its `model.bin`.

    Raises:
        ValueError: it is not a CTranslate2 Whisper model, or ends early.
    """
    with (directory / "model.bin").open("rb") as file:
        shapes = dict(_read_variables(file))
    widths = [s[-1] for name, s in shapes.items() if name == "decoder/position_encodings/encodings"]
    layers = {name.split("/")[1] for name in shapes if name.startswith("decoder/layer_")}
    layers.discard("layer_norm")
    if not widths or not layers:
        raise ValueError(f"{directory} does not hold a CTranslate2 Whisper model")
    return ModelShape(width=widths[0], n_decoder_layers=len(layers))


def free_cuda_bytes() -> int | None:
    """Return the free memory of this process's first CUDA device; None where it is not known.

    Ray names the device by index or UUID in CUDA_VISIBLE_DEVICES; nvidia-smi knows both, and does
    not renumber.
    """
    device = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
    if not (device and shutil.which("nvidia-smi")):
        return None
    try:
        answer = subprocess.run(
            [
                "nvidia-smi",
                f"--id={device}",
                "--query-gpu=memory.free",
                "--format=csv,noheader,nounits",
            ],
            capture_output=True,
            text=True,
            check=False,  # a driver that does not answer leaves the figure unknown
            timeout=_NVIDIA_SMI_S,
        )
    except subprocess.TimeoutExpired:
        return None
    mib = answer.stdout.strip()
    return int(mib) * 2**20 if mib.isdigit() else None


def preload_cublas() -> None:
    """Load the `cuda` extra's cuBLAS 12, which CTranslate2 opens by its bare name.

    A library that is already loaded under that name is used, so LD_LIBRARY_PATH need not be set.
    Nothing happens where the extra is not installed.
    """
    spec = util.find_spec("nvidia.cublas") if util.find_spec("nvidia") else None
    for root in (spec.submodule_search_locations or []) if spec else []:
        for name in ("libcublasLt.so.12", "libcublas.so.12"):  # the second needs the first
            library = Path(root) / "lib" / name
            if library.is_file():
                ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def _read_variables(file: BinaryIO) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield name and shape of each variable: CTranslate2's model format 6 (`ModelSpec.save`)."""

    def read(n_bytes: int) -> bytes:
        data = file.read(n_bytes)
        if len(data) < n_bytes:
            raise ValueError("model.bin ends early")
        return data

    def number(code: str) -> int:
        return int(struct.unpack(code, read(struct.calcsize(code)))[0])

    def text() -> str:
        return read(number("<H")).rstrip(b"\0").decode()

    _version, spec, _revision = number("<I"), text(), number("<I")
    if spec != "WhisperSpec":
        raise ValueError(f"model.bin holds a {spec}, not a WhisperSpec")
    for _ in range(number("<I")):
        name, rank = text(), number("<B")
        shape = tuple(number("<I") for _ in range(rank))
        _dtype, n_bytes = number("<B"), number("<I")
        file.seek(n_bytes, 1)
        yield name, shape
