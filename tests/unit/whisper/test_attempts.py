from dataclasses import replace

import pytest

from serve_app.domain import (
    FALLBACK_TEMPERATURES,
    MAX_NEW_TOKENS,
    ChunkJob,
    ChunkTranscript,
    DecodeOptions,
)
from serve_app.stages.whisper.attempts import (
    compression_ratio,
    is_truncated,
    next_step,
    token_budget,
)
from tests.fakes import job, transcript


def test_a_good_attempt_is_accepted() -> None:
    assert next_step(job(), transcript("fine")) == transcript("fine")


@pytest.mark.parametrize(
    "bad", [{"compression_ratio": 2.41}, {"avg_logprob": -1.01}], ids=lambda b: next(iter(b))
)
def test_a_failed_attempt_goes_again_at_the_next_temperature(bad: dict[str, float]) -> None:
    again = next_step(job(), transcript("bad", **bad))
    assert isinstance(again, ChunkJob)
    assert (again.attempt, again.temperature) == (1, 0.2)


def test_an_attempt_at_the_thresholds_is_good() -> None:
    edge = transcript("edge", compression_ratio=2.4, avg_logprob=-1.0)
    assert next_step(job(), edge) == edge


def test_silence_gives_an_empty_text_and_no_further_attempt() -> None:
    made = next_step(job(), transcript("you", no_speech_prob=0.7, avg_logprob=-1.2))
    assert isinstance(made, ChunkTranscript)
    assert (made.text, made.tokens) == ("", ())


def test_a_confident_text_is_kept_whatever_the_no_speech_probability() -> None:
    sure = transcript("sure", no_speech_prob=0.9, avg_logprob=-0.3)
    assert next_step(job(), sure) == sure


def test_where_every_attempt_failed_the_most_probable_that_does_not_repeat_itself_stands() -> None:
    attempts = [
        transcript("loop", compression_ratio=9.0, avg_logprob=-0.1),
        transcript("better", avg_logprob=-1.1),
        *(transcript("worse", avg_logprob=-2.0) for _ in FALLBACK_TEMPERATURES[2:]),
    ]
    step: ChunkTranscript | ChunkJob = job()
    for made in attempts:
        assert isinstance(step, ChunkJob)
        step = next_step(step, made)
    assert isinstance(step, ChunkTranscript)
    assert step.text == "better"


def test_a_given_temperature_is_the_only_one_tried() -> None:
    only = job(options=DecodeOptions(temperatures=(0.4,)))
    made = transcript("bad", avg_logprob=-3.0)
    assert next_step(only, made) == made


def test_repetition_compresses_well() -> None:
    assert compression_ratio("la " * 100) > 2.4 > compression_ratio("the train leaves at nine")


def test_the_number_of_attempts_is_counted() -> None:
    third = replace(job(), attempt=2)
    made = next_step(third, transcript("fine"))
    assert isinstance(made, ChunkTranscript)
    assert made.n_attempts == 3


BUDGETED = DecodeOptions(tokens_per_s=8.0, token_margin=10)


def test_speech_that_ran_into_its_budget_goes_again_at_its_temperature_without_it() -> None:
    again = next_step(job(options=BUDGETED), transcript("नमस्ते", is_truncated=True))
    assert isinstance(again, ChunkJob)
    assert (again.attempt, token_budget(again.options, 1.0)) == (0, MAX_NEW_TOKENS)
    cut = transcript("नमस्ते", is_truncated=True)
    assert next_step(again, cut) == cut


def test_a_loop_that_ran_into_its_budget_goes_on_hotter_within_it() -> None:
    looped = transcript("la la", is_truncated=True, compression_ratio=9.0)
    again = next_step(job(options=BUDGETED), looped)
    assert isinstance(again, ChunkJob)
    assert (again.attempt, again.options) == (1, BUDGETED)


def test_a_text_that_its_budget_ended_is_truncated_and_one_of_a_callers_limit_is_not() -> None:
    def told(options: DecodeOptions, n_tokens: int, room: int = 440) -> bool:
        return is_truncated(job(options=options), n_tokens, room=room)

    assert [told(BUDGETED, n) for n in (9, 10, 11)] == [False, True, True]
    assert not told(replace(BUDGETED, max_new_tokens=2), 2)
    assert told(DecodeOptions(), MAX_NEW_TOKENS)
    assert [told(DecodeOptions(), n, room=220) for n in (219, 220)] == [False, True]


@pytest.mark.parametrize(
    ("options", "duration_s", "budget"),
    [
        (DecodeOptions(tokens_per_s=8.0, token_margin=32), 30.0, 224),
        (DecodeOptions(tokens_per_s=8.0, token_margin=32), 1.0, 40),
        (DecodeOptions(tokens_per_s=100.0), 30.0, 224),
        (DecodeOptions(tokens_per_s=8.0, max_new_tokens=5), 30.0, 5),
        (DecodeOptions(), 1.0, 224),
    ],
)
def test_the_budget_follows_from_the_length(
    options: DecodeOptions, duration_s: float, budget: int
) -> None:
    assert token_budget(options, duration_s) == budget
