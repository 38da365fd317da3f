"""A chunk whose text does not fit the model's tokens -> its halves; what became of them -> its own.

openai/whisper goes on where the last window's text ended. Chunks are decoded side by side, so one
with more to say than its tokens can hold is cut instead.
"""

from collections.abc import Sequence
from dataclasses import replace

from serve_app.domain import Chunk, ChunkJob, ChunkTranscript, Segment
from serve_app.stages import audio
from serve_app.stages.chunking import cut_chunk
from serve_app.stages.vad import cut_at_quiet
from serve_app.stages.whisper.attempts import is_repetitive

# 224 tokens hold speech of this length in every script: Burmese, the longest in tokens, has 60 per
# second.
LONGEST_WHOLE_S = 3.7
# `cut_at_quiet` looks at the last fifth of this part of a chunk: at what lies just past the middle.
FIRST_PART = 5 / 8


def has_more(job: ChunkJob, made: ChunkTranscript) -> bool:
    """Tell whether more was said in a chunk than its transcript holds, so that halves hold it."""
    is_loop = is_repetitive(made, job.options)
    return made.is_truncated and not is_loop and job.chunk.duration_s > LONGEST_WHOLE_S


def halve(chunk: Chunk) -> tuple[Chunk, Chunk]:
    """Cut a chunk at a quiet moment near its middle. The halves' spans are in the chunk's time."""
    samples = audio.to_float32(chunk.pcm)
    first, second = cut_at_quiet(samples, max_span_s=chunk.duration_s * FIRST_PART)
    return (
        cut_chunk(chunk.pcm, (first,), slice_start_s=0.0),
        cut_chunk(chunk.pcm, (second,), slice_start_s=0.0),
    )


def join_halves(
    whole: ChunkTranscript, halves: Sequence[tuple[Chunk, ChunkTranscript]]
) -> ChunkTranscript:
    """Return a chunk's transcript by those of its halves, in their order.

    Its scores stay those of the attempt on the whole: each segment has its own.
    """
    made = [transcript for _, transcript in halves]
    return replace(
        whole,
        text="".join(one.text for one in made),
        tokens=tuple(token for one in made for token in one.tokens),
        segments=tuple(
            _later(segment, half.spans[0].start_s)
            for half, one in halves
            for segment in one.segments
        ),
        logprobs=tuple(logprob for one in made for logprob in one.logprobs),
        is_truncated=any(one.is_truncated for one in made),
        n_attempts=whole.n_attempts + sum(one.n_attempts - 1 for one in made),
    )


def _later(segment: Segment, by_s: float) -> Segment:
    words = segment.words and tuple(
        replace(word, start_s=word.start_s + by_s, end_s=word.end_s + by_s)
        for word in segment.words
    )
    return replace(segment, start_s=segment.start_s + by_s, end_s=segment.end_s + by_s, words=words)
