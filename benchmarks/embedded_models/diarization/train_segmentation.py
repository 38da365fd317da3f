"""Who speaks in each frame of 5 s of audio: FOLDER/voices.npz -> FOLDER/segmentation.pt.

A small PyanNet with pyannote.audio's powerset classes, up to 3 speakers and 2 at once. Windows are
cut from conversations that are made as it goes. A network trained on 10 s windows first gave the
shipped weights; trained on 5 s alone it was not tried.
"""

import itertools
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from pyannote.audio.core.task import Problem, Resolution, Specifications
from pyannote.audio.models.segmentation.PyanNet import PyanNet
from torch.nn import functional

from benchmarks.conversations import Samples, make_conversation
from benchmarks.embedded_models.diarization.voices import Bank, load_bank
from serve_app.domain import SAMPLE_RATE

WINDOW_S = 5.0
BATCH = 32
PEAK_RATE, LAST_RATE = 2e-3, 4e-5  # of learning
N_WARM_UP = 30  # steps
HOLD = 0.5  # of the time, before the rate falls
N_SPEAKERS = (0, 1, 2, 3)
P_SPEAKERS = (0.03, 0.2, 0.5, 0.27)
# Speakers in a frame, in pyannote.audio's order, and each class under every order of the speakers.
CLASSES = ((), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2))
ORDERS = torch.tensor(
    [
        [CLASSES.index(tuple(sorted(order[i] for i in one))) for one in CLASSES]
        for order in itertools.permutations(range(3))
    ]
)


def make_network() -> Any:
    """Return the untrained network; its sinc filters stay as they are made."""
    network: Any = PyanNet(
        sincnet={"stride": 20},
        lstm={"hidden_size": 96, "num_layers": 2, "dropout": 0.0},
        linear={"hidden_size": 64, "num_layers": 1},
    )
    network.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=WINDOW_S,
        min_duration=None,
        warm_up=(0.0, 0.0),
        classes=[f"speaker#{i + 1}" for i in range(3)],
        powerset_max_classes=2,
        permutation_invariant=True,
    )
    network.build()
    first = network.sincnet
    for weight in (*first.wav_norm1d.parameters(), *first.conv1d[0].parameters()):
        weight.requires_grad_(False)
    return network


def draw_window(
    bank: Bank, rng: np.random.Generator, middles_s: NDArray[np.float64]
) -> tuple[Samples, NDArray[np.int64]]:
    """Return a window and the class of each of its frames, given the frames' middles."""
    n = int(rng.choice(N_SPEAKERS, p=P_SPEAKERS))
    n_samples = round(WINDOW_S * SAMPLE_RATE)
    if n == 0:
        quiet = rng.standard_normal(n_samples) * 10 ** rng.uniform(-4, -2)
        return quiet.astype(np.float32), np.zeros(len(middles_s), np.int64)
    voices = [str(v) for v in rng.choice(bank.n_voices, n, replace=False)]
    made = make_conversation(rng, voices, lambda voice: bank.draw(rng, int(voice)), 2 * WINDOW_S)
    start_s = rng.uniform(0, WINDOW_S)
    active = np.zeros((len(middles_s), 3), bool)
    for turn in made.turns:
        inside = (middles_s + start_s >= turn.start_s) & (middles_s + start_s < turn.end_s)
        active[inside, voices.index(turn.speaker)] = True
    active[active.all(axis=1), 2] = False
    labels = [CLASSES.index(tuple(int(i) for i in np.flatnonzero(row))) for row in active]
    start = round(start_s * SAMPLE_RATE)
    gain = 10 ** (rng.uniform(-14, 4) / 20)
    window = np.clip(made.mono()[start : start + n_samples] * gain, -1, 1)
    return window.astype(np.float32), np.array(labels)


def permutation_loss(log_probs: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Return the loss under the order of the speakers that fits best, window by window."""
    losses = [
        functional.nll_loss(log_probs.transpose(1, 2), order[classes], reduction="none").mean(1)
        for order in ORDERS
    ]
    return torch.stack(losses, 1).min(1).values.mean()


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.option("--limit-s", type=float, default=2640.0, show_default=True)
def main(folder: Path, limit_s: float) -> None:
    """Train for so many seconds and write FOLDER/segmentation.pt."""
    torch.manual_seed(0)
    rng, bank, network = np.random.default_rng(0), load_bank(folder), make_network()
    n_frames, field = network.num_frames(round(WINDOW_S * SAMPLE_RATE)), network.receptive_field
    middles_s = np.array([field[i].middle for i in range(n_frames)])
    weights = [w for w in network.parameters() if w.requires_grad]
    optimizer = torch.optim.Adam(weights)
    began_s, n_steps = time.monotonic(), 0
    network.train()
    while (done := (time.monotonic() - began_s) / limit_s) < 1:
        fall = 1 if done < HOLD else (1 - done) / (1 - HOLD)
        rate = max(LAST_RATE, PEAK_RATE * min(1, (n_steps + 1) / N_WARM_UP) * fall)
        optimizer.param_groups[0]["lr"] = rate
        windows, labels = zip(
            *(draw_window(bank, rng, middles_s) for _ in range(BATCH)), strict=True
        )
        log_probs = network(torch.from_numpy(np.stack(windows))[:, None])
        loss = permutation_loss(log_probs, torch.from_numpy(np.stack(labels)))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        n_steps += 1
        if n_steps % 20 == 1:
            click.echo(f"step {n_steps}  {done:.0%}  loss {loss.item():.3f}")
    torch.save(network.state_dict(), folder / "segmentation.pt")


if __name__ == "__main__":
    main()
