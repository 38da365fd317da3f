"""Chunk transcripts in, one transcript out. Pure; called by `pipeline.finish`."""

from collections.abc import Sequence

from serve_app.domain import ChunkTranscript, Transcript

NO_SPEECH = "no_speech: no speech was found in the audio"


def assemble(chunks: Sequence[ChunkTranscript], *, duration_s: float, model: str) -> Transcript:
    """Join the chunks of one request, in the order of the audio.

    Whisper's tokens carry the spaces between words, so the texts are joined without one.
    The language is the one of the chunk whose detection was the surest.
    """
    text = "".join(chunk.text for chunk in chunks).strip()
    surest = max(chunks, key=lambda chunk: chunk.language_probability, default=None)
    return Transcript(
        text=text,
        language=surest.language if surest else None,
        duration_s=duration_s,
        model=model,
        warnings=() if chunks else (NO_SPEECH,),
    )
