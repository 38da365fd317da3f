"""Whisper's network, small, for training: with a window of any length and two heads of its own.

Weights have the names of transformers, so that a checkpoint can be written without renaming. What
is added: characters by CTC from the encoder; the attention of one head of the last decoder layer,
which training leads to the frames where each word is spoken; and that the timestamps' embeddings
are a linear map of the encoder's position table, so that what is learnt of one time holds for all.
The first is left out of the model that is shipped; the second makes its word times; the third is
written out as plain embeddings.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import nn
from torch.nn import functional

from benchmarks.embedded_models.whisper.studio import N_MELS
from benchmarks.embedded_models.whisper.tokenizer import N_TIMESTAMPS
from benchmarks.embedded_models.whisper.windows import CHARACTERS

N_AUDIO_POSITIONS, N_TEXT_POSITIONS = 1500, 448
# Of the encoder's position table: sinusoids of full height drown what the convolutions give at
# first (0.7 RMS against 0.04).
POSITION_SCALE = 0.2
ALIGNED_HEAD = 0  # of the last decoder layer
STEP_SCALE = 0.1  # of the sinusoids that timestamps are made of: their map learns no faster
FITTED_STEPS, RIDGE = 300, 1e-2  # of 20 ms; of the fit that finds the map in a model without one


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What decides the network's size and speed."""

    width: int
    n_heads: int
    n_encoder_layers: int
    n_decoder_layers: int
    n_tokens: int

    def to_dict(self) -> dict[str, int]:
        """Return the fields."""
        return asdict(self)


class Outputs(NamedTuple):
    """What the losses look at."""

    logits: torch.Tensor  # (b, n_tokens, vocabulary)
    characters: torch.Tensor  # (b, n_frames, characters + 1), log-probabilities
    attention: torch.Tensor  # (b, n_tokens, n_frames), of the aligned head, before its softmax


class Attention(nn.Module):
    """Attention over a sequence, its own or another."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(
        self, x: torch.Tensor, other: torch.Tensor | None = None, *, causal: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return what is attended to, and the queries and keys of ALIGNED_HEAD."""
        other = x if other is None else other
        q, k, v = (
            made.unflatten(2, (self.n_heads, -1)).transpose(1, 2)
            for made in (self.q_proj(x), self.k_proj(other), self.v_proj(other))
        )
        seen = _attend(q, k, v, causal=causal)
        return (
            self.out_proj(seen.transpose(1, 2).flatten(2)),
            q[:, ALIGNED_HEAD],
            k[:, ALIGNED_HEAD],
        )


def _attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, causal: bool) -> torch.Tensor:
    """Return the attention of (b, n_heads, n, width of a head).

    On a CPU torch's own takes 1.6 times as long in bfloat16, forward and backward, over 30 s.
    """
    if causal or q.is_cuda:
        return functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
    scores = (q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5
    seen: torch.Tensor = scores.softmax(-1) @ v
    return seen


class EncoderLayer(nn.Module):
    """Attention and a feed-forward net, each on top of what comes in."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, n_heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (b, n, width)."""
        x = x + self.self_attn(self.self_attn_layer_norm(x))[0]
        return x + self.feed_forward(x)

    def feed_forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what is added to (b, n, width)."""
        made: torch.Tensor = self.fc2(functional.gelu(self.fc1(self.final_layer_norm(x))))
        return made


class DecoderLayer(EncoderLayer):
    """The same, with attention to the encoder's output between."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__(width, n_heads)
        self.encoder_attn = Attention(width, n_heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(width)

    def decode(self, x: torch.Tensor, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (b, n, width), and the aligned head's attention before its softmax."""
        x = x + self.self_attn(self.self_attn_layer_norm(x), causal=True)[0]
        seen, q, k = self.encoder_attn(self.encoder_attn_layer_norm(x), audio)
        x = x + seen
        attention = q.float() @ k.float().transpose(1, 2) / math.sqrt(q.shape[-1])
        return x + self.feed_forward(x), attention


class Encoder(nn.Module):
    """Log-mel features -> a vector for every 20 ms."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(N_MELS, shape.width, 3, padding=1)
        self.conv2 = nn.Conv1d(shape.width, shape.width, 3, stride=2, padding=1)
        for conv in (self.conv1, self.conv2):
            nn.init.kaiming_normal_(conv.weight)
        self.embed_positions = nn.Embedding(N_AUDIO_POSITIONS, shape.width)
        self.embed_positions.weight.data = POSITION_SCALE * sinusoids(
            N_AUDIO_POSITIONS, shape.width
        )
        self.embed_positions.requires_grad_(False)
        self.layers = nn.ModuleList(
            EncoderLayer(shape.width, shape.n_heads) for _ in range(shape.n_encoder_layers)
        )
        self.layer_norm = nn.LayerNorm(shape.width)

    def forward(self, features: torch.Tensor, offset: int = 0) -> torch.Tensor:
        """Return (b, n_frames / 2, width) of (b, N_MELS, n_frames), at most 30 s.

        Args:
            features: log-mel.
            offset: positions by which the window lies later, as it would in a longer one.
        """
        x = functional.gelu(self.conv2(functional.gelu(self.conv1(features)))).transpose(1, 2)
        x = x + self.embed_positions.weight[offset : offset + x.shape[1]]
        for layer in self.layers:
            x = layer(x)
        made: torch.Tensor = self.layer_norm(x)
        return made


class Decoder(nn.Module):
    """The tokens so far and the encoder's output -> what the next token depends on."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.n_tokens, shape.width)
        self.embed_positions = nn.Embedding(N_TEXT_POSITIONS, shape.width)
        nn.init.normal_(self.embed_tokens.weight, std=0.05)
        nn.init.normal_(self.embed_positions.weight, std=0.02)
        self.times = nn.Linear(shape.width, shape.width, bias=False)
        steps = STEP_SCALE * sinusoids(N_TIMESTAMPS, shape.width)
        self.register_buffer("steps", steps, persistent=False)
        self.steps: torch.Tensor
        self.layers = nn.ModuleList(
            DecoderLayer(shape.width, shape.n_heads) for _ in range(shape.n_decoder_layers)
        )
        self.layer_norm = nn.LayerNorm(shape.width)

    def embeddings(self) -> torch.Tensor:
        """Return those of all tokens, (n_tokens, width); timestamps are the last ones."""
        own = self.embed_tokens.weight
        return torch.cat([own[:-N_TIMESTAMPS], own[-N_TIMESTAMPS:] + self.times(self.steps)])

    def share_times(self) -> None:
        """Find the map in timestamps that were learnt one by one, of which the late ones are rare.

        By ridge regression on the first ones. The map then holds for all.
        """
        own, steps = self.embed_tokens.weight[-N_TIMESTAMPS:], self.steps[:FITTED_STEPS]
        gram = steps.T @ steps + RIDGE * torch.eye(steps.shape[1])
        self.times.weight.copy_(torch.linalg.solve(gram, steps.T @ own[:FITTED_STEPS]).T)
        own.zero_()

    def forward(
        self, tokens: torch.Tensor, audio: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (b, n, width) and the last layer's aligned attention."""
        embedded = functional.embedding(tokens, self.embeddings())
        x = embedded + self.embed_positions.weight[: tokens.shape[1]]
        attention = x
        for layer in self.layers:
            x, attention = layer.decode(x, audio)  # type: ignore[operator]
        return self.layer_norm(x), attention


class Network(nn.Module):
    """The whole, under the names of transformers: `model.encoder...`, `model.decoder...`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.model = nn.ModuleDict({"encoder": Encoder(shape), "decoder": Decoder(shape)})
        self.ctc = nn.Linear(shape.width, len(CHARACTERS) + 1)

    @property
    def decoder(self) -> Decoder:
        """Return the decoder."""
        decoder: Any = self.model["decoder"]
        return cast(Decoder, decoder)

    def forward(self, features: torch.Tensor, tokens: torch.Tensor, offset: int = 0) -> Outputs:
        """Return what is to be learnt from, given the tokens before each."""
        audio = self.model["encoder"](features, offset)
        made, attention = self.decoder(tokens, audio)
        return Outputs(
            logits=(made @ self.decoder.embeddings().T).float(),
            characters=self.ctc(audio).float().log_softmax(-1),
            attention=attention,
        )


def sinusoids(n: int, width: int) -> torch.Tensor:
    """Return Whisper's position table, (n, width): sines, then cosines, of falling frequencies."""
    falling = torch.exp(-math.log(10_000) / (width // 2 - 1) * torch.arange(width // 2))
    angles = torch.arange(n)[:, None] * falling
    return torch.cat([angles.sin(), angles.cos()], 1)


def start_from(network: Network, weights: Mapping[str, torch.Tensor]) -> int:
    """Copy the weights of a network of the same width; return how many layers are new.

    A layer that the weights lack is set to add nothing at first, so that a deeper network begins
    where the shallower one was.

    Raises:
        ValueError: the widths or vocabularies differ.
    """
    own = network.state_dict()
    if wrong := [k for k, w in weights.items() if k in own and own[k].shape != w.shape]:
        raise ValueError(f"The checkpoint has another shape: {wrong[0]}")
    if unknown := [k for k in weights if k not in own]:
        raise ValueError(f"The checkpoint has more than the network: {unknown[0]}")
    missing = {name for name in own if name not in weights}
    network.load_state_dict(dict(weights), strict=False)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name in missing and (".out_proj." in name or ".fc2." in name):
                weight.zero_()
        if any(".times." in name for name in missing):
            network.decoder.share_times()
    return len({re.sub(r"(layers\.\d+)\..*", r"\1", name) for name in missing})
