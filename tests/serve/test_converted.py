"""Fine-tuned checkpoints in the graph, each under its own name: their tokens are transformers'."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from ray import serve

from serve_app import Pcm, Transcript, TranscriptionRequest
from serve_app.app import app
from serve_app.settings import AppSettings, ModelSettings
from tests.checkpoints import (
    CLIPS,
    N_TOKENS,
    TIMES,
    converted,
    save_adapter,
    save_checkpoint,
    window,
    written_by_transformers,
)
from tests.serve.conftest import TIMEOUT_S, Graph

NAMES = ("fine-tuned", "adapted")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, an adapter for it, and what was converted of both."""
    made = tmp_path_factory.mktemp("checkpoints")
    save_checkpoint(made / "checkpoint")
    save_adapter(made / "checkpoint", made / "adapter")
    for name, lora in zip(NAMES, ((), ("--lora", str(made / "adapter"))), strict=True):
        converted(made / "checkpoint", made / name, "--quantization", "float32", *lora)
    return made


@pytest.fixture(scope="module")
def tuned(graph: Graph, folder: Path) -> Iterator[Graph]:
    """An app with both, beside the one that has the demo model."""
    models = tuple(
        ModelSettings(
            name=name, source=str(folder / name), compute_type="float32", temperatures=(0.0,)
        )
        for name in NAMES
    )
    handle = serve.run(app(AppSettings(models=models)), name="tuned", route_prefix="/tuned")
    yield Graph(f"{graph.url}/tuned", handle)
    serve.delete("tuned")


@pytest.mark.parametrize("name", NAMES)
def test_a_converted_checkpoint_is_served_and_writes_what_transformers_writes(
    name: str, tuned: Graph, folder: Path
) -> None:
    adapter = folder / "adapter" if name == "adapted" else None
    expected = written_by_transformers(folder / "checkpoint", adapter, suppressed=TIMES)
    request = TranscriptionRequest(
        model=name,
        language="en",
        suppress_tokens=TIMES,  # segments end with them
        max_new_tokens=N_TOKENS,
        segments=True,
        without_timestamps=True,
        vad_filter=False,
    )
    answers = [
        tuned.handle.transcribe.remote(Pcm(samples=window(clip), rate=16_000), request)
        for clip in CLIPS
    ]
    made: list[Transcript] = [answer.result(timeout_s=TIMEOUT_S) for answer in answers]
    assert [[t for s in one.segments for t in s.tokens] for one in made] == expected
    assert {one.model for one in made} == {name}


def test_both_are_listed_under_their_names(tuned: Graph) -> None:
    listed = requests.get(f"{tuned.url}/v1/models", timeout=TIMEOUT_S).json()["data"]
    assert [model["id"] for model in listed] == list(NAMES)
