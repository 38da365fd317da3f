"""Checkpoints with random weights, converted: what they write is what transformers writes."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from serve_app import Pcm, TranscriptionRequest, local, pipeline
from serve_app.cli import main
from serve_app.domain import ChunkJob, ChunkTranscript, DecodeOptions
from serve_app.models import locate_model
from serve_app.settings import ModelSettings
from serve_app.stages.whisper import WhisperEngine
from tests.checkpoints import (
    CLIPS,
    N_TOKENS,
    converted,
    save_adapter,
    save_checkpoint,
    window,
    written_by_transformers,
)
from tests.clips import clip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def adapter(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_adapter(checkpoint, tmp_path_factory.mktemp("adapter"))


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
