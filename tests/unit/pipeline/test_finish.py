import pytest

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


@pytest.mark.parametrize(
    ("clips", "codes"),
    [
        ((0.0, 2.0), ["no_speech"]),
        ((0.0, 2.0, 9.0, 10.0), ["no_speech", "clips_beyond_end"]),
        ((3.0, 10.0), ["clips_beyond_end"]),
    ],
)
def test_clips_beyond_the_end_are_told_and_are_why_there_is_no_speech(
    clips: tuple[float, ...], codes: list[str]
) -> None:
    request = TranscriptionRequest(clip_timestamps=clips)
    made = pipeline.finish([], request, duration_s=3.0, model="demo")
    assert [warning.partition(":")[0] for warning in made.warnings] == codes
