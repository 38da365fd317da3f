import pytest

from serve_app import pipeline
from serve_app.domain import MAX_PROMPT_CHARS, DecodeOptions, ModelInfo, Task, TranscriptionRequest
from serve_app.errors import InvalidRequestError
from serve_app.settings import ModelSettings

ENGLISH = ModelInfo(name="m", languages=("en",), translates=False)
MANY = ModelInfo(name="m", languages=("en", "tr", "zh"), translates=True)
MODEL = ModelSettings(name="m", source="s", beam_size=5, tokens_per_s=9.0, token_margin=7)


def test_a_requests_fields_reach_the_decode_options() -> None:
    request = TranscriptionRequest(
        task=Task.TRANSLATE,
        language="tr",
        prompt="hi",
        hotwords="Ankara",
        temperature=0.4,
        words=True,
        beam_size=3,
        best_of=2,
        patience=1.5,
        length_penalty=0.9,
        repetition_penalty=1.1,
        no_repeat_ngram_size=3,
        max_new_tokens=50,
        suppress_tokens=(-1, 9),
    )
    assert pipeline.decode_options(request, MODEL, MANY) == DecodeOptions(
        task=Task.TRANSLATE,
        language="tr",
        prompt="hi",
        hotwords="Ankara",
        temperatures=(0.4,),
        timestamps=True,
        words=True,
        beam_size=3,
        best_of=2,
        patience=1.5,
        length_penalty=0.9,
        repetition_penalty=1.1,
        no_repeat_ngram_size=3,
        max_new_tokens=50,
        suppress_tokens=(-1, 9),
        tokens_per_s=9.0,
        token_margin=7,
    )


def test_what_a_request_leaves_open_is_the_profiles() -> None:
    made = pipeline.decode_options(TranscriptionRequest(), MODEL, MANY)
    assert (made.beam_size, made.temperatures) == (5, MODEL.temperatures)


def test_log_probabilities_are_for_greedy_search() -> None:
    greedy = TranscriptionRequest(logprobs=True, beam_size=1)
    assert pipeline.decode_options(greedy, MODEL, MANY).logprobs
    with pytest.raises(InvalidRequestError, match="beam_size=1") as caught:
        pipeline.decode_options(TranscriptionRequest(logprobs=True), MODEL, MANY)
    assert caught.value.param == "include"


def test_a_profile_can_decode_timestamps_for_every_request() -> None:
    always = MODEL.model_copy(update={"timestamps": "always"})
    plain, none = TranscriptionRequest(), TranscriptionRequest(without_timestamps=True)
    assert not pipeline.decode_options(plain, MODEL, MANY).timestamps
    assert pipeline.decode_options(plain, always, MANY).timestamps
    assert not pipeline.decode_options(none, always, MANY).timestamps


@pytest.mark.parametrize(
    ("asked", "code"),
    [("tr", "tr"), ("Turkish", "tr"), ("tr-TR", "tr"), ("zh_Hans", "zh"), (None, None)],
)
def test_a_language_may_be_a_code_a_name_or_a_tag(asked: str | None, code: str | None) -> None:
    request = TranscriptionRequest(language=asked)
    assert pipeline.decode_options(request, MODEL, MANY).language == code


def test_of_a_huge_prompt_the_end_is_read_and_of_hotwords_the_beginning() -> None:
    text = "a" * 50_000 + "b" * 50_000
    made = pipeline.decode_options(TranscriptionRequest(prompt=text, hotwords=text), MODEL, MANY)
    assert made.prompt == "b" * MAX_PROMPT_CHARS
    assert made.hotwords == "a" * MAX_PROMPT_CHARS


def test_a_language_that_is_not_among_those_to_detect_is_refused() -> None:
    among = TranscriptionRequest(language="tr", languages=("turkish", "en"))
    assert pipeline.decode_options(among, MODEL, MANY).language == "tr"
    with pytest.raises(InvalidRequestError) as caught:
        pipeline.decode_options(TranscriptionRequest(language="tr", languages=("en",)), MODEL, MANY)
    assert caught.value.param == "languages"


def test_auto_means_detect() -> None:
    request = TranscriptionRequest(language="auto")
    assert pipeline.decode_options(request, MODEL, MANY).language is None
    assert pipeline.decode_options(request, MODEL, ENGLISH).language == "en"


@pytest.mark.parametrize("asked", ["de", "klingon", "xx-YY"])
def test_a_language_the_model_does_not_know_is_refused_with_those_it_does(asked: str) -> None:
    with pytest.raises(InvalidRequestError, match="en, tr, zh") as caught:
        pipeline.decode_options(TranscriptionRequest(language=asked), MODEL, MANY)
    assert caught.value.param == "language"
    with pytest.raises(InvalidRequestError) as caught:
        pipeline.decode_options(TranscriptionRequest(languages=("en", asked)), MODEL, MANY)
    assert caught.value.param == "languages"


def test_translation_is_refused_by_a_model_that_only_transcribes() -> None:
    with pytest.raises(InvalidRequestError, match="cannot translate"):
        pipeline.decode_options(TranscriptionRequest(task=Task.TRANSLATE), MODEL, ENGLISH)
