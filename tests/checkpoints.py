"""Small Whisper checkpoints with random weights, as fine-tuning would save them, and their output.

Needs the extra `convert`: `serve_app.conversion` is tested with them.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from tokenizers import Tokenizer

from serve_app.cli import main
from serve_app.models import asset
from tests.clips import clip

WHY = "the extra serve_app[convert] is not installed"
torch = pytest.importorskip("torch", reason=WHY)
transformers = pytest.importorskip("transformers", reason=WHY)
peft = pytest.importorskip("peft", reason=WHY)

CLIPS = ("light", "train", "timer", "weather", "alarm")
N_TOKENS = 16
EOT, SOT, TASKS, NO_TIMESTAMPS = 1024, 1025, (1027, 1028, 1029, 1030), 1032
N_VOCABULARY = 2534
TIMES = tuple(range(NO_TIMESTAMPS + 1, N_VOCABULARY))  # random weights write them unasked


def save_checkpoint(folder: Path) -> Path:
    """Save a small checkpoint with the demo model's tokenizer."""
    torch.manual_seed(0)
    ids = {"bos_token_id": EOT, "eos_token_id": EOT, "pad_token_id": EOT}
    config = transformers.WhisperConfig(
        **ids,
        decoder_start_token_id=SOT,
        vocab_size=N_VOCABULARY,
        d_model=64,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        init_std=0.3,
    )
    model = transformers.WhisperForConditionalGeneration(config)
    model.generation_config = transformers.GenerationConfig(
        **ids, decoder_start_token_id=SOT, suppress_tokens=[], begin_suppress_tokens=[]
    )
    model.save_pretrained(folder)
    source = str(asset("whisper-demo-en/tokenizer.json"))
    transformers.PreTrainedTokenizerFast(tokenizer_file=source).save_pretrained(folder)
    transformers.WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)
    return folder


def save_adapter(checkpoint: Path, folder: Path) -> Path:
    """Save an adapter that changes what the checkpoint writes."""
    torch.manual_seed(1)
    model = transformers.WhisperForConditionalGeneration.from_pretrained(checkpoint)
    config = peft.LoraConfig(r=16, lora_alpha=32, target_modules=["q_proj", "v_proj"])
    adapted = peft.get_peft_model(model, config)
    for name, values in adapted.named_parameters():
        if "lora_B" in name:  # zero at the start: it would change nothing
            torch.nn.init.normal_(values, std=0.3)
    adapted.save_pretrained(folder)
    return folder


def converted(checkpoint: Path, output: Path, *options: str) -> Path:
    """Convert it as a user does."""
    words = ["models", "convert", str(checkpoint), str(output), *options]
    answer = CliRunner().invoke(main, words)
    assert answer.exit_code == 0, answer.output
    return Path(answer.stdout.strip().splitlines()[-1])


def window(name: str) -> NDArray[np.int16]:
    """A clip with silence up to the window's end, which the engine would not hear as samples."""
    return np.pad(clip(name), (0, 480_000 - len(clip(name))))


def written_by_transformers(
    checkpoint: Path, adapter: Path | None = None, *, suppressed: Sequence[int] = ()
) -> list[list[int]]:
    """The tokens of greedy search for each of CLIPS, from transformers' own features.

    Less the part of a letter with which the limit of tokens may end: the engine leaves it out.
    """
    tokenizer = Tokenizer.from_file(str(asset("whisper-demo-en") / "tokenizer.json"))
    model = transformers.WhisperForConditionalGeneration.from_pretrained(checkpoint)
    if adapter:
        model = peft.PeftModel.from_pretrained(model, str(adapter))
    model.eval()
    extract = transformers.WhisperFeatureExtractor(feature_size=80)
    written = []
    for name in CLIPS:
        samples = window(name).astype(np.float32) / 32768
        features = extract(samples, sampling_rate=16_000, return_tensors="pt").input_features
        tokens = [SOT, NO_TIMESTAMPS]
        with torch.no_grad():
            encoded = model.get_encoder()(features)
            while tokens[-1] != EOT and len(tokens) < N_TOKENS + 2:
                ids = torch.tensor([tokens])
                logits = model(encoder_outputs=encoded, decoder_input_ids=ids).logits[0, -1]
                # What the engine never writes, and what it is asked not to.
                logits[[SOT, *TASKS, *suppressed]] = -torch.inf
                tokens.append(int(logits.argmax()))
        text = [token for token in tokens[2:] if token != EOT]
        while text and tokenizer.decode(text[-4:]).endswith("\N{REPLACEMENT CHARACTER}"):
            text.pop()
        written.append(text)
    return written
