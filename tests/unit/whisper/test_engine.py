import gc
import weakref
from dataclasses import replace

from serve_app.domain import ChunkJob, ChunkTranscript, DecodeOptions
from serve_app.local.loading import load_engine
from serve_app.models import locate_model
from serve_app.pipeline import transcribe_batch, whole_chunk
from serve_app.settings import EMBEDDED, AppSettings, ModelSettings
from serve_app.stages.whisper import WhisperEngine
from tests.clips import clip, references, silence, speech


def job_of(name: str, **options: object) -> ChunkJob:
    return ChunkJob(
        chunk=whole_chunk(clip(name)),
        options=DecodeOptions(**options),  # type: ignore[arg-type]
        request_id=name,
    )


def looping(engine: WhisperEngine) -> dict[str, object]:
    """Options by which the model never stops by itself, and all that it writes is repetition."""
    return {
        "suppress_tokens": (-1, engine.vocabulary.end_of_text),
        "temperatures": (0.0,),
        "compression_ratio_threshold": 0.0,
    }


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


def test_a_loop_costs_no_more_than_the_budget_of_its_chunk(engine: WhisperEngine) -> None:
    loop = looping(engine)
    [made] = engine.transcribe([job_of("digit-7", tokens_per_s=8.0, token_margin=4, **loop)])
    assert isinstance(made, ChunkTranscript)
    assert len(made.tokens) == round(8.0 * len(clip("digit-7")) / 16000) + 4


def test_a_chunk_keeps_its_own_budget_beside_a_longer_one(engine: WhisperEngine) -> None:
    options = {**looping(engine), "tokens_per_s": 8.0}
    short, long = job_of("digit-7", **options), job_of("meeting", **options)
    together = engine.transcribe([long, short])
    [alone] = engine.transcribe([short])
    assert isinstance(together[1], ChunkTranscript)
    assert isinstance(alone, ChunkTranscript)
    assert together[1].tokens == alone.tokens
    assert len(alone.tokens) < len(together[0].tokens)  # type: ignore[union-attr]


def test_a_text_that_never_ends_is_told_as_truncated_beside_the_longest_prompt_too(
    engine: WhisperEngine,
) -> None:
    for prompt in (None, "light " * 1000):
        [made] = engine.transcribe([job_of("digit-7", prompt=prompt, **looping(engine))])
        assert isinstance(made, ChunkTranscript)
        assert made.is_truncated


def test_a_callers_limit_is_kept_to_the_token_with_and_without_a_prompt(
    engine: WhisperEngine,
) -> None:
    endless = {"suppress_tokens": (-1, engine.vocabulary.end_of_text), "temperatures": (0.0,)}
    for prompt in (None, "turn on the light in the kitchen"):
        for n in (3, 64, 224):
            [made] = engine.transcribe(
                [job_of("light", max_new_tokens=n, prompt=prompt, **endless)]
            )
            assert isinstance(made, ChunkTranscript)
            assert len(made.tokens) == n


def test_a_bad_chunk_falls_back_alone_and_its_neighbours_keep_their_tokens(
    engine: WhisperEngine,
) -> None:
    good = [
        job_of(name) for name in ("light", "timer", "music", "train", "time", "alarm", "thanks")
    ]
    bad = ChunkJob(
        chunk=whole_chunk(speech(5)),
        options=DecodeOptions(log_prob_threshold=-0.001, no_speech_threshold=1.0),
        request_id="bad",
    )
    outcomes = transcribe_batch(engine, [*good[:3], bad, *good[3:]])
    again = outcomes.pop(3)
    assert isinstance(again, ChunkJob)
    assert (again.request_id, again.attempt) == ("bad", 1)
    for one, made in zip(good, outcomes, strict=True):
        [alone] = engine.transcribe([one])
        assert isinstance(made, ChunkTranscript)
        assert made.tokens == alone.tokens  # type: ignore[union-attr]


def test_segment_and_word_times_lie_within_the_chunk(engine: WhisperEngine) -> None:
    [made] = engine.transcribe([job_of("light", timestamps=True, words=True)])
    assert isinstance(made, ChunkTranscript)
    words = [word for segment in made.segments for word in segment.words or ()]
    assert "".join(word.text for word in words) == made.text
    assert all(0 <= w.start_s <= w.end_s <= len(clip("light")) / 16000 for w in words)
    assert all(0 <= w.probability <= 1 for w in words)


def test_words_work_without_timestamp_tokens_and_on_silence(engine: WhisperEngine) -> None:
    quiet = replace(job_of("light", words=True), chunk=whole_chunk(silence(2)))
    spoken, nothing = engine.transcribe([job_of("light", words=True), quiet])
    assert isinstance(spoken, ChunkTranscript)
    assert isinstance(nothing, ChunkTranscript)
    [segment] = spoken.segments
    assert segment.words is not None
    assert len(segment.words) == len(references()["light"].split())
    assert not any(segment.text.strip() for segment in nothing.segments)


def test_a_fitted_window_is_narrower_and_still_understands() -> None:
    settings = ModelSettings(name="demo", source=EMBEDDED, device="cpu", encoder_window="fit")
    fitted = WhisperEngine(locate_model(EMBEDDED), settings, n_cores=2)
    assert fitted.n_frames(whole_chunk(clip("light"))) == 500
    [made] = fitted.transcribe([job_of("light")])
    assert isinstance(made, ChunkTranscript)
    assert made.text.strip()


def test_a_token_that_does_not_exist_is_not_suppressed_and_does_no_harm(
    engine: WhisperEngine,
) -> None:
    [plain] = transcribe_batch(engine, [job_of("light")])
    # This id ended the process: CTranslate2 does not check where it points.
    [odd] = transcribe_batch(engine, [job_of("light", suppress_tokens=(-1, 2**31 - 1))])
    assert isinstance(plain, ChunkTranscript)
    [without] = transcribe_batch(engine, [job_of("light", suppress_tokens=(-1, plain.tokens[0]))])
    assert odd == plain
    assert isinstance(without, ChunkTranscript)
    assert plain.tokens[0] not in without.tokens


def test_each_stage_of_a_batch_is_timed() -> None:
    told: list[tuple[str, float]] = []
    settings = ModelSettings(name="demo", source=EMBEDDED, device="cpu")
    timed = WhisperEngine(
        locate_model(EMBEDDED), settings, n_cores=2, on_stage=lambda *one: told.append(one)
    )
    timed.transcribe([job_of("light"), job_of("timer")])
    assert [stage for stage, _ in told] == ["features", "encode", "generate"]
    assert all(took_s > 0 for _, took_s in told)
    told.clear()
    timed.transcribe([job_of("light", words=True)])
    assert [stage for stage, _ in told] == ["features", "encode", "generate", "align"]


def test_a_model_that_nobody_holds_gives_its_memory_back() -> None:
    engine = load_engine(AppSettings().models[0])
    made = engine.transcribe([job_of("light", prompt="turn on")])
    weights = weakref.ref(engine.vocabulary._whisper)
    del engine, made
    gc.collect()
    assert weights() is None
