import pytest

from serve_app.bottleneck import Load, Place, describe, find_bottleneck, mean_load


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        (Load(), None),
        (Load(decode=1.5, batch_fill=0.1), None),  # one request waits for itself alone
        (Load(decode=8, model=2, batch_fill=0.1), Place.DECODE),
        (Load(decode=8, model=2, batch_fill=1.0), Place.DECODE),  # the model could do more often
        (Load(decode=8), Place.DECODE),  # no chunk came back at all
        (Load(decode=3, model=5, batch_fill=0.2), Place.DECODE),
        (Load(decode=0.5, model=5, batch_fill=0.2), None),  # the load is small, nobody waits
        (Load(model=9, batch_fill=0.9), Place.MODEL),
        (Load(model=9), Place.MODEL),  # a cold model, or one batch that takes long
        (Load(decode=4, model=64, batch_fill=1.0), Place.MODEL),
        (Load(model=1, late_s=0.4), Place.INGRESS),  # its event loop is busy
    ],
)
def test_who_holds_requests_up(load: Load, expected: Place | None) -> None:
    assert find_bottleneck(load) is expected


def test_a_mean_load_counts_the_fill_only_of_samples_in_which_batches_ended() -> None:
    samples = [Load(decode=4, batch_fill=0.25), Load(model=2), Load(decode=2, batch_fill=0.75)]
    assert mean_load(samples) == Load(decode=2, model=pytest.approx(2 / 3), batch_fill=0.5)
    assert mean_load([Load(late_s=0.5)]).batch_fill is None


def test_the_log_says_who_and_by_which_figures() -> None:
    said = describe(Place.DECODE, Load(decode=8, model=2, batch_fill=0.1))
    assert said.startswith("decoding holds requests up: more AudioPreprocessor replicas (10.0 ")
    assert "8.0 waiting for decoded audio" in said
    assert "batches 10% full" in said
    assert describe(None, Load()).startswith("nothing holds requests up (0.0 requests under way")
