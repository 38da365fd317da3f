"""Token for token what faster-whisper gives, on the same weights, with the same options."""

from collections.abc import Iterable

import numpy as np
import pytest
from faster_whisper import BatchedInferencePipeline, WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import Segment

from serve_app import pipeline
from serve_app.domain import SAMPLE_RATE, ChunkJob, ChunkTranscript, DecodeOptions
from serve_app.models import locate_model
from serve_app.settings import EMBEDDED
from serve_app.stages.whisper import WhisperEngine
from tests.clips import Pcm, clip, join, noise, references, silence, speech

ONE_CHUNK: dict[str, Pcm] = {
    "silence-0.2s": silence(0.2),
    "silence-5s": silence(5),
    "silence-29s": silence(29),
    "noise-1s": noise(1, seed=1),
    "noise-5s": noise(5, seed=2),
    "noise-29s": noise(29, seed=3),
    "digit-0.3s": clip("digit-8")[: round(0.3 * SAMPLE_RATE)],
    "digits-5s": join("digits-1", "digits-3")[: 5 * SAMPLE_RATE],
    "speech-29s": speech(29, seed=4),
    "speech-30s": speech(30, seed=5),
    "speech+noise-8s": (speech(8, seed=6) // 2 + noise(8, seed=7)).astype(np.int16),
    **{name: clip(name) for name in references()},
}
LONG: dict[str, Pcm] = {
    "speech-31s": speech(31, seed=8),
    "speech-60s": speech(60, seed=9),
    "half-silent-45s": np.concatenate([speech(20, seed=10), silence(25)]),
    "speech-3min": speech(180, seed=11),
}


@pytest.fixture(scope="module")
def library() -> WhisperModel:
    return WhisperModel(str(locate_model(EMBEDDED)), device="cpu", compute_type="float32")


def tokens_of(segments: Iterable[Segment]) -> list[int]:
    return [token for segment in segments for token in segment.tokens]


def ours(engine: WhisperEngine, chunks: list[Pcm], *, timestamps: bool = False) -> list[list[int]]:
    options = DecodeOptions(temperatures=(0.0,), timestamps=timestamps)
    jobs = [
        ChunkJob(chunk=pipeline.whole_chunk(pcm), options=options, request_id="r") for pcm in chunks
    ]
    outcomes = pipeline.transcribe_batch(engine, jobs)
    assert all(isinstance(outcome, ChunkTranscript) for outcome in outcomes)
    return [list(o.tokens) for o in outcomes if isinstance(o, ChunkTranscript)]


def in_segments(tokens: list[int], library: WhisperModel) -> list[int]:
    """Drop what the library drops when it cuts tokens into segments: an unfinished last one."""
    tokenizer = Tokenizer(library.hf_tokenizer, multilingual=False)
    segments, _, _ = library._split_segments_by_timestamps(
        tokenizer, tokens, time_offset=0, segment_size=0, segment_duration=0, seek=0
    )
    return [token for segment in segments for token in segment["tokens"]]


def as_float(pcm: Pcm) -> np.ndarray:
    return pcm.astype(np.float32) / 32768.0


@pytest.mark.parametrize("name", ONE_CHUNK)
def test_one_chunk_has_the_tokens_of_transcribe(
    name: str, engine: WhisperEngine, library: WhisperModel
) -> None:
    pcm = ONE_CHUNK[name]
    segments, _ = library.transcribe(
        as_float(pcm),
        beam_size=1,
        temperature=[0],
        without_timestamps=True,
        condition_on_previous_text=False,
    )
    assert ours(engine, [pcm]) == [tokens_of(segments)]


@pytest.mark.parametrize("timestamps", [False, True], ids=["text", "timestamps"])
@pytest.mark.parametrize("name", [*LONG, "speech-29s", "digits-5s", "silence-5s"])
def test_many_chunks_have_the_tokens_of_the_batched_pipeline(
    name: str, timestamps: bool, engine: WhisperEngine, library: WhisperModel
) -> None:
    pcm = {**ONE_CHUNK, **LONG}[name]
    step_s = 12  # of each chunk; the last one is shorter
    ends = [*range(step_s, len(pcm) // SAMPLE_RATE, step_s), len(pcm) / SAMPLE_RATE]
    clips = [{"start": a, "end": b} for a, b in zip([0, *ends], ends, strict=False)]
    segments, _ = BatchedInferencePipeline(library).transcribe(
        as_float(pcm),
        beam_size=1,
        temperature=[0],
        without_timestamps=not timestamps,
        clip_timestamps=clips,
        batch_size=8,
    )
    chunks = [pcm[round(c["start"] * SAMPLE_RATE) : round(c["end"] * SAMPLE_RATE)] for c in clips]
    made = [
        token
        for tokens in ours(engine, chunks, timestamps=timestamps)
        for token in in_segments(tokens, library)
    ]
    assert made == tokens_of(segments)
