"""FOLDER/speech and FOLDER/tokenizer.json -> FOLDER/checkpoint, on a GPU or a CPU, in slices.

A slice goes on where the last one ended: learning rate, mix of windows and weights of the losses
follow the time trained so far over `--total-s`, which stays the same in all slices. Under
`torchrun` each process draws windows of its own, and all learn from the mean of their gradients.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, IterableDataset

from benchmarks.embedded_models.whisper import checkpoints, losses
from benchmarks.embedded_models.whisper.bank import Bank, load_bank
from benchmarks.embedded_models.whisper.checkpoints import Checkpoint
from benchmarks.embedded_models.whisper.network import Network, Shape, start_from
from benchmarks.embedded_models.whisper.studio import Studio
from benchmarks.embedded_models.whisper.tokenizer import SpeechTokenizer
from benchmarks.embedded_models.whisper.windows import Plan, Planner
from serve_app.domain import WINDOW_S

# Width, heads, encoder and decoder layers; README.md says how large and how fast each one is.
SHAPES = {
    "tiny": (64, 2, 2, 2),  # for tests
    "small": (192, 3, 4, 2),  # of the model shipped in 2026
    "deep": (192, 3, 6, 2),
    "deeper": (192, 3, 8, 2),
}
EASY = 0.06  # of the time: short windows, most of them clean; a start from a checkpoint skips it
EASY_WINDOWS_S = (2.0, 3.0, 4.0)
P_FULL = {"cuda": 0.5, "cpu": 0.25}  # of the windows after that; the rest are fitted ones
# On a CPU short ones, which teach more in the same time.
FIT_WINDOWS_S = {"cuda": (5.0, 10.0, 15.0, 20.0, 25.0), "cpu": (3.0, 5.0, 10.0, 10.0, 15.0)}
P_CLEAN_EASY, P_CLEAN = 0.85, 0.55
P_SINGLE = 0.2
AUDIO_S = {"cuda": 6000.0, "cpu": 48.0}  # of a batch's windows
RATE = {"cuda": 1.5e-3, "cpu": 8e-4}  # peak, of learning
WARM_UP, LAST = 200, 0.01  # steps; share of the peak
DECAY, BETAS, CLIP = 0.02, (0.9, 0.98), 1.0
SAVE_S, TELL_S = 60.0, 10.0


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one slice does."""

    folder: Path
    total_s: float
    slice_s: float
    shape: str
    start: Path | None
    device: str
    audio_s: float
    rate: float
    workers: int


class Plans(IterableDataset[Plan]):
    """Plans without end, drawn for how far the training is."""

    def __init__(self, bank: Bank, run: Run, n_steps: int) -> None:
        self._bank, self._run, self._n_steps = bank, run, n_steps
        self.progress = torch.zeros(()).share_memory_()  # set by the trainer, read by workers

    def __iter__(self) -> Iterator[Plan]:
        worker = torch.utils.data.get_worker_info()
        worker_id = worker.id if worker else 0
        rng = np.random.default_rng((self._n_steps, worker_id, _rank()))
        # Processes that wait for each other have windows of one length at a time.
        lengths = np.random.default_rng((self._n_steps, worker_id))
        tokenizer = SpeechTokenizer(self._run.folder / "tokenizer.json")
        planner = Planner(self._bank, tokenizer, rng)
        while True:
            easy = self._run.start is None and float(self.progress) < EASY
            window_s = self._window_s(lengths, easy=easy)
            yield planner.draw_batch(
                max(1, round(self._run.audio_s / window_s)),
                window_s,
                p_clean=P_CLEAN_EASY if easy else P_CLEAN,
                p_single=P_SINGLE,
            )

    def _window_s(self, rng: np.random.Generator, *, easy: bool) -> float:
        if easy:
            return float(rng.choice(EASY_WINDOWS_S))
        if rng.random() < P_FULL[self._run.device]:
            return WINDOW_S
        return float(rng.choice(FIT_WINDOWS_S[self._run.device]))


class Trainer:
    """The network and its optimizer, from a checkpoint or new."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._tokenizer = SpeechTokenizer(run.folder / "tokenizer.json")
        self.path = run.folder / "checkpoint"
        stored = checkpoints.load(self.path) if self.path.exists() else None
        torch.manual_seed(stored.n_steps if stored else 0)
        shape = stored.shape if stored else _shape(run.shape, self._tokenizer.size)
        network = Network(shape)
        if stored:
            network.load_state_dict(stored.weights)
        elif run.start:
            n_new = start_from(network, checkpoints.load_weights(run.start))
            click.echo(f"from {run.start}, {n_new} layers new")
        self.network = network.to(run.device)
        is_alone = not distributed.is_initialized()
        self._forward = self.network if is_alone else DistributedDataParallel(self.network)
        self._learnt = {k: w for k, w in self.network.named_parameters() if w.requires_grad}
        groups: list[dict[str, Any]] = [
            {"params": [w for w in self._learnt.values() if w.dim() > 1], "weight_decay": DECAY},
            {"params": [w for w in self._learnt.values() if w.dim() == 1], "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(groups, lr=run.rate, betas=BETAS)
        self.n_steps, self.trained_s = 0, 0.0
        if stored:
            self.n_steps, self.trained_s = stored.n_steps, stored.trained_s
            self._restore(stored.moments)

    @property
    def progress(self) -> float:
        """Return how much of the whole training is done, from 0 to 1."""
        return min(1.0, self.trained_s / self._run.total_s)

    def step(self, plan: Plan, studio: Studio) -> losses.Losses:
        """Learn from one batch."""
        with torch.no_grad():
            batch = studio.make(plan)
        rate = self._run.rate * min(1.0, (self.n_steps + 1) / WARM_UP)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * max(LAST, 1 - self.progress)
        is_fast = _has_bfloat16(self._run.device)
        with torch.autocast(self._run.device, dtype=torch.bfloat16, enabled=is_fast):
            outputs = self._forward(batch.features, batch.inputs, plan.offset)
        lost = losses.compute(
            outputs,
            batch,
            first_timestamp=self._tokenizer.first_timestamp,
            progress=self.progress,
        )
        self._optimizer.zero_grad()
        lost.total.backward()
        torch.nn.utils.clip_grad_norm_(self._learnt.values(), CLIP)
        self._optimizer.step()
        self.n_steps += 1
        return lost

    def save(self) -> None:
        """Write the checkpoint."""
        states = self._optimizer.state
        moments = {}
        for name, weight in self._learnt.items():
            if weight in states:
                moments[f"mean.{name}"] = states[weight]["exp_avg"]
                moments[f"square.{name}"] = states[weight]["exp_avg_sq"]
        checkpoint = Checkpoint(
            shape=self.network.shape,
            weights=self.network.state_dict(),
            moments=moments,
            n_steps=self.n_steps,
            trained_s=self.trained_s,
        )
        checkpoints.save(checkpoint, self.path)

    def _restore(self, moments: checkpoints.Tensors) -> None:
        for name, weight in self._learnt.items():
            self._optimizer.state[weight] = {
                "step": torch.tensor(float(self.n_steps)),
                "exp_avg": moments[f"mean.{name}"].to(weight.device),
                "exp_avg_sq": moments[f"square.{name}"].to(weight.device),
            }


def train(run: Run) -> Trainer:
    """Train for a slice, and write the checkpoint, the log and a line now and then."""
    began_s = _agreed(time.monotonic())
    bank = load_bank(run.folder / "speech")
    trainer = Trainer(run)
    plans = Plans(bank, run, trainer.n_steps)
    studio = Studio(bank, run.device, seed=trainer.n_steps + _rank())
    loader = DataLoader(
        plans,
        batch_size=None,
        num_workers=run.workers,
        prefetch_factor=4 if run.workers else None,
        # The workers share the bank's memory.
        multiprocessing_context="fork" if run.workers else None,
    )
    before_s = trainer.trained_s
    started_s = told_s = saved_s = _agreed(time.monotonic())
    is_first = _rank() == 0
    if is_first:
        ready_s = started_s - began_s
        click.echo(f"{bank.duration_s / 3600:.1f} h of speech, ready after {ready_s:.0f} s")
    for plan in loader:
        lost = trainer.step(plan, studio)
        now_s = _agreed(time.monotonic())
        trainer.trained_s = before_s + now_s - started_s
        plans.progress.fill_(trainer.progress)
        is_over = trainer.progress >= 1 or now_s - began_s > run.slice_s
        if is_first and (is_over or now_s - told_s > TELL_S):
            told_s = now_s
            _tell(run, trainer, lost, plan)
        if is_first and (is_over or now_s - saved_s > SAVE_S):
            saved_s = now_s
            trainer.save()
        if is_over:
            return trainer
    raise AssertionError("plans have no end")


def _rank() -> int:
    """Return which of the processes this is, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def _agreed(value: float) -> float:
    """Return the first process's value in each, so that all end at the same step."""
    if not distributed.is_initialized():
        return value
    shared = torch.tensor(value, dtype=torch.float64)
    distributed.broadcast(shared, src=0)
    return float(shared)


def _tell(run: Run, trainer: Trainer, lost: losses.Losses, plan: Plan) -> None:
    figures: dict[str, Any] = {
        "step": trainer.n_steps,
        "progress": round(trainer.progress, 4),
        "window_s": plan.window_s,
        **{name: round(value, 4) for name, value in lost.figures().items()},
    }
    with (run.folder / "log.jsonl").open("a") as log:
        log.write(json.dumps(figures) + "\n")
    left_s = run.total_s - trainer.trained_s
    shown = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
    click.echo(f"{shown}  {max(0, left_s):.0f} s left")


def _has_bfloat16(device: str) -> bool:
    """Tell whether a device multiplies in bfloat16; a CPU that does not takes ten times as long."""
    return device != "cpu" or bool(torch.cpu.get_capabilities()["avx512_bf16"])


def _shape(name: str, n_tokens: int) -> Shape:
    width, n_heads, n_encoder_layers, n_decoder_layers = SHAPES[name]
    return Shape(
        width=width,
        n_heads=n_heads,
        n_encoder_layers=n_encoder_layers,
        n_decoder_layers=n_decoder_layers,
        n_tokens=n_tokens,
    )


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.option("--total-s", type=float, required=True, help="Of the training, in all slices.")
@click.option("--slice-s", type=float, default=420.0, show_default=True, help="Of this call.")
@click.option("--shape", type=click.Choice(list(SHAPES)), default="deep", show_default=True)
@click.option(
    "--from",
    "start",
    type=click.Path(path_type=Path, exists=True),
    help="Weights to begin with: a checkpoint's folder or a .pt file. The tokenizer must be its.",
)
@click.option("--audio-s", type=float, default=None, help="Of a batch.")
@click.option("--rate", type=float, default=None, help="Of learning, at its peak.")
@click.option("--workers", type=int, default=None, help="Processes that plan windows.")
def main(folder: Path, total_s: float, slice_s: float, **how: Any) -> None:
    """Train for one slice; call it again until `--total-s` are over."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if distributed.is_torchelastic_launched():
        distributed.init_process_group("gloo")
    defaults: dict[str, Any] = {
        "audio_s": AUDIO_S[device],
        "rate": RATE[device],
        "workers": 8 if device == "cuda" else 0,
    }
    given = {name: value for name, value in how.items() if value is not None}
    chosen: dict[str, Any] = {"start": None, **defaults, **given}
    train(Run(folder=folder, total_s=total_s, slice_s=slice_s, device=device, **chosen))


if __name__ == "__main__":
    main()
