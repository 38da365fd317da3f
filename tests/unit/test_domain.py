import math
import pickle
from typing import Any

import numpy as np
import pytest

from serve_app.domain import Chunk, ChunkJob, TranscriptionRequest
from serve_app.errors import InvalidRequestError
from tests.fakes import job


@pytest.mark.parametrize("temperature", [-0.1, 1.1, math.nan, math.inf])
def test_a_request_with_a_temperature_out_of_range_cannot_be_made(temperature: float) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        TranscriptionRequest(temperature=temperature)
    assert caught.value.param == "temperature"


@pytest.mark.parametrize(
    "field",
    [
        {"beam_size": 0.5},
        {"beam_size": 17},
        {"best_of": 0},
        {"patience": 0.0},
        {"length_penalty": -1.0},
        {"repetition_penalty": 0.0},
        {"no_repeat_ngram_size": -1},
        {"max_new_tokens": 225},
        {"condition_on_previous_text": True},
        {"clip_timestamps": (3.0, 2.0)},
        {"clip_timestamps": (-1.0, 2.0)},
        {"clip_timestamps": (1.0, 1.0)},
        {"clip_timestamps": (0.0, 5.0, 4.0, 9.0)},
        {"clip_timestamps": (0.0, math.inf)},
    ],
    ids=str,
)
def test_a_request_with_a_value_out_of_range_cannot_be_made(field: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        TranscriptionRequest(**field)
    assert caught.value.param == next(iter(field))


@pytest.mark.parametrize("clips", [(0.0, 5.0, 5.0, 10.0), (0.0, 5.0, 5.0), (2.0,)])
def test_a_clip_may_begin_where_the_one_before_it_ends(clips: tuple[float, ...]) -> None:
    assert TranscriptionRequest(clip_timestamps=clips).clip_timestamps == clips


@pytest.mark.parametrize(
    ("asked", "timestamps"),
    [
        ({}, False),
        ({"segments": True}, True),
        ({"words": True}, True),
        ({"without_timestamps": False}, True),
        ({"words": True, "without_timestamps": True}, False),
    ],
    ids=str,
)
def test_timestamp_tokens_are_decoded_only_where_they_are_needed(
    asked: dict[str, Any], timestamps: bool
) -> None:
    assert TranscriptionRequest(**asked).timestamps is timestamps


def test_a_chunks_length_follows_from_its_samples() -> None:
    assert Chunk(pcm=np.zeros(8000, np.int16), spans=()).duration_s == 0.5


def test_a_job_survives_a_process_border() -> None:
    copy: ChunkJob = pickle.loads(pickle.dumps(job(7)))
    assert copy.chunk.pcm.tolist() == [7]
    assert copy.options == job(7).options


def test_lists_are_taken_as_faster_whisper_takes_them() -> None:
    request = TranscriptionRequest(
        suppress_tokens=[-1, 7],  # type: ignore[arg-type]
        languages=["en"],  # type: ignore[arg-type]
        clip_timestamps=[0.0, 1.5],  # type: ignore[arg-type]
    )
    assert (request.suppress_tokens, request.languages) == ((-1, 7), ("en",))
    assert request.clip_timestamps == (0.0, 1.5)
    hash(request)
