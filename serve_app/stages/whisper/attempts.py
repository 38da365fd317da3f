"""What follows an attempt: accept it, call it silence, or try the next temperature. Pure.

The tests and their order are openai/whisper's `decode_with_fallback`; the token budget is ours.
"""

import zlib
from dataclasses import replace

from serve_app.domain import MAX_NEW_TOKENS, ChunkJob, ChunkTranscript, DecodeOptions


def next_step(job: ChunkJob, made: ChunkTranscript) -> ChunkTranscript | ChunkJob:
    """Return the transcript to keep, or the job of the next attempt.

    What the budget by length ended goes again without it, at the same temperature: it is speech in
    a script of many tokens, unless it repeats itself. Where every attempt failed, the best one
    stands.
    """
    options = job.options
    made = replace(made, n_attempts=job.attempt + 1)
    if is_silence(made, options):
        return replace(made, text="", tokens=(), segments=(), logprobs=(), is_truncated=False)
    has_room = token_budget(options, job.chunk.duration_s) < MAX_NEW_TOKENS
    if made.is_truncated and has_room and not is_repetitive(made, options):
        return replace(job, options=replace(options, tokens_per_s=None))
    if not has_failed(made, options):
        return made
    best = made if job.best is None else better(job.best, made, options)
    if job.attempt + 1 == len(options.temperatures):
        return replace(best, n_attempts=made.n_attempts)
    return replace(job, attempt=job.attempt + 1, best=best)


def is_silence(made: ChunkTranscript, options: DecodeOptions) -> bool:
    """Tell whether the model both hears no speech and does not believe its own text."""
    return (
        made.no_speech_prob > options.no_speech_threshold
        and made.avg_logprob <= options.log_prob_threshold
    )


def has_failed(made: ChunkTranscript, options: DecodeOptions) -> bool:
    """Tell whether an attempt repeats itself or is too improbable."""
    return is_repetitive(made, options) or made.avg_logprob < options.log_prob_threshold


def is_repetitive(made: ChunkTranscript, options: DecodeOptions) -> bool:
    """Tell whether an attempt repeats itself, as the model does where it loops."""
    return made.compression_ratio > options.compression_ratio_threshold


def better(one: ChunkTranscript, other: ChunkTranscript, options: DecodeOptions) -> ChunkTranscript:
    """Return the better of two failed attempts: not repetitive first, then the more probable."""

    def rank(made: ChunkTranscript) -> tuple[bool, float]:
        return not is_repetitive(made, options), made.avg_logprob

    return max(one, other, key=rank)


def token_budget(options: DecodeOptions, duration_s: float) -> int:
    """Return how many tokens a chunk of that length may cost.

    A caller's `max_new_tokens` is a limit and no more; the profile's budget by length is for a
    loop, which it stops early.
    """
    if options.max_new_tokens is not None:
        return options.max_new_tokens
    if options.tokens_per_s is None:
        return MAX_NEW_TOKENS
    return min(MAX_NEW_TOKENS, round(duration_s * options.tokens_per_s) + options.token_margin)


def is_truncated(job: ChunkJob, n_tokens: int, *, room: int) -> bool:
    """Tell whether a limit ended a text of so many tokens, other than a caller's own.

    Args:
        job: what was decoded.
        n_tokens: that the model wrote.
        room: tokens that the prompt leaves in the model's table.
    """
    limit = min(token_budget(job.options, job.chunk.duration_s), room)
    return job.options.max_new_tokens is None and n_tokens >= limit


def within_budget(job: ChunkJob, tokens: list[int]) -> list[int]:
    """Cut what a longer neighbour's budget let through: the answer is the one given alone."""
    return tokens[: token_budget(job.options, job.chunk.duration_s)]


def compression_ratio(text: str) -> float:
    """Return utf-8 bytes over zlib bytes: openai/whisper utils.py."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))
