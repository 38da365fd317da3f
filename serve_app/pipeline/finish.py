"""What became of the chunks -> the transcript."""

from collections.abc import Sequence
from dataclasses import replace

from serve_app.domain import ChunkTranscript, Span, Transcript, TranscriptionRequest
from serve_app.stages import assemble


def finish(
    chunks: Sequence[tuple[Sequence[Span], ChunkTranscript]],
    request: TranscriptionRequest,
    *,
    duration_s: float,
    model: str,
) -> Transcript:
    """Join a request's chunks, their spans in the order of the audio, into its transcript."""
    made = assemble.assemble(chunks, task=request.task, duration_s=duration_s, model=model)
    if made.language is None and request.language:  # there was no chunk to tell
        return replace(made, language=request.language, language_probability=1.0)
    return made


def join_texts(chunks: Sequence[ChunkTranscript]) -> str:
    """Return the text of a request's chunks so far."""
    return assemble.join_texts(chunks)
