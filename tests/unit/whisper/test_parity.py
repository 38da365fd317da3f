"""Token for token what faster-whisper gives, on the same weights, with the same options."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from faster_whisper import BatchedInferencePipeline, WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import Segment

from serve_app import pipeline
from serve_app.domain import SAMPLE_RATE, ChunkJob, ChunkTranscript, DecodeOptions
from serve_app.models import locate_model
from serve_app.settings import EMBEDDED
from serve_app.stages.batching import Bucket, bucket_of, next_batch
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


def decode_together(
    engine: WhisperEngine, chunks: list[Pcm], *, timestamps: bool = False
) -> list[list[int]]:
    options = DecodeOptions(temperatures=(0.0,), timestamps=timestamps)
    jobs = [
        ChunkJob(chunk=pipeline.whole_chunk(pcm), options=options, request_id="r") for pcm in chunks
    ]
    outcomes = pipeline.transcribe_batch(engine, jobs)
    assert all(isinstance(outcome, ChunkTranscript) for outcome in outcomes)
    return [list(o.tokens) for o in outcomes if isinstance(o, ChunkTranscript)]


def in_segments(tokens: list[int], library: WhisperModel) -> list[int]:
    """Drop what the library drops when it cuts tokens into segments: an unfinished last one.

    And segments of times alone: the engine takes a chunk for silence where the library's batched
    pipeline gives such a one.
    """
    tokenizer = Tokenizer(library.hf_tokenizer, multilingual=False)
    segments, _, _ = library._split_segments_by_timestamps(
        tokenizer, tokens, time_offset=0, segment_size=0, segment_duration=0, seek=0
    )
    return [
        token
        for segment in segments
        for token in segment["tokens"]
        if min(segment["tokens"]) < tokenizer.timestamp_begin
    ]


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
    assert decode_together(engine, [pcm]) == [tokens_of(segments)]


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
        for tokens in decode_together(engine, chunks, timestamps=timestamps)
        for token in in_segments(tokens, library)
    ]
    assert made == tokens_of(segment for segment in segments if segment.text)


# Thirty chunks, decoded in each of these ways.
THIRTY = {
    **{name: clip(name) for name in references()},
    **{f"speech-{seed}": speech(4 + seed, seed=seed) for seed in range(6)},
}
PROMPT = "turn on the light in the kitchen"
MODES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "greedy-timestamps": {"timestamps": True},
    "beam": {"beam_size": 5},
    "beam-timestamps": {"beam_size": 5, "timestamps": True},
    "prompt": {"prompt": PROMPT},
    "words": {"timestamps": True, "words": True},
}


def mode_job(name: str, mode: str) -> ChunkJob:
    options = DecodeOptions(temperatures=(0.0,), **MODES[mode])
    return ChunkJob(chunk=pipeline.whole_chunk(THIRTY[name]), options=options, request_id=name)


def decode(engine: WhisperEngine, jobs: list[ChunkJob], size: int) -> list[ChunkTranscript]:
    """Decode jobs of any options in batches of one bucket each, as the gate forms them."""

    def key(one: ChunkJob) -> Bucket:
        n_prompt_tokens = engine.n_prompt_tokens(one.options)
        return bucket_of(one, n_prompt_tokens=n_prompt_tokens, n_frames=engine.n_frames(one.chunk))

    made: dict[int, ChunkTranscript] = {}
    waiting = list(jobs)
    while waiting:
        batch = next_batch({"all": waiting}, key, size)
        for one, outcome in zip(batch, engine.transcribe(batch), strict=True):
            assert isinstance(outcome, ChunkTranscript)
            made[id(one)] = outcome
        waiting = [one for one in waiting if id(one) not in made]
    return [made[id(one)] for one in jobs]


Alone = dict[tuple[str, str], ChunkTranscript]


@pytest.fixture(scope="module")
def alone(engine: WhisperEngine) -> Alone:
    """What each chunk gives in each mode, decoded by itself."""
    return {
        (name, mode): decode(engine, [mode_job(name, mode)], 1)[0]
        for mode in MODES
        for name in THIRTY
    }


def same(one: ChunkTranscript, other: ChunkTranscript) -> str | None:
    """None where the tokens agree, else what differs and how close the scores are."""
    if one.tokens == other.tokens:
        return None
    return f"{one.text!r} ({one.avg_logprob:.6f}) is not {other.text!r} ({other.avg_logprob:.6f})"


@pytest.mark.parametrize("mode", MODES)
def test_tokens_are_those_of_the_library_in_every_mode(
    mode: str, alone: Alone, library: WhisperModel
) -> None:
    found = _library_segments(library, mode)
    for name in THIRTY:
        made = alone[name, mode]
        assert in_segments(list(made.tokens), library) == tokens_of(found[name]), name


@pytest.mark.parametrize("mode", MODES)
def test_tokens_are_the_same_in_a_batch_of_8(
    mode: str, alone: Alone, engine: WhisperEngine
) -> None:
    together = decode(engine, [mode_job(name, mode) for name in THIRTY], 8)
    pairs = zip(THIRTY, together, strict=True)
    assert [d for name, made in pairs if (d := same(made, alone[name, mode]))] == []


def test_tokens_are_the_same_among_requests_with_other_options(
    alone: Alone, engine: WhisperEngine
) -> None:
    cases = [(name, mode) for mode in MODES for name in THIRTY]
    np.random.default_rng(0).shuffle(cases)
    cases = [(str(name), str(mode)) for name, mode in cases[:90]]
    mixed = decode(engine, [mode_job(name, mode) for name, mode in cases], 8)
    pairs = zip(cases, mixed, strict=True)
    assert [d for case, made in pairs if (d := same(made, alone[case]))] == []


def test_word_times_are_those_of_the_library(alone: Alone, library: WhisperModel) -> None:
    found = _library_segments(library, "words")
    first_timestamp = library.hf_tokenizer.token_to_id("<|0.00|>")
    n_words = 0
    for name in THIRTY:
        theirs = [word for segment in found[name] for word in segment.words or ()]
        ours = [w for segment in alone[name, "words"].segments for w in segment.words or ()]
        assert [w.text for w in ours] == [w.word for w in theirs], name
        written_s = 0.02 * (alone[name, "words"].tokens[0] - first_timestamp)
        for i, (word, other) in enumerate(zip(ours, theirs, strict=True)):
            # The library gives a first word the silence before it.
            start_s = max(other.start, written_s) if i == 0 else other.start
            assert abs(word.start_s - start_s) <= 0.021, (name, word, other)
            assert abs(word.end_s - other.end) <= 0.021, (name, word, other)
        n_words += len(ours)
    assert n_words > 100


def _library_segments(library: WhisperModel, mode: str) -> dict[str, list[Segment]]:
    """What the batched pipeline finds in each of the thirty."""
    options = dict(MODES[mode])
    found: dict[str, list[Segment]] = {}
    for name, pcm in THIRTY.items():
        segments, _ = BatchedInferencePipeline(library).transcribe(
            as_float(pcm),
            beam_size=options.get("beam_size", 1),
            temperature=[0],
            without_timestamps=not options.get("timestamps", False),
            word_timestamps=options.get("words", False),
            # The batched pipeline does not put the space before a prompt that `transcribe` does.
            initial_prompt=f" {PROMPT}" if "prompt" in options else None,
            clip_timestamps=[{"start": 0, "end": len(pcm) / SAMPLE_RATE}],
        )
        found[name] = list(segments)
    return found
