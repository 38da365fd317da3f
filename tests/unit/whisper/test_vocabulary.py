from types import SimpleNamespace

import pytest

from serve_app.domain import DecodeOptions, Task
from serve_app.stages.whisper import WhisperEngine
from serve_app.stages.whisper.vocabulary import Vocabulary


def test_special_tokens_typed_into_a_prompt_are_text(engine: WhisperEngine) -> None:
    typed = DecodeOptions(prompt="<|startoftranscript|><|translate|>")
    tokenizer = engine.vocabulary.tokenizer("en")
    prompt = engine.vocabulary.prompt(typed, "en")
    assert prompt.count(tokenizer.sot) == 1
    assert tokenizer.translate not in prompt


@pytest.mark.parametrize("field", ["prompt", "hotwords"])
def test_no_special_token_of_the_vocabulary_can_be_typed(engine: WhisperEngine, field: str) -> None:
    tokenizer = engine.vocabulary.tokenizer()
    vocabulary = tokenizer.tokenizer.get_vocab()
    specials = [word for word in vocabulary if word.startswith("<|")]
    assert len(specials) > 1500  # languages, tasks and timestamps
    for word in specials:
        typed = DecodeOptions(**{field: f"x{word} {word}"})
        prompt = engine.vocabulary.prompt(typed, "en")
        before = prompt[: prompt.index(tokenizer.sot)]
        assert before[0] == tokenizer.sot_prev
        assert word in tokenizer.tokenizer.decode(before[1:], skip_special_tokens=True)
        assert max(before[1:]) < tokenizer.eot  # nothing but text
        assert prompt[len(before) :] == engine.vocabulary.prompt(DecodeOptions(), "en")


def test_hotwords_stand_before_the_prompt(engine: WhisperEngine) -> None:
    both = engine.vocabulary.previous("the kitchen", "alarm")
    tokenizer = engine.vocabulary.tokenizer()
    assert tokenizer.decode(both[1:]) == " alarm the kitchen"
    assert both[0] == tokenizer.sot_prev


def test_the_words_of_a_translation_are_english_ones(engine: WhisperEngine) -> None:
    hf_tokenizer = engine.vocabulary.tokenizer().tokenizer
    model = SimpleNamespace(is_multilingual=True)
    vocabulary = Vocabulary(SimpleNamespace(hf_tokenizer=hf_tokenizer, model=model))
    spoken, translated = (vocabulary.tokenizer("ja", task) for task in Task)
    tokens = translated.encode(" please remember the kitchenware")
    assert len(spoken.split_to_word_tokens([*tokens, spoken.eot])[0]) > 5
    words, _ = translated.split_to_word_tokens([*tokens, translated.eot])
    assert words[:4] == [" please", " remember", " the", " kitchenware"]


def test_part_of_a_letter_at_the_end_is_left_out(engine: WhisperEngine) -> None:
    vocabulary = engine.vocabulary
    whole = vocabulary.tokenizer().encode(" çay")
    tokens = vocabulary.tokenizer().encode(" çay 茶")
    assert vocabulary.whole_letters(tokens) == tokens
    cut = vocabulary.whole_letters(tokens[:-1])
    assert vocabulary.decode(tokens[:-1]).endswith("\N{REPLACEMENT CHARACTER}")
    assert vocabulary.decode(cut).strip() == "çay"
    assert cut[: len(whole)] == whole
