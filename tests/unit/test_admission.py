from contextlib import ExitStack

import pytest

from serve_app.admission import ChunkBudget
from serve_app.errors import QueueFullError


def test_a_lone_request_may_have_as_many_chunks_as_one_may() -> None:
    budget = ChunkBudget(n_chunks=100, max_per_request=8)
    with budget.admit():
        assert budget.share() == 8


def test_requests_share_equally_and_give_back() -> None:
    budget = ChunkBudget(n_chunks=12, max_per_request=8)
    with budget.admit(), budget.admit(), budget.admit():
        assert budget.share() == 4
    with budget.admit():
        assert budget.share() == 8


def test_every_admitted_request_is_sure_of_one_chunk_and_the_next_one_is_refused() -> None:
    budget = ChunkBudget(n_chunks=2, max_per_request=8)
    with budget.admit(), budget.admit():
        assert budget.share() == 1
        with pytest.raises(QueueFullError), budget.admit():
            pass
        assert budget.n_requests == 2
    with budget.admit():
        assert budget.n_requests == 1


def test_room_can_be_asked_for_without_taking_it() -> None:
    budget = ChunkBudget(n_chunks=1, max_per_request=1)
    budget.check()
    with budget.admit(), pytest.raises(QueueFullError):
        budget.check()
    budget.check()
    assert budget.n_requests == 0


def test_a_place_is_given_back_after_an_error() -> None:
    budget = ChunkBudget(n_chunks=1, max_per_request=1)
    with pytest.raises(RuntimeError), budget.admit():
        raise RuntimeError("planted")
    assert budget.n_requests == 0


@pytest.mark.parametrize(
    ("request_s", "retry_after_s"),
    [(0.5, 4 * 0.5), (0.001, 1.0), (14.0, 48.0)],  # as long as four take, and at least 1 s
)
def test_a_refusal_tells_when_those_who_were_let_in_will_have_been_answered(
    request_s: float, retry_after_s: float
) -> None:
    now_s = 0.0
    budget = ChunkBudget(n_chunks=4, max_per_request=8, clock=lambda: now_s)

    def refusal() -> QueueFullError:
        with ExitStack() as admitted, pytest.raises(QueueFullError) as refused:
            for _ in range(5):
                admitted.enter_context(budget.admit())
        return refused.value

    assert refusal().retry_after_s == QueueFullError.retry_after_s  # nothing was measured yet
    for _ in range(100):
        with budget.admit():
            now_s += request_s
    assert refusal().retry_after_s == pytest.approx(retry_after_s, rel=0.1)
    now_s += 3600.0  # what was long ago tells nothing about now
    assert refusal().retry_after_s == QueueFullError.retry_after_s
