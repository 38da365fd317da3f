"""What the network is trained to do: write the text and the times, and look where words are spoken.

The sum is cross-entropy over the tokens, in which a time is right within some steps; CTC over the
characters, by which the encoder learns fast; and the aligned head's attention to known word times.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional

from benchmarks.embedded_models.whisper.network import Outputs
from benchmarks.embedded_models.whisper.studio import Batch
from benchmarks.embedded_models.whisper.windows import IGNORED

SMOOTHING = 0.05
# A time that is off by some steps of 20 ms is nearly right: a bell of this width is the target.
NEAR, NEAR_WIDTH = 4, 1.5
TIME_WEIGHT, FIRST_TIME_WEIGHT = 0.6, 2.0  # the first is easily always 0.00
CTC_WEIGHT, ALIGNED_WEIGHT = (1.0, 0.3), (0.5, 0.5)  # at the beginning and at the end


@dataclass(frozen=True, kw_only=True)
class Losses:
    """The parts, each a mean."""

    total: torch.Tensor
    text: torch.Tensor  # per token of text or end
    times: torch.Tensor  # per timestamp
    characters: torch.Tensor  # per character
    aligned: torch.Tensor  # per token with a known time
    right: torch.Tensor  # share of the tokens of text that are the likeliest

    def figures(self) -> dict[str, float]:
        """Return all as plain numbers."""
        return {name: float(value.detach()) for name, value in vars(self).items()}


def compute(outputs: Outputs, batch: Batch, *, first_timestamp: int, progress: float) -> Losses:
    """Return the losses of a batch.

    Args:
        outputs: the network's.
        batch: what it had to write.
        first_timestamp: the token of 0.00; all above are times.
        progress: of the training, from 0 to 1; weights shift with it.
    """
    learnt = batch.labels != IGNORED
    scores = outputs.logits[learnt].log_softmax(-1)
    labels = batch.labels[learnt]
    is_time = labels >= first_timestamp
    text = _text_loss(scores[~is_time], labels[~is_time])
    text_only = -scores[~is_time].gather(1, labels[~is_time, None])
    # The first label is a time too, where there is speech; after a prompt it is not in column 0.
    n_before = learnt.long().cumsum(1)
    is_first = (n_before == 1)[learnt]
    times = _time_loss(scores[is_time], labels[is_time], first_timestamp)
    weights = torch.where(is_first[is_time], FIRST_TIME_WEIGHT, TIME_WEIGHT)
    tokens = (text.sum() + (times * weights).sum()) / len(labels)
    characters = _character_loss(outputs.characters, batch)
    aligned = _aligned_loss(outputs.attention, batch.aligned)
    ctc_weight, aligned_weight = (
        start + (end - start) * progress for start, end in (CTC_WEIGHT, ALIGNED_WEIGHT)
    )
    return Losses(
        total=tokens + ctc_weight * characters + aligned_weight * aligned,
        text=text_only.mean(),
        times=times.mean() if len(times) else tokens * 0,
        characters=characters,
        aligned=aligned,
        right=(scores[~is_time].argmax(1) == labels[~is_time]).float().mean(),
    )


def _text_loss(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the cross entropy of each, the targets smoothed."""
    exact = -scores.gather(1, labels[:, None])[:, 0]
    return (1 - SMOOTHING) * exact - SMOOTHING * scores.mean(1)


def _time_loss(scores: torch.Tensor, labels: torch.Tensor, first: int) -> torch.Tensor:
    """Return the cross entropy of each, the target a bell around the right time."""
    steps = torch.arange(-NEAR, NEAR + 1, device=labels.device)
    bell = torch.exp(-((steps / NEAR_WIDTH) ** 2) / 2)
    near = (labels[:, None] + steps).clamp(first, scores.shape[1] - 1)
    return -(scores.gather(1, near) * bell / bell.sum()).sum(1)


def _character_loss(log_probs: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return CTC's loss per character, over the windows whose characters are known."""
    known = batch.n_characters > 0
    if not known.any():
        return log_probs.sum() * 0
    n_frames = torch.full_like(batch.n_characters[known], log_probs.shape[1])
    lost = functional.ctc_loss(
        log_probs[known].transpose(0, 1),
        batch.characters[known],
        n_frames,
        batch.n_characters[known],
        reduction="sum",
        zero_infinity=True,
    )
    return lost / batch.n_characters.sum()


def _aligned_loss(attention: torch.Tensor, aligned: torch.Tensor) -> torch.Tensor:
    """Return how little the aligned head looks at the frames where a token is spoken."""
    if not len(aligned):
        return attention.sum() * 0
    row, position, first, end = aligned.T
    scores = attention[row, position].log_softmax(-1)
    frames = torch.arange(scores.shape[1], device=scores.device)
    spoken = (frames >= first[:, None]) & (frames < end[:, None])
    inside: torch.Tensor = (scores * spoken).sum(1) / spoken.sum(1).clamp(min=1)
    return -inside.mean()
