"""Checkpoints with random weights, converted: what they write is what transformers writes."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from ctranslate2.converters import TransformersConverter
from ctranslate2.specs.model_spec import ModelSpec

from serve_app import Pcm, TranscriptionRequest, local, pipeline
from serve_app.cli import main
from serve_app.conversion import Checkpoint, convert
from serve_app.domain import ChunkJob, ChunkTranscript, DecodeOptions
from serve_app.errors import ModelLoadError
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


@pytest.mark.parametrize(
    ("planted", "expected"),
    [
        (OSError("No space left on device"), ModelLoadError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["full disk", "Ctrl-C"],
)
def test_a_conversion_that_ends_early_leaves_nothing(
    planted: BaseException,
    expected: type[BaseException],
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save = ModelSpec.save

    def save_and_fail(spec: ModelSpec, folder: str) -> None:
        save(spec, folder)
        raise planted

    monkeypatch.setattr(ModelSpec, "save", save_and_fail)
    output = tmp_path / "models" / "own"
    with pytest.raises(expected):
        convert(Checkpoint(source=str(checkpoint)), output, quantization="int8")
    assert not list(output.parent.iterdir())
    monkeypatch.undo()
    convert(Checkpoint(source=str(checkpoint)), output, quantization="int8")
    assert [path.name for path in output.parent.iterdir()] == ["own"]


@pytest.mark.parametrize("names", [[], ["model.bin"]], ids=["empty", "another model"])
def test_what_comes_to_be_at_the_output_meanwhile_stays(
    names: list[str], checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "own"
    load = TransformersConverter._load

    def load_beside_another(converter: TransformersConverter) -> Any:
        output.mkdir()
        for name in names:
            (output / name).write_text("somebody's")
        return load(converter)

    monkeypatch.setattr(TransformersConverter, "_load", load_beside_another)
    with pytest.raises(ModelLoadError, match="exists"):
        convert(Checkpoint(source=str(checkpoint)), output, quantization="int8")
    assert [path.name for path in output.iterdir()] == names
    assert [path.name for path in tmp_path.iterdir()] == ["own"]
