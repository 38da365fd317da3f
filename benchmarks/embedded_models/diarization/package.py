"""The trained networks -> a directory that pyannote.audio's Pipeline.from_pretrained loads.

The PLDA that VBx clusters with is estimated here from embeddings of the training voices, in the
form that pyannote.audio reads.
"""

import shutil
from pathlib import Path
from typing import Any

import click
import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from pyannote.audio.core.task import Problem, Resolution, Specifications
from scipy.linalg import eigh

from benchmarks.embedded_models.diarization import train_embedding, train_segmentation
from benchmarks.embedded_models.diarization.voices import Bank, load_bank
from serve_app import models
from serve_app.domain import SAMPLE_RATE

Matrix = NDArray[np.float64]

N_CLIPS, CLIP_S = 12, 2.5  # of each voice
N_PLDA = 64  # dimensions kept


def save(network: Any, path: Path) -> None:
    """Write a network as a Lightning checkpoint, its weights in float16."""
    weights = {
        name: w.half() if w.is_floating_point() else w for name, w in network.state_dict().items()
    }
    checkpoint = {
        "state_dict": weights,
        "hyper_parameters": dict(network.hparams),
        "pytorch-lightning_version": lightning.__version__,
    }
    network.on_save_checkpoint(checkpoint)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, path)


def embed_voices(network: Any, bank: Bank) -> tuple[Matrix, NDArray[np.int64]]:
    """Return N_CLIPS embeddings of each voice, shape (n, d), and whose each is."""
    rng = np.random.default_rng(5)
    n = round(CLIP_S * SAMPLE_RATE)
    made = []
    with torch.inference_mode():
        for voice in range(bank.n_voices):
            clips = [
                train_embedding.spoil(train_embedding.draw_clip(bank, rng, voice, n), rng)
                for _ in range(N_CLIPS)
            ]
            made.append(network(torch.from_numpy(np.stack(clips))[:, None]).numpy())
    return np.concatenate(made).astype(np.float64), np.repeat(np.arange(bank.n_voices), N_CLIPS)


def covariances(points: Matrix, voices: NDArray[np.int64]) -> tuple[Matrix, Matrix]:
    """Return the covariance within and between voices, made invertible."""
    means = np.stack([points[voices == v].mean(0) for v in range(voices.max() + 1)])
    within, between = np.cov((points - means[voices]).T), np.cov(means.T)
    eye = np.eye(len(within))
    return within + 1e-4 * np.trace(within) / len(eye) * eye, between + 1e-6 * eye


def save_plda(points: Matrix, voices: NDArray[np.int64], folder: Path) -> None:
    """Estimate the PLDA and write it, in the files and keys of pyannote.audio's `vbx_setup`."""

    def on_sphere(rows: Matrix) -> Matrix:
        scaled: Matrix = rows * (rows.shape[1] ** 0.5 / np.linalg.norm(rows, axis=1)[:, None])
        return scaled

    mean1 = points.mean(0)
    centred = on_sphere(points - mean1)
    within, between = covariances(centred, voices)
    lda = eigh(between, within)[1][:, ::-1][:, :N_PLDA]
    mean2 = (centred @ lda).mean(0)
    projected = on_sphere(centred @ lda - mean2)
    within, between = covariances(projected, voices)
    psi, vectors = eigh(between, within)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "xvec_transform.npz", mean1=mean1, mean2=mean2, lda=lda)
    psi = np.maximum(psi, 1e-4)
    np.savez(folder / "plda.npz", mu=projected.mean(0), tr=vectors.T, psi=psi)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
def main(folder: Path, out: Path) -> None:
    """Put the networks of FOLDER into the directory OUT, with the shipped config.yaml."""
    segmentation = train_segmentation.make_network()
    segmentation.load_state_dict(torch.load(folder / "segmentation.pt"))
    save(segmentation, out / "segmentation" / "pytorch_model.bin")
    embedding = train_embedding.make_network()
    embedding.load_state_dict(torch.load(folder / "embedding.pt"))
    embedding.specifications = Specifications(
        problem=Problem.REPRESENTATION,
        resolution=Resolution.CHUNK,
        duration=10.0,
        min_duration=1.0,
        classes=None,
    )
    save(embedding, out / "embedding" / "pytorch_model.bin")
    save_plda(*embed_voices(embedding.eval(), load_bank(folder)), out / "plda")
    # Its clustering thresholds were chosen on conversations of eight held-out voices.
    shutil.copy(models.asset("diarization-demo") / "config.yaml", out / "config.yaml")


if __name__ == "__main__":
    main()
