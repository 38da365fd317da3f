"""What the model made of a chunk in, the chunk's transcript out: texts, scores, segments, words."""

from dataclasses import dataclass, replace
from typing import Any

from serve_app.domain import ChunkJob, ChunkTranscript, Segment, Task, Word
from serve_app.languages import WITHOUT_SPACES
from serve_app.stages.whisper import logprobs
from serve_app.stages.whisper.attempts import compression_ratio, is_truncated
from serve_app.stages.whisper.segments import Piece, split_tokens
from serve_app.stages.whisper.vocabulary import Vocabulary
from serve_app.stages.whisper.words import AlignedWord, place_words

Language = tuple[str, float]  # ISO 639-1 and its probability


@dataclass(frozen=True, kw_only=True, eq=False)
class Decoded:
    """What the model made of one chunk."""

    generated: Any  # ctranslate2.models.WhisperGenerationResult
    tokens: list[int]  # of it, those within the chunk's budget
    language: Language
    aligned: list[AlignedWord]  # empty where no words were asked for


def read(job: ChunkJob, decoded: Decoded, vocabulary: Vocabulary) -> ChunkTranscript:
    """Return what the model's answer to a job says."""
    generated, tokens = decoded.generated, decoded.tokens
    text = vocabulary.decode(tokens)
    code, probability = decoded.language
    made = ChunkTranscript(
        text=text,
        tokens=tuple(tokens),
        language=code,
        language_probability=probability,
        temperature=job.temperature,
        avg_logprob=_avg_logprob(job, generated),
        compression_ratio=compression_ratio(text.strip()),
        no_speech_prob=generated.no_speech_prob,
        is_truncated=is_truncated(
            job, len(generated.sequences_ids[0]), room=vocabulary.room(job.options, code)
        ),
        logprobs=(
            logprobs.token_logprobs(
                logprobs.to_arrays(generated.logits[0]), tokens, vocabulary.spell
            )
            if job.options.logprobs
            else ()
        ),
    )
    made = replace(made, segments=_segments(job, made, decoded.aligned, vocabulary))
    written = "en" if job.options.task is Task.TRANSLATE else code
    return made if written in WITHOUT_SPACES else _begin_with_space(made)


def _begin_with_space(made: ChunkTranscript) -> ChunkTranscript:
    """Return a transcript that begins with a space, as Whisper's own do, or is empty.

    Chunks are joined without one, and models that were fine-tuned on texts without leading spaces
    would glue the words at their seams together.
    """
    if not made.text or made.text[0].isspace():
        return made
    segments = made.segments
    if segments:
        first, *others = segments
        words = first.words
        if words:
            words = (replace(words[0], text=f" {words[0].text}"), *words[1:])
        segments = (replace(first, text=f" {first.text}", words=words), *others)
    return replace(made, text=f" {made.text}", segments=segments)


def _avg_logprob(job: ChunkJob, generated: Any) -> float:
    """Return the mean log-probability of the tokens and the end; 0 for an empty text."""
    n_made = len(generated.sequences_ids[0])
    if not n_made:
        return 0.0  # an empty text has no score
    # The score is the sum over all tokens and the end over length ** penalty: undo that, and
    # divide by the number of tokens and the end.
    total = generated.scores[0] * n_made**job.options.length_penalty
    return float(total / (n_made + 1))


def _segments(
    job: ChunkJob, made: ChunkTranscript, aligned: list[AlignedWord], vocabulary: Vocabulary
) -> tuple[Segment, ...]:
    """Return the segments of a chunk; a single one where no timestamps were decoded."""
    pieces = split_tokens(
        made.tokens,
        first_timestamp=vocabulary.first_timestamp,
        duration_s=job.chunk.duration_s,
    )
    placed: list[tuple[Piece, tuple[Word, ...] | None]] = [(piece, None) for piece in pieces]
    if job.options.words:
        n_text = [len(vocabulary.text_of(piece.tokens)) for piece in pieces]
        placed = list(place_words(aligned, pieces, n_text))
    return tuple(
        Segment(
            start_s=piece.start_s,
            end_s=piece.end_s,
            text=(text := vocabulary.decode(piece.tokens)),
            tokens=piece.tokens,
            temperature=made.temperature,
            avg_logprob=made.avg_logprob,
            compression_ratio=compression_ratio(text.strip()),
            no_speech_prob=made.no_speech_prob,
            words=words,
        )
        for piece, words in placed
    )
