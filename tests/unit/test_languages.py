import pytest
from faster_whisper.tokenizer import _LANGUAGE_CODES

from serve_app.languages import LANGUAGES, OTHER_NAMES, language_code


def test_the_codes_are_whispers() -> None:
    assert set(LANGUAGES) == set(_LANGUAGE_CODES)
    assert set(OTHER_NAMES.values()) <= set(LANGUAGES)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("tr", "tr"),
        ("TR", "tr"),
        (" Turkish ", "tr"),
        ("tr-TR", "tr"),
        ("zh_Hant_TW", "zh"),
        ("Mandarin", "zh"),
        ("haitian creole", "ht"),
        ("yue-HK", "yue"),
        ("nb-NO", "no"),
        ("klingon", None),
        ("", None),
    ],
)
def test_codes_names_and_tags_are_read(text: str, code: str | None) -> None:
    assert language_code(text) == code
