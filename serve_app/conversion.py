"""A Whisper checkpoint of transformers in, a model that CTranslate2 reads out (extra `convert`).

Called by `serve-app models convert`. What comes out is named in a profile like any other model.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_app.errors import ModelLoadError

# What faster-whisper reads beside the weights.
COPIED = ("tokenizer.json", "preprocessor_config.json")
QUANTIZATIONS = (
    *("float32", "float16", "bfloat16", "int8", "int8_float16", "int8_bfloat16"),
    *("int8_float32", "int16"),
)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What is to be converted."""

    source: str  # a directory, or a Hugging Face id
    lora: Path | None = None  # an adapter of PEFT's, merged into the weights first


def convert(checkpoint: Checkpoint, output: Path, *, quantization: str) -> Path:
    """Convert a checkpoint; return the directory of the model, which appears whole or not at all.

    Args:
        checkpoint: a Whisper model, fine-tuned or not.
        output: a directory that does not exist yet.
        quantization: one of QUANTIZATIONS: the type in which the weights are stored.

    Raises:
        ModelLoadError: it cannot be loaded, converted or stored, or the extra is not installed.
    """
    if os.path.lexists(output):
        reason = f"{output} exists already. Name another directory for the model."
        raise ModelLoadError(checkpoint.source, reason)
    try:
        from ctranslate2.converters import TransformersConverter

        with _made_beside(output) as made, _completed(checkpoint) as directory:
            converter = TransformersConverter(str(directory), copy_files=list(COPIED))
            converter.convert(str(made), quantization=quantization)
            _name_languages(made)
    except ImportError as error:
        reason = f"{error}. Install the extra: pip install 'serve_app[convert]'"
        raise ModelLoadError(checkpoint.source, reason) from error
    except Exception as error:  # transformers, peft and the hub raise many unrelated types
        raise ModelLoadError(checkpoint.source, f"{type(error).__name__}: {error}") from error
    return output


@contextmanager
def _made_beside(output: Path) -> Iterator[Path]:
    """Yield where to make a directory that becomes `output`, unless an exception ends its making.

    Raises:
        FileExistsError: something has come to be at `output` meanwhile, and stays as it is.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as folder:
        made = Path(folder) / output.name
        yield made
        output.mkdir()  # a rename alone would take the place of somebody's empty directory
        made.rename(output)


@contextmanager
def _completed(checkpoint: Checkpoint) -> Iterator[Path]:
    """Write the checkpoint anew with all that the conversion needs, the adapter merged."""
    from transformers import AutoFeatureExtractor, AutoTokenizer, WhisperForConditionalGeneration

    model: Any = WhisperForConditionalGeneration.from_pretrained(checkpoint.source)
    if checkpoint.lora:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(checkpoint.lora)).merge_and_unload()
    with tempfile.TemporaryDirectory(prefix="serve-app-") as folder:
        model.save_pretrained(folder)
        # Fine-tuning often saves slow tokenizers only, and no preprocessor's config.
        AutoTokenizer.from_pretrained(checkpoint.source).save_pretrained(folder)
        AutoFeatureExtractor.from_pretrained(checkpoint.source).save_pretrained(folder)
        yield Path(folder)


def _name_languages(model: Path) -> None:
    """Write the languages' tokens into the model's config, where the converter found none.

    They stand between `<|startoftranscript|>` and the tasks. Without them CTranslate2 cannot detect
    a language.
    """
    path = model / "config.json"
    config = json.loads(path.read_text())
    if not config.get("lang_ids"):
        added = json.loads((model / "tokenizer.json").read_text())["added_tokens"]
        ids = {token["content"]: token["id"] for token in added}
        tasks = min(ids["<|translate|>"], ids["<|transcribe|>"])
        config["lang_ids"] = list(range(ids["<|startoftranscript|>"] + 1, tasks))
        path.write_text(json.dumps(config, indent=2))
