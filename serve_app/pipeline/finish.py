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
    made = _with_late_clips(made, request)
    code = language_code(request.language or "")
    if made.language is None and code:  # there was no chunk to tell
        return replace(made, language=code, language_probability=1.0)
    return made


def _with_late_clips(made: Transcript, request: TranscriptionRequest) -> Transcript:
    """Return the transcript with a warning where clips lie beyond the end of the audio.

    Where all of them do, that is why there is no speech.
    """
    starts_s = request.clip_timestamps[::2]
    n_late = sum(start_s >= made.duration_s for start_s in starts_s)
    if not n_late:
        return made
    others = [w for w in made.warnings if n_late < len(starts_s) or w != assemble.NO_SPEECH]
    late = (
        f"clips_beyond_end: {n_late} of {len(starts_s)} clips of clip_timestamps begin after the "
        f"audio's end, at {made.duration_s:.2f} s"
    )
    return replace(made, warnings=(*others, late))
