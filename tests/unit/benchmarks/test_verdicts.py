import pytest

from benchmarks.verdicts import Answer, Row, Verdict, count, judge, recovered_after_s


def row(request_id: int, verdict: Verdict = Verdict.OK, *, sent_s: float = 0.0) -> Row:
    return Row(
        request_id=request_id, sent_s=sent_s, took_s=1.0, answer=Answer(status=200), verdict=verdict
    )


@pytest.mark.parametrize(
    ("expected", "answer", "verdict"),
    [
        ("one", Answer(status=200, texts=("one",)), Verdict.OK),
        ("one", Answer(status=200, texts=("two",)), Verdict.MIXED),
        ("one", Answer(status=200, texts=("",)), Verdict.MIXED),
        ("one", Answer(status=200, texts=("one", "one")), Verdict.FAILED),
        ("one", Answer(status=200, texts=()), Verdict.FAILED),
        ("one", Answer(status=429, retry_after=True), Verdict.REFUSED),
        ("one", Answer(status=503, retry_after=True), Verdict.REFUSED),
        ("one", Answer(status=429), Verdict.FAILED),
        ("one", Answer(status=500), Verdict.FAILED),
        ("one", Answer(status=400), Verdict.FAILED),
        ("one", Answer(), Verdict.LOST),
        (None, Answer(status=400), Verdict.OK),
        (None, Answer(status=200, texts=("",)), Verdict.FAILED),
        (None, Answer(status=500), Verdict.FAILED),
        (None, Answer(), Verdict.LOST),
    ],
)
def test_an_answer_is_judged_by_what_its_audio_gives_alone(
    expected: str | None, answer: Answer, verdict: Verdict
) -> None:
    assert judge(expected, answer) is verdict


OTHERS = ["the train leaves at nine", "two four six eight"]


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("turn on the light", Verdict.OK),
        ("Turn on, the light!", Verdict.VARIED),
        ("turn off the light", Verdict.VARIED),
        ("the train leaves at nine", Verdict.MIXED),
        ("the train leaves at ten", Verdict.MIXED),
        ("turn on the train leaves at nine", Verdict.MIXED),  # both: more of the other
        ("thank you very much", Verdict.MIXED),  # nobody's words
        ("", Verdict.MIXED),
    ],
)
def test_with_the_other_texts_known_an_answer_need_only_be_most_like_its_own(
    text: str, verdict: Verdict
) -> None:
    assert judge("turn on the light", Answer(status=200, texts=(text,)), OTHERS) is verdict


def test_every_request_is_counted_once_and_one_without_an_answer_is_lost() -> None:
    counts = count([0, 1, 2, 3], [row(0), row(2, Verdict.FAILED), row(1, Verdict.MIXED)])
    assert counts == {
        **{"sent": 4, "ok": 1, "varied": 0, "refused": 0, "failed": 1, "lost": 1, "mixed": 1},
        "retried": 0,
    }


def test_two_answers_to_one_request_are_an_error() -> None:
    with pytest.raises(ValueError, match="more than once"):
        count([0], [row(0), row(0)])


def test_an_answer_to_what_was_never_sent_is_an_error() -> None:
    with pytest.raises(ValueError, match="never sent"):
        count([0], [row(1)])


def test_recovery_ends_with_the_last_answer_that_was_not_well() -> None:
    rows = [row(0, Verdict.REFUSED, sent_s=0.5), row(1, sent_s=9.0)]
    assert recovered_after_s(rows) == 1.5
    assert recovered_after_s(rows[1:]) == 0.0
