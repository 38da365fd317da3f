import math

import numpy as np
import pytest

from serve_app.domain import ChunkTranscript
from serve_app.stages.whisper import WhisperEngine
from serve_app.stages.whisper.logprobs import MAX_ROWS, token_logprobs
from tests.clips import references
from tests.unit.whisper.test_engine import job_of

NAMES = sorted(references())


def decode(engine: WhisperEngine, *names: str, **options: object) -> list[ChunkTranscript]:
    made = engine.transcribe([job_of(name, logprobs=True, **options) for name in names])
    assert all(isinstance(one, ChunkTranscript) for one in made)
    return made  # type: ignore[return-value]


def test_a_token_s_figure_is_the_logarithm_of_its_share() -> None:
    steps = [np.log(np.array([1, 3, 4], np.float32)), np.zeros(3, np.float32)]
    [first] = token_logprobs(steps, [1], lambda _: "a")
    assert first.text == b"a"
    assert first.logprob == pytest.approx(math.log(3 / 8))


def test_what_is_not_text_is_left_out() -> None:
    steps = [np.zeros(2, np.float32)] * 2
    [only] = token_logprobs(steps, [0, 1], lambda token: "b" if token else None)
    assert only.text == b"b"


def test_letters_of_several_bytes_are_spelt_in_bytes(engine: WhisperEngine) -> None:
    text = " çığ 日本 🎙\n"
    vocabulary = engine.vocabulary
    ids = vocabulary.tokenizer().encode(text)
    steps = [np.zeros(vocabulary.end_of_text, np.float32)] * len(ids)
    found = token_logprobs(steps, ids, vocabulary.spell)
    assert b"".join(one.text for one in found).decode() == text


@pytest.mark.parametrize("temperature", [0.0, 0.1])
@pytest.mark.parametrize("timestamps", [False, True])
def test_the_figures_and_the_end_s_make_the_score(
    temperature: float, timestamps: bool, engine: WhisperEngine
) -> None:
    # A clip's text ends where the model is sure that it does: its end adds next to nothing.
    options = {"temperatures": (temperature,), "timestamps": timestamps, "best_of": 3}
    [made] = decode(engine, "light", **options)
    assert b"".join(one.text for one in made.logprobs).decode() == made.text
    total = made.avg_logprob * (len(made.tokens) + 1)
    if timestamps:  # these tokens have a share in the score and none in the list
        assert total < sum(one.logprob for one in made.logprobs)
    else:
        assert -0.1 < total - sum(one.logprob for one in made.logprobs) < 0


def test_more_chunks_than_fit_with_their_logits_are_decoded_in_parts(engine: WhisperEngine) -> None:
    names = NAMES[: MAX_ROWS + 2]
    together = decode(engine, *names)
    plain = engine.transcribe([job_of(name) for name in names])
    assert [one.tokens for one in together] == [one.tokens for one in plain]  # type: ignore[union-attr]
    [alone] = decode(engine, names[-1])
    assert [one.logprob for one in together[-1].logprobs] == pytest.approx(
        [one.logprob for one in alone.logprobs], abs=1e-3
    )
