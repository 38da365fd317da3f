import pytest

from benchmarks.error_rate import error_rates


def test_spelling_casing_and_numbers_are_no_errors_in_english() -> None:
    rates = error_rates(
        ["Mr. Brown's colour, it's twenty-one dollars!"],
        ["mister brown is color it is $21"],
    )
    assert (rates.words, rates.characters) == (0.0, 0.0)


def test_contractions_that_whisper_leaves_alone_are_left_alone() -> None:
    assert error_rates(["the cause is kinda clear"], ["the because is kind of clear"]).words == 0.6


def test_rates_are_over_all_recordings_together() -> None:
    rates = error_rates(["open the door", "now"], ["open a door", "how"])
    assert rates.words == pytest.approx(2 / 4)
    assert rates.characters == pytest.approx(4 / 16)


def test_other_languages_keep_their_letters_and_lose_punctuation() -> None:
    said = ["lütfen mutfağın ışığını aç"]
    assert error_rates(said, ["Lütfen, mutfağın ışığını aç."], language="tr").words == 0
    assert error_rates(said, ["lutfen mutfağın ışığını aç"], language="tr").words == 0.25
    # English rules would make a number of it.
    assert error_rates(["one two"], ["12"], language="tr").words == 1


def test_what_is_written_over_silence_counts_as_errors() -> None:
    assert error_rates(["yes", "(laughs)"], ["yes", "thank you"]).words == 2


@pytest.mark.parametrize("said", [[""], ["[music]"]])
def test_without_any_words_there_is_no_rate(said: list[str]) -> None:
    with pytest.raises(ValueError, match="nothing was said"):
        error_rates(said, ["hello"])
