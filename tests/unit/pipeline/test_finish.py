from serve_app import pipeline
from serve_app.domain import TranscriptionRequest


def test_a_language_that_was_given_is_told_though_nothing_was_said() -> None:
    request = TranscriptionRequest(language="tr")
    made = pipeline.finish([], request, duration_s=3.0, model="demo")
    assert (made.text, made.language, made.language_probability) == ("", "tr", 1.0)
    for asked, code in (("Turkish", "tr"), ("tr-TR", "tr"), ("auto", None)):
        made = pipeline.finish([], TranscriptionRequest(language=asked), duration_s=3, model="demo")
        assert made.language == code
    unknown = pipeline.finish([], TranscriptionRequest(), duration_s=3.0, model="demo")
    assert unknown.language is None
