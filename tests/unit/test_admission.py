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


def test_a_place_is_given_back_after_an_error() -> None:
    budget = ChunkBudget(n_chunks=1, max_per_request=1)
    with pytest.raises(RuntimeError), budget.admit():
        raise RuntimeError("planted")
    assert budget.n_requests == 0
