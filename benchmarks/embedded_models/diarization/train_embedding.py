"""How a voice sounds, as 96 numbers: FOLDER/voices.npz -> FOLDER/embedding.pt.

An x-vector on MFCC, trained to tell the voices apart with an additive angular margin. In some
batches a part of each clip is another voice and is masked, as the pipeline masks it.
"""

import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from pyannote.audio.models.embedding.xvector import XVectorMFCC
from torch.nn import functional

from benchmarks.conversations import Samples
from benchmarks.embedded_models.diarization.voices import Bank, load_bank
from serve_app.domain import SAMPLE_RATE

DIMENSION = 96
BATCH = 32
CLIP_S = (1.6, 2.8)
N_MASK = 200  # steps of a mask
P_MASKED = 0.4
NOISE_DB, GAIN_DB = (8.0, 32.0), (-16.0, 6.0)
MARGIN, SCALE = 0.2, 24.0
PEAK_RATE = 1.5e-3
N_WARM_UP = 50  # steps
HOLD = 0.5  # of the time, before the rate falls


def make_network() -> Any:
    """Return the untrained network: 40 log-mel coefficients, every 20 ms."""
    mel = {
        "n_fft": 512,
        "win_length": 400,
        "hop_length": 320,
        "n_mels": 40,
        "f_min": 50,
        "f_max": 7600,
    }
    return XVectorMFCC(dimension=DIMENSION, mfcc={"n_mfcc": 40, "log_mels": True, "melkwargs": mel})


def draw_clip(bank: Bank, rng: np.random.Generator, voice: int, n: int) -> Samples:
    """Return `n` samples of a voice."""
    parts: list[Samples] = []
    while sum(map(len, parts)) < n:
        parts.append(bank.draw(rng, voice))
    joined: Samples = np.concatenate(parts)
    start = int(rng.integers(len(joined) - n + 1))
    return joined[start : start + n]


def spoil(samples: Samples, rng: np.random.Generator) -> Samples:
    """Return the samples with noise, at another loudness."""
    level = samples.std() * 10 ** (-rng.uniform(*NOISE_DB) / 20)
    noisy = samples + rng.standard_normal(len(samples)) * level
    spoiled: Samples = np.clip(noisy * 10 ** (rng.uniform(*GAIN_DB) / 20), -1, 1)
    return spoiled.astype(np.float32)


def draw_batch(
    bank: Bank, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return clips (BATCH, 1, n), their voices (BATCH,) and masks (BATCH, N_MASK)."""
    n = round(rng.uniform(*CLIP_S) * SAMPLE_RATE)
    voices = rng.choice(bank.n_voices, BATCH, replace=bank.n_voices < BATCH)
    masks: NDArray[np.float32] = np.ones((BATCH, N_MASK), np.float32)
    is_masked = rng.random() < P_MASKED
    clips = []
    for i, voice in enumerate(voices):
        own = rng.uniform(0.45, 0.8) if is_masked else 1.0
        clip = draw_clip(bank, rng, int(voice), round(own * n))
        if is_masked:
            other = draw_clip(bank, rng, int(rng.integers(bank.n_voices)), n - len(clip))
            clip = np.concatenate([clip, other])
            masks[i, round(own * N_MASK) :] = 0
        clips.append(spoil(clip, rng))
    tensors = np.stack(clips)[:, None], voices, masks
    return torch.from_numpy(tensors[0]), torch.from_numpy(tensors[1]), torch.from_numpy(tensors[2])


def embed(network: Any, clips: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Return the embeddings, pooled as pyannote.audio does but for the 1e-5 under the root.

    Without it the gradient of the root at 0 is infinite, and training ends in NaN.
    """
    with torch.no_grad():
        frames = network.mfcc(clips).squeeze(1)
    for layer in network.tdnns:
        frames = layer(frames)
    weights = functional.interpolate(masks[:, None], size=frames.shape[2], mode="nearest")
    total = weights.sum(2) + 1e-8
    mean = (frames * weights).sum(2) / total
    squares = ((frames - mean[:, :, None]) ** 2 * weights).sum(2)
    variance = squares / (total - (weights**2).sum(2) / total + 1e-8)
    pooled = torch.cat([mean, torch.sqrt(variance + 1e-5)], 1)
    made: torch.Tensor = network.embedding(pooled)
    return made


def margin_loss(
    made: torch.Tensor, voices: torch.Tensor, centres: torch.Tensor, margin: float
) -> torch.Tensor:
    """Return the cross entropy of the cosines, the right one's angle made larger by a margin."""
    cosines = functional.normalize(made) @ functional.normalize(centres).T
    cosines = cosines.clamp(-0.9999, 0.9999)
    right = torch.acos(cosines.gather(1, voices[:, None])) + margin
    logits = cosines.scatter(1, voices[:, None], torch.cos(right.clamp(max=3.14))) * SCALE
    return functional.cross_entropy(logits, voices)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.option("--limit-s", type=float, default=1440.0, show_default=True)
def main(folder: Path, limit_s: float) -> None:
    """Train for so many seconds and write FOLDER/embedding.pt."""
    torch.manual_seed(0)
    rng, bank, network = np.random.default_rng(0), load_bank(folder), make_network()
    centres = torch.nn.Parameter(torch.randn(bank.n_voices, DIMENSION) * 0.05)
    weights = [*network.parameters(), centres]
    optimizer = torch.optim.AdamW(weights, weight_decay=1e-4)
    began_s, n_steps = time.monotonic(), 0
    network.train()
    while (done := (time.monotonic() - began_s) / limit_s) < 1:
        fall = 1 if done < HOLD else max(0.01, (1 - done) / (1 - HOLD))
        optimizer.param_groups[0]["lr"] = PEAK_RATE * min(1, (n_steps + 1) / N_WARM_UP) * fall
        clips, voices, masks = draw_batch(bank, rng)
        margin = MARGIN * min(1.0, done / 0.3)
        loss = margin_loss(embed(network, clips, masks), voices, centres, margin)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 5.0)
        optimizer.step()
        n_steps += 1
        if n_steps % 20 == 1:
            click.echo(f"step {n_steps}  {done:.0%}  loss {loss.item():.3f}")
    torch.save(network.state_dict(), folder / "embedding.pt")


if __name__ == "__main__":
    main()
