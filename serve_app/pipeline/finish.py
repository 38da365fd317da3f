"""What became of the chunks -> the transcript."""

from collections.abc import Sequence
from dataclasses import replace

from serve_app.domain import ChunkTranscript, Span, Transcript, TranscriptionRequest
from serve_app.languages import language_code
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
    code = language_code(request.language or "")
    if made.language is None and code:  # there was no chunk to tell
        return replace(made, language=code, language_probability=1.0)
    return made
