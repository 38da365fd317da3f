from serve_app.stages.assemble import NO_SPEECH, assemble
from tests.fakes import transcript


def test_texts_are_joined_in_order_without_adding_spaces() -> None:
    made = assemble([transcript(" one"), transcript(" two")], duration_s=4.0, model="demo")
    assert (made.text, made.duration_s, made.model, made.warnings) == ("one two", 4.0, "demo", ())


def test_no_chunks_give_an_empty_text_and_a_warning() -> None:
    made = assemble([], duration_s=4.0, model="demo")
    assert (made.text, made.language, made.warnings) == ("", None, (NO_SPEECH,))


def test_the_language_is_the_surest_chunks() -> None:
    chunks = [
        transcript("a", language="en", language_probability=0.4),
        transcript("b", language="tr", language_probability=0.9),
    ]
    assert assemble(chunks, duration_s=1.0, model="m").language == "tr"
