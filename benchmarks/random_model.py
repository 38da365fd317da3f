"""Whisper models of the published shapes with random weights, written without torch.

A shape in, a directory that CTranslate2 and faster-whisper load out; cached. The speed of a model
does not depend on the values of its weights, only on its shape and on how many tokens it generates,
so these stand in for the published models wherever none can be downloaded. What they write is
noise: fix the number of tokens, switch the temperature fallback off, report no error rate.

The token ids are those of the published tokenizers (51865 tokens, or 51866 with Cantonese). The
text tokens are not: the demo model's 1024, then `word1024` and so on, none of which can be encoded.
"""

import json
import shutil
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.models import asset

CACHE = Path.home() / ".cache" / "serve_app" / "random-models"
FORMAT = 2  # part of the cached name: raise it when the written model changes

N_TEXT_TOKENS = 50257  # <|endoftext|> of the multilingual models
N_AUDIO_POSITIONS = 1500  # encoder frames of 20 ms
N_TEXT_POSITIONS = 448
N_TIMESTAMPS = 1501  # 0.00 s to 30.00 s
NEVER_WRITTEN = ("startoftranscript", "translate", "transcribe", "startoflm", "startofprev")
NEVER_FIRST = (220, N_TEXT_TOKENS)  # a space, and the end
WEIGHT_SCALE = 0.02  # standard deviation; keeps activations finite through 32 layers


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What decides a Whisper model's speed."""

    width: int
    n_heads: int
    n_encoder_layers: int
    n_decoder_layers: int
    n_mels: int = 80
    n_languages: int = 99  # 100 with Cantonese
    # The attention heads that openai/whisper aligns words with, under this name.
    aligned_like: str


# The model cards of openai/whisper-* and distil-whisper/distil-large-v3.
SHAPES = {
    "tiny": Shape(
        width=384, n_heads=6, n_encoder_layers=4, n_decoder_layers=4, aligned_like="tiny"
    ),
    "base": Shape(
        width=512, n_heads=8, n_encoder_layers=6, n_decoder_layers=6, aligned_like="base"
    ),
    "small": Shape(
        width=768, n_heads=12, n_encoder_layers=12, n_decoder_layers=12, aligned_like="small"
    ),
    "medium": Shape(
        width=1024, n_heads=16, n_encoder_layers=24, n_decoder_layers=24, aligned_like="medium"
    ),
    "large-v3": Shape(
        width=1280,
        n_heads=20,
        n_encoder_layers=32,
        n_decoder_layers=32,
        n_mels=128,
        n_languages=100,
        aligned_like="large-v3",
    ),
    "large-v3-turbo": Shape(
        width=1280,
        n_heads=20,
        n_encoder_layers=32,
        n_decoder_layers=4,
        n_mels=128,
        n_languages=100,
        aligned_like="large-v3-turbo",
    ),
    "distil-large-v3": Shape(
        width=1280,
        n_heads=20,
        n_encoder_layers=32,
        n_decoder_layers=2,
        n_mels=128,
        n_languages=100,
        aligned_like="distil-large-v3",
    ),
}


def random_model(name: str, *, quantization: str = "int8", seed: int = 0) -> Path:
    """Return the directory of a model of that shape, writing it if it is not cached.

    Args:
        name: a key of `SHAPES`.
        quantization: how the weights are stored: int8, float16, float32, ...
        seed: of the weights.
    """
    return cached(
        f"{name}-{quantization}-seed{seed}",
        lambda directory: write(directory, SHAPES[name], quantization=quantization, seed=seed),
    )


def cached(name: str, write_into: Callable[[Path], None]) -> Path:
    """Return the directory of that name in the cache; where it is not there, write it first."""
    directory = CACHE / f"{name}-v{FORMAT}"
    if not directory.is_dir():
        unfinished = directory.with_suffix(".tmp")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        write_into(unfinished)
        unfinished.rename(directory)
    return directory


def end_token(directory: Path) -> int:
    """Return the id of the token that ends a text; suppressed, the length is what was asked for."""
    tokens: list[str] = json.loads((directory / "vocabulary.json").read_text())
    return tokens.index("<|endoftext|>")


def weight(name: str, shape: Sequence[int], *, seed: int) -> NDArray[np.float32]:
    """Return the values of one weight, which follow from its name: in every file format the same.

    Args:
        name: as in transformers' checkpoints, such as `model.encoder.conv1.bias`.
        shape: of the array.
        seed: of the model.
    """
    if name.endswith("layer_norm.weight"):
        return np.ones(shape, np.float32)
    if name.endswith("k_proj.bias"):
        return np.zeros(shape, np.float32)  # the published models have none
    values = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(
        shape, np.float32
    )
    values *= np.float32(WEIGHT_SCALE)
    return values


def write(directory: Path, shape: Shape, *, quantization: str, seed: int = 0) -> None:
    """Write a model of that shape, as CTranslate2 and faster-whisper load it."""
    from ctranslate2.specs import WhisperSpec

    tokens = vocabulary(shape)
    spec: Any = WhisperSpec(
        shape.n_encoder_layers, shape.n_heads, shape.n_decoder_layers, shape.n_heads
    )
    fill = _Filler(shape, seed)
    fill.encoder(spec.encoder, shape.n_mels)
    fill.decoder(spec.decoder, len(tokens))
    spec.register_vocabulary(tokens)
    special = {token: i for i, token in enumerate(tokens) if i >= N_TEXT_TOKENS}
    spec.config.suppress_ids = sorted(special[f"<|{name}|>"] for name in NEVER_WRITTEN)
    spec.config.suppress_ids_begin = list(NEVER_FIRST)
    first = special["<|startoftranscript|>"] + 1
    spec.config.lang_ids = list(range(first, first + shape.n_languages))
    spec.config.alignment_heads = _alignment_heads(shape)
    spec.validate()
    spec.optimize(quantization=quantization)
    spec.save(str(directory))
    write_text_and_features(directory, shape)


def _alignment_heads(shape: Shape) -> list[tuple[int, int]]:
    from ctranslate2.converters import transformers

    published: dict[str, list[tuple[int, int]]] = transformers._WHISPER_ALIGNMENT_HEADS
    heads = published.get(f"openai/whisper-{shape.aligned_like}")
    layers = range(shape.n_decoder_layers // 2, shape.n_decoder_layers)
    return heads or [(layer, head) for layer in layers for head in range(shape.n_heads)]


class _Filler:
    """Sets every weight of a specification to random values; names are those of the checkpoints."""

    def __init__(self, shape: Shape, seed: int) -> None:
        self._width = shape.width
        self._seed = seed

    def encoder(self, spec: Any, n_mels: int) -> None:
        part = "model.encoder"
        for conv, name, n_in in (
            (spec.conv1, f"{part}.conv1", n_mels),
            (spec.conv2, f"{part}.conv2", self._width),
        ):
            conv.weight = self._values(f"{name}.weight", self._width, n_in, 3)
            conv.bias = self._values(f"{name}.bias", self._width)
        self._positions(spec, part, N_AUDIO_POSITIONS)
        for i, layer in enumerate(spec.layer):
            name = f"{part}.layers.{i}"
            self._attention(layer.self_attention, f"{name}.self_attn", ("qkv", "out"))
            self._feed_forward(layer.ffn, name)

    def decoder(self, spec: Any, n_tokens: int) -> None:
        part = "model.decoder"
        spec.embeddings.weight = self._values(f"{part}.embed_tokens.weight", n_tokens, self._width)
        spec.projection.weight = spec.embeddings.weight  # tied, as in the published models
        self._positions(spec, part, N_TEXT_POSITIONS)
        for i, layer in enumerate(spec.layer):
            name = f"{part}.layers.{i}"
            self._attention(layer.self_attention, f"{name}.self_attn", ("qkv", "out"))
            self._attention(layer.attention, f"{name}.encoder_attn", ("q", "kv", "out"))
            self._feed_forward(layer.ffn, name)

    def _positions(self, spec: Any, part: str, n_positions: int) -> None:
        name = f"{part}.embed_positions.weight"
        spec.position_encodings.encodings = self._values(name, n_positions, self._width)
        self._norm(spec.layer_norm, f"{part}.layer_norm")

    def _attention(self, spec: Any, name: str, groups: tuple[str, ...]) -> None:
        """Fill an attention whose projections are fused in these groups."""
        self._norm(spec.layer_norm, f"{name}_layer_norm")
        for linear, group in zip(spec.linear, groups, strict=True):
            parts = (group,) if group == "out" else tuple(group)
            names = [f"{name}.{part}_proj" for part in parts]
            self._linear(linear, names, self._width, self._width)

    def _feed_forward(self, spec: Any, name: str) -> None:
        self._norm(spec.layer_norm, f"{name}.final_layer_norm")
        self._linear(spec.linear_0, [f"{name}.fc1"], 4 * self._width, self._width)
        self._linear(spec.linear_1, [f"{name}.fc2"], self._width, 4 * self._width)

    def _linear(self, spec: Any, names: Sequence[str], n_out: int, n_in: int) -> None:
        spec.weight = np.concatenate([self._values(f"{n}.weight", n_out, n_in) for n in names])
        spec.bias = np.concatenate([self._values(f"{n}.bias", n_out) for n in names])

    def _norm(self, spec: Any, name: str) -> None:
        spec.gamma = self._values(f"{name}.weight", self._width)
        spec.beta = self._values(f"{name}.bias", self._width)

    def _values(self, name: str, *shape: int) -> NDArray[np.float32]:
        return weight(name, shape, seed=self._seed)


def vocabulary(shape: Shape) -> list[str]:
    """Return the tokens, the special ones at their published ids."""
    from faster_whisper.tokenizer import _LANGUAGE_CODES

    known: list[str] = json.loads(asset("whisper-demo-en/vocabulary.json").read_text())
    text = known[: known.index("<|endoftext|>")]
    text += [f"Ġword{i}" for i in range(len(text), N_TEXT_TOKENS - 1)]
    text.append("")  # as published; CTranslate2 tells a multilingual model by this empty token
    languages = sorted(_LANGUAGE_CODES, key=lambda code: (code == "yue", code != "en", code))
    names = [
        *("endoftext", "startoftranscript"),
        *languages[: shape.n_languages],
        *("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps"),
        *(f"{i * 0.02:.2f}" for i in range(N_TIMESTAMPS)),
    ]
    return text + [f"<|{name}|>" for name in names]


def write_text_and_features(directory: Path, shape: Shape) -> None:
    """Write the tokenizer, the demo model's with these tokens, and the settings of the features."""
    tokens = vocabulary(shape)
    tokenizer = json.loads(asset("whisper-demo-en/tokenizer.json").read_text())
    template = tokenizer["added_tokens"][0]
    tokenizer["model"]["vocab"] = {token: i for i, token in enumerate(tokens[:N_TEXT_TOKENS])}
    tokenizer["added_tokens"] = [
        {**template, "id": i, "content": tokens[i]} for i in range(N_TEXT_TOKENS, len(tokens))
    ]
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    features = json.loads(asset("whisper-demo-en/preprocessor_config.json").read_text())
    features["feature_size"] = shape.n_mels
    (directory / "preprocessor_config.json").write_text(json.dumps(features, indent=1))
