"""The gate's figures on real Ray Serve, in a short form and with room for a busy machine."""

import pytest

from benchmarks.fake_transcriber import Point
from benchmarks.gate import measure
from tests.serve.conftest import Graph

BATCH_S = 0.1


@pytest.mark.parametrize("rate", [20.0, 200.0])
def test_batches_grow_with_the_load_and_nobody_waits_for_many(rate: float, graph: Graph) -> None:
    point = Point(rate=rate, batch_s=BATCH_S, load_s=4.0, warm_up_s=0.5)
    found = measure(point)
    assert found["n_unanswered"] == 0
    assert found["mean_batch"] >= max(1.0, 0.7 * rate * BATCH_S)
    assert found["p50_s"] <= 4 * BATCH_S
