"""How far transcripts are from what was said, as the field counts it. Pure.

Both sides go through Whisper's own normaliser first, so that spelling, casing, punctuation and
digits against number words do not count. English has a normaliser of its own; every other language
has the basic one, which only lowers the case and takes out symbols.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

# Contractions that the package undoes and openai/whisper's normalizers/english.py does not.
NOT_WHISPERS = (r"\bkinda\b", r"\bsorta\b", r"\bdunno\b", r"\bcause\b")


@dataclass(frozen=True, kw_only=True)
class ErrorRates:
    """Edits over the length of the reference, over all recordings together."""

    words: float
    characters: float


def error_rates(
    references: Sequence[str], transcripts: Sequence[str], *, language: str = "en"
) -> ErrorRates:
    """Return the word and the character error rate.

    Args:
        references: what was said in each recording.
        transcripts: what was written for it.
        language: ISO 639-1.

    Raises:
        ValueError: nothing was said in any of them, or the numbers of texts differ.
    """
    import jiwer

    normalise = _normaliser(language)
    said = [normalise(text).strip() for text in references]
    if not any(said):
        raise ValueError("there is no error rate where nothing was said")
    written = [normalise(text).strip() for text in transcripts]
    return ErrorRates(
        words=float(jiwer.wer(said, written)), characters=float(jiwer.cer(said, written))
    )


@cache
def _normaliser(language: str) -> Callable[[str], str]:
    from whisper_normalizer.basic import BasicTextNormalizer
    from whisper_normalizer.english import EnglishTextNormalizer

    normaliser = EnglishTextNormalizer() if language == "en" else BasicTextNormalizer()
    if language == "en":
        for pattern in NOT_WHISPERS:
            normaliser.replacers.pop(pattern, None)
    made: Callable[[str], str] = normaliser
    return made
