from serve_app.domain import SAMPLE_RATE
from serve_app.stages.whisper.features import window_frames

LENGTHS_S = [0.2, 4.9, 5.1, 12.0, 30.0]


def windows(encoder_window: str) -> list[int]:
    n_samples = [round(length_s * SAMPLE_RATE) for length_s in LENGTHS_S]
    return [window_frames(n, encoder_window) for n in n_samples]  # type: ignore[arg-type]


def test_a_full_window_is_30_s_whatever_the_chunk() -> None:
    assert windows("full") == [3000] * len(LENGTHS_S)


def test_a_fitted_window_is_the_next_5_s() -> None:
    assert windows("fit") == [500, 500, 1000, 1500, 3000]
