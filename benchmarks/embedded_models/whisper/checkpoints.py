"""A training run on disk: some files of a few megabytes, so that it can travel between machines."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.embedded_models.whisper.network import Shape

MAX_FILE_BYTES = 15 * 2**20
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Where a run stands."""

    shape: Shape
    weights: Tensors
    moments: Tensors  # AdamW's, "mean.NAME" and "square.NAME"; kept in bfloat16
    n_steps: int
    trained_s: float


def save(checkpoint: Checkpoint, folder: Path) -> None:
    """Write a checkpoint in the place of the one before it."""
    unfinished = folder.with_name(f"{folder.name}.tmp")
    unfinished.mkdir(parents=True, exist_ok=True)
    for path in unfinished.iterdir():
        path.unlink()
    tensors = {f"weights.{k}": v.detach().cpu().clone() for k, v in checkpoint.weights.items()}
    tensors |= {f"moments.{k}": v.bfloat16().cpu() for k, v in checkpoint.moments.items()}
    for i, part in enumerate(_parts(tensors)):
        torch.save(part, unfinished / f"tensors-{i}.pt")
    about = {
        "shape": checkpoint.shape.to_dict(),
        "n_steps": checkpoint.n_steps,
        "trained_s": round(checkpoint.trained_s, 1),
    }
    (unfinished / "about.json").write_text(json.dumps(about, indent=1) + "\n")
    previous = folder.with_name(f"{folder.name}.old")
    if folder.exists():
        folder.rename(previous)
    unfinished.rename(folder)
    if previous.exists():
        for path in previous.iterdir():
            path.unlink()
        previous.rmdir()


def load(folder: Path) -> Checkpoint:
    """Return a checkpoint.

    Raises:
        FileNotFoundError: there is none.
    """
    about: dict[str, Any] = json.loads((folder / "about.json").read_text())
    tensors: Tensors = {}
    for path in sorted(folder.glob("tensors-*.pt")):
        tensors |= torch.load(path, map_location="cpu", weights_only=True)
    return Checkpoint(
        shape=Shape(**about["shape"]),
        weights=_named(tensors, "weights."),
        moments={k: v.float() for k, v in _named(tensors, "moments.").items()},
        n_steps=about["n_steps"],
        trained_s=about["trained_s"],
    )


def load_weights(path: Path) -> Tensors:
    """Return the weights of a checkpoint's folder, or of a file that holds nothing else."""
    if path.is_dir():
        return load(path).weights
    weights: Tensors = torch.load(path, map_location="cpu", weights_only=True)
    return weights


def _parts(tensors: Tensors) -> list[Tensors]:
    """Return the tensors in groups of at most MAX_FILE_BYTES, or of one that is larger."""
    parts: list[Tensors] = [{}]
    n_bytes = 0
    for name, tensor in tensors.items():
        n_bytes += tensor.nbytes
        if n_bytes > MAX_FILE_BYTES and parts[-1]:
            parts.append({})
            n_bytes = tensor.nbytes
        parts[-1][name] = tensor
    return parts


def _named(tensors: Tensors, prefix: str) -> Tensors:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
