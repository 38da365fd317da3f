"""Checkpoints with random weights, converted: what they write is what transformers writes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from serve_app import Pcm, TranscriptionRequest, local, pipeline
from serve_app.cli import main
from serve_app.domain import ChunkJob, ChunkTranscript, DecodeOptions
from serve_app.models import asset, locate_model
from serve_app.settings import ModelSettings
from serve_app.stages.whisper import WhisperEngine
from tests.clips import clip

WHY = "the extra serve_app[convert] is not installed"
torch = pytest.importorskip("torch", reason=WHY)
transformers = pytest.importorskip("transformers", reason=WHY)
peft = pytest.importorskip("peft", reason=WHY)

CLIPS = ("light", "train", "timer", "weather", "alarm")
EOT, SOT, TASKS, NO_TIMESTAMPS = 1024, 1025, (1027, 1028, 1029, 1030), 1032
N_TOKENS = 16


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint with the demo model's tokenizer, as fine-tuning would save it."""
    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    ids = {"bos_token_id": EOT, "eos_token_id": EOT, "pad_token_id": EOT}
    config = transformers.WhisperConfig(
        **ids,
        decoder_start_token_id=SOT,
        vocab_size=2534,
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


@pytest.fixture(scope="module")
def adapter(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that changes what the checkpoint writes."""
    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(1)
    model = transformers.WhisperForConditionalGeneration.from_pretrained(checkpoint)
    config = peft.LoraConfig(r=16, lora_alpha=32, target_modules=["q_proj", "v_proj"])
    adapted = peft.get_peft_model(model, config)
    for name, values in adapted.named_parameters():
        if "lora_B" in name:  # zero at the start: it would change nothing
            torch.nn.init.normal_(values, std=0.3)
    adapted.save_pretrained(folder)
    return folder


def window(name: str) -> NDArray[np.int16]:
    """A clip with silence up to the window's end, which the engine would not hear as samples."""
    return np.pad(clip(name), (0, 480_000 - len(clip(name))))


def converted(checkpoint: Path, output: Path, *options: str) -> Path:
    words = ["models", "convert", str(checkpoint), str(output), *options]
    answer = CliRunner().invoke(main, words)
    assert answer.exit_code == 0, answer.output
    return Path(answer.stdout.strip().splitlines()[-1])


def written_by_transformers(checkpoint: Path, adapter: Path | None) -> list[list[int]]:
    """The tokens of greedy search, from transformers' own features."""
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
                logits[[SOT, *TASKS]] = -torch.inf  # what the engine never writes
                tokens.append(int(logits.argmax()))
        written.append([token for token in tokens[2:] if token != EOT])
    return written


def written_by_engine(model: Path) -> list[list[int]]:
    settings = ModelSettings(name="own", source=str(model), device="cpu", compute_type="float32")
    engine = WhisperEngine(locate_model(str(model)), settings, n_cores=2)
    options = DecodeOptions(
        language="en", temperatures=(0.0,), suppress_tokens=(), max_new_tokens=N_TOKENS
    )
    chunks = [pipeline.whole_chunk(window(name)) for name in CLIPS]
    jobs = [ChunkJob(chunk=chunk, options=options, request_id="a") for chunk in chunks]
    made: list[Any] = pipeline.transcribe_batch(engine, jobs)
    assert all(isinstance(one, ChunkTranscript) for one in made)
    return [list(one.tokens) for one in made]


@pytest.mark.parametrize("merged", [False, True], ids=["checkpoint", "adapter"])
def test_a_converted_checkpoint_writes_what_transformers_writes(
    merged: bool, checkpoint: Path, adapter: Path, tmp_path: Path
) -> None:
    lora = ("--lora", str(adapter)) if merged else ()
    model = converted(checkpoint, tmp_path / "own", "--quantization", "float32", *lora)
    expected = written_by_transformers(checkpoint, adapter if merged else None)
    assert written_by_engine(model) == expected
    assert len({tuple(tokens) for tokens in expected}) > 1  # the clips are told apart
    if merged:
        assert expected != written_by_transformers(checkpoint, None)


def test_a_converted_checkpoint_is_loaded_by_its_directory(
    checkpoint: Path, tmp_path: Path
) -> None:
    model = converted(checkpoint, tmp_path / "own", "--quantization", "int8")
    with local.load(str(model), device="cpu") as whisper:
        made = whisper.transcribe(Pcm(samples=clip("light"), rate=16_000), TranscriptionRequest())
    assert made.model == "own"


def test_what_cannot_be_converted_is_told_in_one_line(checkpoint: Path, tmp_path: Path) -> None:
    for source, output in ((tmp_path, tmp_path / "own"), (checkpoint, tmp_path)):
        words = ["models", "convert", str(source), str(output)]
        answer = CliRunner().invoke(main, words)
        assert answer.exit_code == 1
        assert answer.stderr.splitlines()[-1].startswith("Error: The model ")
    assert not (tmp_path / "own").exists()
