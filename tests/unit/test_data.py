"""What a worker of a dataset does where the app cannot answer now."""

import pytest

from serve_app import data
from serve_app.domain import Transcript
from serve_app.errors import InvalidAudioError, QueueFullError, TranscriptionError

HEARD = Transcript(text="heard", language="en", duration_s=1.0, model="m")


class App:
    """Refuses so often before it answers."""

    def __init__(self, error: TranscriptionError, n_refusals: int) -> None:
        self._error = error
        self._n_refusals = n_refusals
        self.n_asked = 0

    def transcribe(self, _: bytes) -> Transcript:
        self.n_asked += 1
        if self.n_asked <= self._n_refusals:
            raise self._error
        return HEARD


def test_a_full_app_is_asked_again_and_not_for_ever() -> None:
    app = App(QueueFullError(0.0), n_refusals=3)
    assert data.patiently(app.transcribe, b"") == HEARD
    assert app.n_asked == 4
    full = App(QueueFullError(0.0), n_refusals=1000)
    with pytest.raises(QueueFullError):
        data.patiently(full.transcribe, b"")
    assert full.n_asked == data.N_TRIES


def test_a_file_that_is_no_audio_is_asked_for_once() -> None:
    app = App(InvalidAudioError(), n_refusals=1)
    with pytest.raises(InvalidAudioError):
        data.patiently(app.transcribe, b"")
    assert app.n_asked == 1
