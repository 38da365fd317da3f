import numpy as np
import pytest

from serve_app import pipeline
from serve_app.domain import SAMPLE_RATE, ChunkJob, ChunkTranscript, DecodeOptions, Word
from tests.clips import noise, silence
from tests.fakes import segment, transcript

MOST_S = 8.0  # of audio, whose text fits the model's tokens


class Dense:
    """Writes one segment of one word for what it hears; longer chunks do not fit its tokens."""

    def __init__(self, compression_ratio: float = 1.0) -> None:
        self.jobs: list[ChunkJob] = []
        self._compression_ratio = compression_ratio

    async def submit(self, job: ChunkJob) -> pipeline.Outcome:
        self.jobs.append(job)
        end_s = min(MOST_S, job.chunk.duration_s)
        word = Word(text=" x", start_s=1.0, end_s=end_s, probability=1.0)
        return transcript(
            f" {len(job.chunk.pcm)}",
            segments=(segment(" x", 1.0, end_s, words=(word,)),),
            language="hi",
            is_truncated=job.chunk.duration_s > MOST_S,
            compression_ratio=self._compression_ratio,
        )


def dense_job(*pcm: np.ndarray) -> ChunkJob:
    chunk = pipeline.whole_chunk(np.concatenate(pcm), start_s=100.0)
    return ChunkJob(chunk=chunk, options=DecodeOptions(tokens_per_s=8.0), request_id="r")


async def transcribe(model: Dense, job: ChunkJob) -> ChunkTranscript:
    return await pipeline.transcribe_chunk(model.submit, job)


async def test_a_chunk_with_more_to_say_than_fits_is_heard_whole_in_halves_cut_in_a_pause() -> None:
    model, job = Dense(), dense_job(noise(7), silence(0.5), noise(6))
    made = await transcribe(model, job)
    _, first, second = model.jobs
    assert 7.0 < first.chunk.duration_s < 7.5
    assert np.array_equal(np.concatenate([first.chunk.pcm, second.chunk.pcm]), job.chunk.pcm)
    assert made.text == f" {len(first.chunk.pcm)} {len(second.chunk.pcm)}"
    assert (made.is_truncated, made.tokens) == (False, (1, 2, 1, 2))


async def test_the_times_of_a_second_half_are_in_the_chunk() -> None:
    made = await transcribe(Dense(), dense_job(noise(7), silence(0.5), noise(6)))
    first, second = made.segments
    assert first.start_s == 1.0
    assert 8.0 < second.start_s < 8.5
    assert second.end_s == pytest.approx(13.5)
    [word] = second.words or ()
    assert (word.start_s, word.end_s) == (second.start_s, second.end_s)


async def test_halves_have_the_language_of_the_whole_and_no_budget_by_length() -> None:
    model = Dense()
    await transcribe(model, dense_job(noise(12)))
    assert [job.options.language for job in model.jobs] == [None, "hi", "hi"]
    assert [job.options.tokens_per_s for job in model.jobs] == [8.0, None, None]


async def test_halves_are_halved_until_the_text_fits() -> None:
    model = Dense()
    made = await transcribe(model, dense_job(noise(30)))
    whole = [len(j.chunk.pcm) for j in model.jobs if j.chunk.duration_s <= MOST_S]
    assert sum(whole) == 30 * SAMPLE_RATE
    assert made.text == "".join(f" {n}" for n in whole)


async def test_a_loop_is_not_halved_and_stays_truncated() -> None:
    model = Dense(compression_ratio=9.0)
    made = await transcribe(model, dense_job(noise(30)))
    assert (len(model.jobs), made.is_truncated) == (1, True)


async def test_what_no_halving_makes_fit_comes_to_an_end() -> None:
    class Endless(Dense):
        async def submit(self, job: ChunkJob) -> pipeline.Outcome:
            self.jobs.append(job)
            return transcript(" a", is_truncated=True)

    model = Endless()
    made = await transcribe(model, dense_job(noise(30)))
    assert made.is_truncated
    assert len(model.jobs) < 32
