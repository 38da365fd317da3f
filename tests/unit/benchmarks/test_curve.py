import pytest

from benchmarks.curve import SHARES, Window, concurrencies, figures_of, kind, rates
from benchmarks.verdicts import Answer, Row, Verdict

WINDOW = Window(begin_s=10.0, end_s=20.0)


def row(
    sent_s: float, took_s: float, verdict: Verdict = Verdict.OK, answer: Answer | None = None
) -> Row:
    return Row(
        request_id=0,
        sent_s=sent_s,
        took_s=took_s,
        answer=answer or Answer(status=200),
        verdict=verdict,
        audio_s=5.0,
    )


@pytest.mark.parametrize(
    ("at_most", "expected"),
    [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (256, [1, 2, 4, 8, 16, 32, 64, 128, 256])],
)
def test_concurrency_doubles_up_to_the_highest(at_most: int, expected: list[int]) -> None:
    assert concurrencies(at_most) == expected


def test_rates_are_shares_of_the_highest_throughput() -> None:
    assert rates([2.0, 10.0, 8.0]) == [share * 10.0 for share in SHARES]
    assert rates([2.0, 10.0], [0.5]) == [5.0]


def test_nothing_is_offered_to_a_server_that_answered_nothing() -> None:
    assert rates([0.0, 0.0]) == []


def test_percentiles_are_of_what_was_sent_in_the_window_however_late_the_answer() -> None:
    rows = [row(9.9, 8.0), *(row(10.0 + i / 10, 1.0 + i) for i in range(100)), row(20.0, 500.0)]
    figures = figures_of(rows, WINDOW, within_s=2.0)
    assert figures["sent"] == 100
    assert figures["p50_s"] == pytest.approx(50.5)
    assert figures["p95_s"] == pytest.approx(95.05)
    assert figures["p99_s"] == pytest.approx(99.01)


def test_rates_are_of_the_answers_that_came_in_the_window() -> None:
    rows = [row(9.0, 0.5), row(9.0, 1.5), row(12.0, 1.0), row(12.0, 7.0), row(19.0, 1.5)]
    figures = figures_of(rows, WINDOW, within_s=1.5)
    assert figures["requests_per_s"] == pytest.approx(0.3)
    assert figures["audio_s_per_s"] == pytest.approx(1.5)
    assert figures["goodput_per_s"] == pytest.approx(0.2)


def test_an_answer_with_another_clips_text_has_no_part_in_latency_or_throughput() -> None:
    figures = figures_of(
        [row(11.0, 1.0), row(11.0, 9.0, Verdict.MIXED), row(11.0, 2.0, Verdict.VARIED)],
        WINDOW,
        within_s=5.0,
    )
    assert (figures["ok"], figures["varied"], figures["mixed"]) == (1, 1, 1)
    assert figures["p50_s"] == pytest.approx(1.5)
    assert figures["requests_per_s"] == pytest.approx(0.2)


def test_errors_are_counted_by_kind() -> None:
    refused = Answer(status=429, retry_after=True)
    errors = [
        row(11.0, 0.1, Verdict.REFUSED, refused),
        row(11.0, 0.1, Verdict.REFUSED, refused),
        row(12.0, 0.1, Verdict.FAILED, Answer(status=500)),
        row(12.0, 0.1, Verdict.LOST, Answer(detail="APITimeoutError None")),
        row(12.0, 0.1, Verdict.LOST, Answer(detail="no answer within 120 s")),
    ]
    assert figures_of([row(11.0, 1.0), *errors], WINDOW, within_s=1.0)["errors"] == {
        "status 429": 2,
        "status 500": 1,
        "APITimeoutError": 1,
        "no answer": 1,
    }


def test_a_mixed_up_answer_is_a_kind_of_its_own() -> None:
    assert kind(row(0.0, 1.0, Verdict.MIXED)) == "another clip's text"
