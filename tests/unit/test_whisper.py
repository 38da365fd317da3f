import pytest

from serve_app.domain import FALLBACK_TEMPERATURES, ChunkJob, ChunkTranscript, DecodeOptions
from serve_app.pipeline import whole_chunk
from serve_app.stages.whisper import WhisperEngine, compression_ratio, next_step
from tests.clips import clip, references, speech
from tests.fakes import job, transcript


def job_of(name: str, **options: object) -> ChunkJob:
    return ChunkJob(
        chunk=whole_chunk(clip(name)),
        options=DecodeOptions(**options),  # type: ignore[arg-type]
        request_id=name,
    )


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


def test_the_embedded_model_hears_its_clips(engine: WhisperEngine) -> None:
    names = ["light", "timer", "digit-7"]
    made = engine.transcribe([job_of(name) for name in names])
    assert [m.text.strip() for m in made if isinstance(m, ChunkTranscript)] == [
        references()[name] for name in names
    ]


def test_a_chunk_gives_the_same_tokens_alone_and_among_others(engine: WhisperEngine) -> None:
    names = sorted(references())[::3]
    together = engine.transcribe([job_of(name) for name in names])
    for name, made in zip(names, together, strict=True):
        [alone] = engine.transcribe([job_of(name)])
        assert isinstance(made, ChunkTranscript)
        assert isinstance(alone, ChunkTranscript)
        assert made.tokens == alone.tokens, name


def test_a_prompt_stands_before_the_transcript_and_changes_the_model_s_view(
    engine: WhisperEngine,
) -> None:
    options = DecodeOptions(prompt="turn on the light")
    assert engine.n_prompt_tokens(DecodeOptions()) == 0
    assert engine.n_prompt_tokens(options) > 4
    [plain], [prompted] = (
        engine.transcribe([job_of("light", prompt=p)]) for p in (None, options.prompt)
    )
    assert isinstance(plain, ChunkTranscript)
    assert isinstance(prompted, ChunkTranscript)
    assert plain.avg_logprob != prompted.avg_logprob


def test_special_tokens_typed_into_a_prompt_are_text(engine: WhisperEngine) -> None:
    typed = DecodeOptions(prompt="<|startoftranscript|><|translate|>")
    tokenizer = engine._tokenizer("en")
    prompt = engine._prompt(typed, tokenizer)
    assert prompt.count(tokenizer.sot) == 1
    assert tokenizer.translate not in prompt


def test_a_long_prompt_is_cut_to_what_fits_keeping_its_end(engine: WhisperEngine) -> None:
    n = engine.n_prompt_tokens(DecodeOptions(prompt="light " * 1000))
    assert n == 224  # <|startofprev|> and 448 // 2 - 1 tokens of text
    assert engine.transcribe([job_of("light", prompt="light " * 1000)])


def test_an_attempt_above_temperature_0_samples(engine: WhisperEngine) -> None:
    hard = ChunkJob(
        chunk=whole_chunk(speech(8)),
        options=DecodeOptions(temperatures=(1.0,), best_of=1),
        request_id="r",
    )
    texts = {
        made.text for made in engine.transcribe([hard] * 6) if isinstance(made, ChunkTranscript)
    }
    assert len(texts) > 1
