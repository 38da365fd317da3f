"""FOLDER/checkpoint -> a Hugging Face checkpoint, and of that the model that is served.

Needs the extra `convert`: the second step is `serve-app models convert`. FOLDER/weights.pt, written
too, is what `train --from` can go on with.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.embedded_models.whisper import checkpoints
from benchmarks.embedded_models.whisper.checkpoints import Checkpoint, Tensors
from benchmarks.embedded_models.whisper.network import (
    ALIGNED_HEAD,
    N_AUDIO_POSITIONS,
    N_TEXT_POSITIONS,
    Network,
    Shape,
)
from benchmarks.embedded_models.whisper.studio import HOP, N_FFT, N_MELS
from benchmarks.embedded_models.whisper.tokenizer import SPECIAL, SpeechTokenizer
from benchmarks.embedded_models.whisper.windows import LAST_FIRST_S
from serve_app import conversion
from serve_app.domain import SAMPLE_RATE, WINDOW_S

MAX_MODEL_BYTES = 8_000_000


def write_checkpoint(stored: Checkpoint, tokens: Path, out: Path) -> None:
    """Write the trained weights as transformers reads them, with all that faster-whisper needs.

    Args:
        stored: the training's.
        tokens: its tokenizer.json.
        out: a new directory.
    """
    from transformers import PreTrainedTokenizerFast, WhisperConfig, WhisperForConditionalGeneration

    tokenizer = SpeechTokenizer(tokens)
    network: Any = WhisperForConditionalGeneration(
        WhisperConfig(**_config(stored.shape, tokenizer))
    )
    network.load_state_dict(plain_weights(stored))
    network.generation_config = _generation(stored.shape, tokenizer)
    network.save_pretrained(out)
    end = SPECIAL[0]
    PreTrainedTokenizerFast(
        tokenizer_file=str(tokens),
        bos_token=end,
        eos_token=end,
        unk_token=end,
        pad_token=end,
    ).save_pretrained(out)
    (out / "preprocessor_config.json").write_text(json.dumps(_features(), indent=1) + "\n")


def plain_weights(stored: Checkpoint) -> Tensors:
    """Return the weights as transformers names them, without what only training needs."""
    trained = Network(stored.shape)
    trained.load_state_dict(stored.weights)
    with torch.no_grad():
        embeddings = trained.decoder.embeddings()
    names = ("proj_out.weight", "model.decoder.embed_tokens.weight")
    dropped = ("ctc.", "model.decoder.times.")
    kept = {k: w for k, w in stored.weights.items() if not k.startswith(dropped)}
    return {**kept, **dict.fromkeys(names, embeddings)}


def _config(shape: Shape, tokenizer: SpeechTokenizer) -> dict[str, Any]:
    ids = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), tokenizer.end)
    sides = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in (("attention_heads", shape.n_heads), ("ffn_dim", 4 * shape.width))
    }
    return {
        **ids,
        **sides,
        "vocab_size": tokenizer.size,
        "num_mel_bins": N_MELS,
        "d_model": shape.width,
        "encoder_layers": shape.n_encoder_layers,
        "decoder_layers": shape.n_decoder_layers,
        "max_source_positions": N_AUDIO_POSITIONS,
        "max_target_positions": N_TEXT_POSITIONS,
        "decoder_start_token_id": tokenizer.start,
        "suppress_tokens": None,
        "begin_suppress_tokens": None,
        "tie_word_embeddings": True,
    }


def _generation(shape: Shape, tokenizer: SpeechTokenizer) -> Any:
    """Return what decoding must know.

    Of the beginning only the bare space is suppressed, and not the end: that lets silence give an
    empty text where there are no timestamps.
    """
    from transformers import GenerationConfig

    ids = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), tokenizer.end)
    config: Any = GenerationConfig(**ids, decoder_start_token_id=tokenizer.start)
    never = [name for name in SPECIAL if name not in ("<|endoftext|>", "<|notimestamps|>")]
    config.suppress_tokens = [tokenizer.ids[name] for name in never]
    config.begin_suppress_tokens = [tokenizer.bare_space]
    config.alignment_heads = [[shape.n_decoder_layers - 1, ALIGNED_HEAD]]
    config.lang_to_id = {"<|en|>": tokenizer.ids["<|en|>"]}
    config.no_timestamps_token_id = tokenizer.no_timestamps
    config.is_multilingual = False
    config.max_initial_timestamp_index = round(LAST_FIRST_S * 50)
    config.max_length = N_TEXT_POSITIONS
    return config


def _features() -> dict[str, Any]:
    n_samples = round(WINDOW_S * SAMPLE_RATE)
    return {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "processor_class": "WhisperProcessor",
        "feature_size": N_MELS,
        "sampling_rate": SAMPLE_RATE,
        "hop_length": HOP,
        "chunk_length": round(WINDOW_S),
        "n_fft": N_FFT,
        "n_samples": n_samples,
        "nb_max_frames": n_samples // HOP,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
    }


def package(folder: Path, out: Path, *, quantization: str = "int8") -> None:
    """Write FOLDER/hf and, of it, the model OUT.

    Raises:
        ModelLoadError: OUT exists, or the conversion failed.
    """
    shutil.rmtree(folder / "hf", ignore_errors=True)
    stored = checkpoints.load(folder / "checkpoint")
    write_checkpoint(stored, folder / "tokenizer.json", folder / "hf")
    torch.save({k: w.half() for k, w in stored.weights.items()}, folder / "weights.pt")
    checkpoint = conversion.Checkpoint(source=str(folder / "hf"))
    conversion.convert(checkpoint, out, quantization=quantization)
    # The converter's copy has been through transformers; the model was trained with this one.
    shutil.copy(folder / "tokenizer.json", out / "tokenizer.json")
    (out / "preprocessor_config.json").write_text(json.dumps(_features(), indent=1) + "\n")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--quantization", default="int8", show_default=True)
def main(folder: Path, out: Path, quantization: str) -> None:
    """Write the model that FOLDER/checkpoint makes into the new directory OUT."""
    torch.set_num_threads(1)
    package(folder, out, quantization=quantization)
    n_bytes = (out / "model.bin").stat().st_size
    click.echo(f"{out}: model.bin has {n_bytes / 1e6:.2f} MB, of {MAX_MODEL_BYTES / 1e6:g} allowed")


if __name__ == "__main__":
    main()
