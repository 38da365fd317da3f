import math
import pickle

import numpy as np
import pytest

from serve_app.domain import FALLBACK_TEMPERATURES, Chunk, ChunkJob, TranscriptionRequest
from serve_app.errors import InvalidRequestError
from tests.fakes import job


@pytest.mark.parametrize("temperature", [-0.1, 1.1, math.nan, math.inf])
def test_a_request_with_a_temperature_out_of_range_cannot_be_made(temperature: float) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        TranscriptionRequest(temperature=temperature)
    assert caught.value.param == "temperature"


def test_temperature_0_means_the_fallback_ladder_and_another_means_itself() -> None:
    assert TranscriptionRequest().temperatures == FALLBACK_TEMPERATURES
    assert TranscriptionRequest(temperature=0.4).temperatures == (0.4,)


def test_a_chunks_length_follows_from_its_samples() -> None:
    assert Chunk(pcm=np.zeros(8000, np.int16), spans=()).duration_s == 0.5


def test_a_job_survives_a_process_border() -> None:
    copy: ChunkJob = pickle.loads(pickle.dumps(job(7)))
    assert copy.chunk.pcm.tolist() == [7]
    assert copy.options == job(7).options
