"""The models of `random_model.py` as the peers load them: the same numbers in other files.

A shape in, a folder for transformers or a checkpoint for openai-whisper out; cached. They are
written with the peers' own classes, so both need the extra `peers`.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.random_model import (
    N_AUDIO_POSITIONS,
    N_TEXT_POSITIONS,
    N_TEXT_TOKENS,
    NEVER_FIRST,
    NEVER_WRITTEN,
    SHAPES,
    Shape,
    cached,
    vocabulary,
    weight,
    write_text_and_features,
)

CHECKPOINT = "model.pt"
END = "<|endoftext|>"

# openai-whisper's names of the weights, and what stands for them in transformers' checkpoints; to
# be replaced in this order.
_NAMES = (
    ("token_embedding", "embed_tokens"),
    ("positional_embedding", "embed_positions.weight"),
    ("blocks", "layers"),
    ("cross_attn", "encoder_attn"),
    (".attn", ".self_attn"),
    ("attn_ln", "attn_layer_norm"),
    ("mlp_ln", "final_layer_norm"),
    ("mlp.0", "fc1"),
    ("mlp.2", "fc2"),
    ("query", "q_proj"),
    ("key", "k_proj"),
    ("value", "v_proj"),
    ("attn.out", "attn.out_proj"),
    ("encoder.ln_post", "encoder.layer_norm"),
    ("decoder.ln", "decoder.layer_norm"),
)


def transformers_model(name: str, *, seed: int = 0) -> Path:
    """Return the folder of a model of that shape, a key of `SHAPES`, for transformers."""
    return cached(
        f"{name}-transformers-seed{seed}", partial(write_transformers, SHAPES[name], seed=seed)
    )


def openai_model(name: str, *, seed: int = 0) -> Path:
    """Return the checkpoint of a model of that shape, a key of `SHAPES`, for openai-whisper."""
    directory = cached(f"{name}-openai-seed{seed}", partial(write_openai, SHAPES[name], seed=seed))
    return directory / CHECKPOINT


def write_transformers(shape: Shape, directory: Path, *, seed: int = 0) -> None:
    """Write configuration, weights, tokenizer and features as transformers' pipeline reads them."""
    from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

    ids = {token: i for i, token in enumerate(vocabulary(shape)) if i >= N_TEXT_TOKENS}
    special: dict[str, Any] = {
        "bos_token_id": N_TEXT_TOKENS,
        "eos_token_id": N_TEXT_TOKENS,
        "pad_token_id": N_TEXT_TOKENS,
        "decoder_start_token_id": ids["<|startoftranscript|>"],
    }
    config = WhisperConfig(
        vocab_size=len(vocabulary(shape)),
        num_mel_bins=shape.n_mels,
        d_model=shape.width,
        encoder_layers=shape.n_encoder_layers,
        encoder_attention_heads=shape.n_heads,
        encoder_ffn_dim=4 * shape.width,
        decoder_layers=shape.n_decoder_layers,
        decoder_attention_heads=shape.n_heads,
        decoder_ffn_dim=4 * shape.width,
        **special,
    )
    model = WhisperForConditionalGeneration(config)
    # The head that makes tokens is the table of the tokens.
    tied = {"proj_out.weight": "model.decoder.embed_tokens.weight"}
    _fill(model, lambda name: tied.get(name, name), seed)
    first = ids["<|startoftranscript|>"] + 1
    model.generation_config = GenerationConfig(
        max_length=N_TEXT_POSITIONS,
        is_multilingual=True,
        lang_to_id={t: i for t, i in ids.items() if first <= i < first + shape.n_languages},
        task_to_id={task: ids[f"<|{task}|>"] for task in ("transcribe", "translate")},
        no_timestamps_token_id=ids["<|notimestamps|>"],
        suppress_tokens=sorted(ids[f"<|{name}|>"] for name in NEVER_WRITTEN),
        begin_suppress_tokens=list(NEVER_FIRST),
        **special,
    )
    model.save_pretrained(directory)
    write_text_and_features(directory, shape)
    roles = dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), END)
    tokenizer = {"tokenizer_class": "WhisperTokenizer", **roles}
    (directory / "tokenizer_config.json").write_text(json.dumps(tokenizer, indent=1))


def write_openai(shape: Shape, directory: Path, *, seed: int = 0) -> None:
    """Write a checkpoint that openai-whisper's `load_model` takes by its path."""
    import torch
    from whisper.model import ModelDimensions, Whisper

    dimensions = ModelDimensions(
        n_mels=shape.n_mels,
        n_audio_ctx=N_AUDIO_POSITIONS,
        n_audio_state=shape.width,
        n_audio_head=shape.n_heads,
        n_audio_layer=shape.n_encoder_layers,
        n_vocab=len(vocabulary(shape)),
        n_text_ctx=N_TEXT_POSITIONS,
        n_text_state=shape.width,
        n_text_head=shape.n_heads,
        n_text_layer=shape.n_decoder_layers,
    )
    model = Whisper(dimensions)
    _fill(model, published_name, seed)
    torch.save(
        {"dims": asdict(dimensions), "model_state_dict": model.state_dict()},
        directory / CHECKPOINT,
    )


def published_name(name: str) -> str:
    """Return the name in transformers' checkpoints of a weight of openai-whisper."""
    for own, published in _NAMES:
        name = name.replace(own, published)
    return f"model.{name}"


def _fill(model: Any, name_of: Callable[[str], str], seed: int) -> None:
    """Set every weight of a torch model by its name in transformers' checkpoints."""
    import torch

    for name, tensor in model.state_dict().items():
        tensor.copy_(torch.from_numpy(weight(name_of(name), tuple(tensor.shape), seed=seed)))
