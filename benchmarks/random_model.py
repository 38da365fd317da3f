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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.models import asset

CACHE = Path.home() / ".cache" / "serve_app" / "random-models"
FORMAT = 1  # part of the cached name: raise it when the written model changes

N_TEXT_TOKENS = 50257  # <|endoftext|> of the multilingual models
N_AUDIO_POSITIONS = 1500  # encoder frames of 20 ms
N_TEXT_POSITIONS = 448
N_TIMESTAMPS = 1501  # 0.00 s to 30.00 s
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
    directory = CACHE / f"{name}-{quantization}-seed{seed}-v{FORMAT}"
    if not directory.is_dir():
        unfinished = directory.with_suffix(".tmp")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        _write(unfinished, SHAPES[name], quantization, np.random.default_rng(seed))
        unfinished.rename(directory)
    return directory


def end_token(directory: Path) -> int:
    """Return the id of the token that ends a text; suppressed, the length is what was asked for."""
    tokens: list[str] = json.loads((directory / "vocabulary.json").read_text())
    return tokens.index("<|endoftext|>")


def _write(directory: Path, shape: Shape, quantization: str, rng: np.random.Generator) -> None:
    from ctranslate2.specs import WhisperSpec

    tokens = _tokens(shape)
    spec: Any = WhisperSpec(
        shape.n_encoder_layers, shape.n_heads, shape.n_decoder_layers, shape.n_heads
    )
    fill = _Filler(rng, shape.width)
    fill.encoder(spec.encoder, shape.n_mels)
    fill.decoder(spec.decoder, len(tokens))
    spec.register_vocabulary(tokens)
    special = {token: i for i, token in enumerate(tokens) if i >= N_TEXT_TOKENS}
    spec.config.suppress_ids = sorted(
        special[f"<|{name}|>"]
        for name in ("startoftranscript", "translate", "transcribe", "startoflm", "startofprev")
    )
    spec.config.suppress_ids_begin = [220, N_TEXT_TOKENS]  # a space, and the end
    first = special["<|startoftranscript|>"] + 1
    spec.config.lang_ids = list(range(first, first + shape.n_languages))
    spec.config.alignment_heads = _alignment_heads(shape)
    spec.validate()
    spec.optimize(quantization=quantization)
    spec.save(str(directory))
    _write_tokenizer(directory, tokens)
    features = json.loads(asset("whisper-demo-en/preprocessor_config.json").read_text())
    features["feature_size"] = shape.n_mels
    (directory / "preprocessor_config.json").write_text(json.dumps(features, indent=1))


def _alignment_heads(shape: Shape) -> list[tuple[int, int]]:
    from ctranslate2.converters import transformers

    published: dict[str, list[tuple[int, int]]] = transformers._WHISPER_ALIGNMENT_HEADS
    heads = published.get(f"openai/whisper-{shape.aligned_like}")
    layers = range(shape.n_decoder_layers // 2, shape.n_decoder_layers)
    return heads or [(layer, head) for layer in layers for head in range(shape.n_heads)]


class _Filler:
    """Sets every weight of a specification to random values of the right shape."""

    def __init__(self, rng: np.random.Generator, width: int) -> None:
        self._rng = rng
        self._width = width

    def encoder(self, spec: Any, n_mels: int) -> None:
        for conv, n_in in ((spec.conv1, n_mels), (spec.conv2, self._width)):
            conv.weight = self._values(self._width, n_in, 3)
            conv.bias = self._values(self._width)
        spec.position_encodings.encodings = self._values(N_AUDIO_POSITIONS, self._width)
        self._norm(spec.layer_norm)
        for layer in spec.layer:
            self._attention(layer.self_attention, parts=(3, 1))
            self._feed_forward(layer.ffn)

    def decoder(self, spec: Any, n_tokens: int) -> None:
        spec.embeddings.weight = self._values(n_tokens, self._width)
        spec.projection.weight = spec.embeddings.weight  # tied, as in the published models
        spec.position_encodings.encodings = self._values(N_TEXT_POSITIONS, self._width)
        self._norm(spec.layer_norm)
        for layer in spec.layer:
            self._attention(layer.self_attention, parts=(3, 1))
            self._attention(layer.attention, parts=(1, 2, 1))
            self._feed_forward(layer.ffn)

    def _attention(self, spec: Any, parts: tuple[int, ...]) -> None:
        """Fill an attention whose projections are fused in groups of so many."""
        self._norm(spec.layer_norm)
        for linear, n_fused in zip(spec.linear, parts, strict=True):
            self._linear(linear, n_fused * self._width, self._width)

    def _feed_forward(self, spec: Any) -> None:
        self._norm(spec.layer_norm)
        self._linear(spec.linear_0, 4 * self._width, self._width)
        self._linear(spec.linear_1, self._width, 4 * self._width)

    def _linear(self, spec: Any, n_out: int, n_in: int) -> None:
        spec.weight = self._values(n_out, n_in)
        spec.bias = self._values(n_out)

    def _norm(self, spec: Any) -> None:
        spec.gamma = np.ones(self._width, np.float32)
        spec.beta = self._values(self._width)

    def _values(self, *shape: int) -> NDArray[np.float32]:
        values = self._rng.standard_normal(shape, np.float32)
        values *= np.float32(WEIGHT_SCALE)
        return values


def _tokens(shape: Shape) -> list[str]:
    """Return the vocabulary, special tokens at their published ids."""
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


def _write_tokenizer(directory: Path, tokens: list[str]) -> None:
    """Write tokenizer.json: the demo model's, with these tokens at these ids."""
    tokenizer = json.loads(asset("whisper-demo-en/tokenizer.json").read_text())
    template = tokenizer["added_tokens"][0]
    tokenizer["model"]["vocab"] = {token: i for i, token in enumerate(tokens[:N_TEXT_TOKENS])}
    tokenizer["added_tokens"] = [
        {**template, "id": i, "content": tokens[i]} for i in range(N_TEXT_TOKENS, len(tokens))
    ]
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
