"""What became of the chunks -> the transcript."""

from collections.abc import Sequence

from serve_app.domain import (
    Chunk,
    ChunkTranscript,
    Transcript,
    TranscriptionRequest,
)
from serve_app.stages import assemble


def finish(
    chunks: Sequence[tuple[Chunk, ChunkTranscript]],
    request: TranscriptionRequest,
    *,
    duration_s: float,
    model: str,
) -> Transcript:
    """Join a request's chunks, given in the order of the audio, into its transcript."""
    pieces = [(chunk.spans, made) for chunk, made in chunks]
    return assemble.assemble(pieces, task=request.task, duration_s=duration_s, model=model)


def join_texts(chunks: Sequence[ChunkTranscript]) -> str:
    """Return the text of a request's chunks so far."""
    return assemble.join_texts(chunks)
