from collections.abc import Sequence

import pytest

from serve_app import pipeline
from serve_app.domain import ChunkJob, ChunkTranscript, DecodeOptions
from serve_app.errors import (
    ModelLoadError,
    OutOfDeviceMemoryError,
    ReplicaLostError,
    TranscriptionError,
)
from tests.fakes import EchoEngine, job, transcript


def test_a_batch_that_does_not_fit_the_device_is_halved_and_everybody_answered() -> None:
    class Small(EchoEngine):
        def transcribe(self, jobs: Sequence[ChunkJob]) -> list[ChunkTranscript | ChunkJob]:
            if len(jobs) > 2:
                raise RuntimeError("CUDA failed with error out of memory")
            return super().transcribe(jobs)

    told: list[int] = []
    outcomes = pipeline.transcribe_batch(Small(), [job(i) for i in range(8)], told.append)
    assert [o.text for o in outcomes if isinstance(o, ChunkTranscript)] == [
        str(i) for i in range(8)
    ]
    assert told == [8, 4, 4]


def test_batches_are_cut_to_what_fitted_before_for_each_width_of_search() -> None:
    class Small(EchoEngine):
        """Holds four sequences."""

        def transcribe(self, jobs: Sequence[ChunkJob]) -> list[ChunkTranscript | ChunkJob]:
            if len(jobs) * jobs[0].n_sequences > 4:
                raise RuntimeError("CUDA failed with error out of memory")
            return super().transcribe(jobs)

    engine, fitting, told = Small(), pipeline.FittingBatches(), list[int]()
    narrow = [job(i) for i in range(4)]
    wide = [job(i, options=DecodeOptions(beam_size=2)) for i in range(4)]
    for _ in range(2):
        outcomes = fitting.transcribe(engine, wide, told.append)
        assert [o.text for o in outcomes if isinstance(o, ChunkTranscript)] == ["0", "1", "2", "3"]
    assert told == [4]  # the second time in parts from the start
    assert (fitting.limit(2), fitting.limit(1)) == (2, None)
    fitting.transcribe(engine, narrow)
    assert engine.batches[-1] == [0, 1, 2, 3]


def test_a_chunk_that_does_not_fit_alone_gets_its_own_error() -> None:
    class Full(EchoEngine):
        def transcribe(self, jobs: Sequence[ChunkJob]) -> list[ChunkTranscript | ChunkJob]:
            raise RuntimeError("CUDA out of memory")

    [outcome] = pipeline.transcribe_batch(Full(), [job(0)])
    assert isinstance(outcome, OutOfDeviceMemoryError)


@pytest.mark.parametrize(
    "text",
    ["CUDA failed with error an illegal memory access was encountered", "cuBLAS failed with 13"],
)
def test_a_failed_device_is_told_from_a_bad_chunk_so_that_another_replica_is_asked(
    text: str,
) -> None:
    class Broken(EchoEngine):
        def transcribe(self, jobs: Sequence[ChunkJob]) -> list[ChunkTranscript | ChunkJob]:
            raise RuntimeError(text)

    outcomes = pipeline.transcribe_batch(Broken(), [job(0), job(1)])
    assert [type(outcome) for outcome in outcomes] == [ReplicaLostError, ReplicaLostError]


def test_what_breaks_the_engine_is_logged_where_it_happens(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pipeline.transcribe_batch(EchoEngine(fails_on=lambda value: value == 3), [job(2), job(3)])
    [record] = caplog.records
    assert record.exc_info
    assert "planted" in str(record.exc_info[1])


def test_a_chunk_that_breaks_the_engine_fails_alone() -> None:
    engine = EchoEngine(fails_on=lambda value: value == 3)
    outcomes = pipeline.transcribe_batch(engine, [job(i) for i in range(8)])
    assert isinstance(outcomes[3], RuntimeError)
    rest = [o.text for o in outcomes if isinstance(o, ChunkTranscript)]
    assert rest == ["0", "1", "2", "4", "5", "6", "7"]


async def test_a_failed_attempt_is_submitted_again_until_it_is_accepted() -> None:
    submitted = []

    async def submit(item: ChunkJob) -> pipeline.Outcome:
        submitted.append(item)
        return transcript("done") if len(submitted) == 3 else job(len(submitted))

    assert (await pipeline.transcribe_chunk(submit, job(0))).text == "done"
    assert [int(j.chunk.pcm[0]) for j in submitted] == [0, 1, 2]


async def test_an_unexpected_error_of_a_chunk_is_not_shown_to_its_caller() -> None:
    async def submit(_: ChunkJob) -> pipeline.Outcome:
        return ZeroDivisionError("secret")

    with pytest.raises(TranscriptionError) as caught:
        await pipeline.transcribe_chunk(submit, job(0))
    assert "secret" not in str(caught.value)


def test_warming_up_fails_where_the_engine_cannot_decode() -> None:
    pipeline.warm_up(EchoEngine(), "mine")
    with pytest.raises(ModelLoadError, match="first decode failed: planted"):
        pipeline.warm_up(EchoEngine(fails_on=lambda _: True), "mine")


def test_a_transcript_says_how_full_its_batch_was_and_a_next_attempt_stays_as_it_is() -> None:
    made = pipeline.with_fill(transcript("a"), 0.25)
    assert isinstance(made, ChunkTranscript)
    assert made.batch_fill == 0.25
    again = job()
    assert pipeline.with_fill(again, 0.25) is again
