"""Chunk transcripts in, one transcript out. Pure; called by `pipeline.finish`.

Times go from the chunk, whose spans lie end to end, back to the caller's audio, where there are
pauses between them.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate

from serve_app.domain import ChunkTranscript, Segment, Span, Task, Transcript, Word

NO_SPEECH = "no_speech: no speech was found in the audio"
FRAMES_PER_S = 100  # Whisper's `seek` counts frames of 10 ms
# Nothing is said so near to a pause that was cut out: speech is padded by 0.4 s, and the model's
# times are right to about 0.1 s.
SEAM_S = 0.5


class GrowingText:
    """The text of a request, chunk by chunk.

    Whisper's tokens carry the spaces between words, so the texts are joined without one.
    """

    def __init__(self) -> None:
        self._has_begun = False
        self._spaces = ""  # at the end so far: they count where text follows

    def add(self, text: str) -> str:
        """Return what a chunk's text adds. All that was added is the text of all, stripped."""
        text = self._spaces + text
        if not self._has_begun:
            text = text.lstrip()
        added = text.rstrip()
        self._spaces = text[len(added) :]
        self._has_begun = self._has_begun or bool(added)
        return added


def assemble(
    chunks: Sequence[tuple[Sequence[Span], ChunkTranscript]],
    *,
    task: Task,
    duration_s: float,
    model: str,
) -> Transcript:
    """Join the chunks of one request, in the order of the audio.

    The language is the one of the chunk whose detection was the surest, of those in which something
    was said where there are any.

    Args:
        chunks: each chunk's spans in the caller's audio, and what the model made of it.
        task: transcribe or translate.
        duration_s: of the whole audio.
        model: the name of the model.
    """
    made = [transcript for _, transcript in chunks]
    text = GrowingText()
    said = [chunk for chunk in made if chunk.text] or made
    surest = max(said, key=lambda chunk: chunk.language_probability, default=None)
    segments = [s for spans, chunk in chunks for s in _restore_segments(spans, chunk)]
    return Transcript(
        text="".join(text.add(chunk.text) for chunk in made),
        task=task,
        language=surest.language if surest else None,
        language_probability=surest.language_probability if surest else 0.0,
        duration_s=duration_s,
        model=model,
        logprobs=tuple(one for chunk in made for one in chunk.logprobs),
        segments=tuple(replace(s, id=i) for i, s in enumerate(_in_order(segments))),
        warnings=tuple(_warnings(chunks)),
    )


def _warnings(chunks: Sequence[tuple[Sequence[Span], ChunkTranscript]]) -> Iterator[str]:
    if not any(chunk.text.strip() for _, chunk in chunks):
        yield NO_SPEECH
    truncated = [spans for spans, chunk in chunks if chunk.is_truncated]
    if truncated:
        where = ", ".join(f"{s[0].start_s:.1f} to {s[-1].end_s:.1f} s" for s in truncated)
        yield f"truncated: the model ran into its limit of tokens; text may be missing at {where}"


def _restore_segments(spans: Sequence[Span], chunk: ChunkTranscript) -> list[Segment]:
    """Put a chunk's segments and words into the caller's time."""
    ends_s = list(accumulate(span.duration_s for span in spans))

    def restore(time_s: float, span_index: int) -> float:
        span = spans[span_index]
        start_s = ends_s[span_index] - span.duration_s  # of the span, in the chunk
        return round(min(max(span.start_s + time_s - start_s, span.start_s), span.end_s), 3)

    def span_at(time_s: float) -> int:
        return min(bisect_right(ends_s, time_s), len(spans) - 1)

    def is_pause(after: int) -> bool:
        return spans[after + 1].start_s - spans[after].end_s > SEAM_S

    def spans_of(segment: Segment) -> tuple[int, int]:
        """Return the first and the last span of a segment.

        An end just past a seam belongs before the pause there, a start just before one after it.
        """
        first = span_at(segment.start_s)
        last = max(first, min(bisect_left(ends_s, segment.end_s), len(spans) - 1))
        near_s = min(SEAM_S, (segment.end_s - segment.start_s) / 2)
        begins_late = first < last and ends_s[first] - segment.start_s < near_s and is_pause(first)
        ends_early = (
            first < last and segment.end_s - ends_s[last - 1] < near_s and is_pause(last - 1)
        )
        return first + begins_late, last - ends_early

    def restore_word(word: Word) -> Word:
        index = span_at((word.start_s + word.end_s) / 2)  # a word does not reach over a pause
        return replace(word, start_s=restore(word.start_s, index), end_s=restore(word.end_s, index))

    def restore_segment(segment: Segment) -> Segment:
        words = None if segment.words is None else tuple(map(restore_word, segment.words))
        first, last = spans_of(segment)
        start_s, end_s = restore(segment.start_s, first), restore(segment.end_s, last)
        if words:
            start_s, end_s = words[0].start_s, words[-1].end_s
        seek = round(spans[0].start_s * FRAMES_PER_S)
        return replace(segment, seek=seek, start_s=start_s, end_s=end_s, words=words)

    return [restore_segment(segment) for segment in chunk.segments]


def _in_order(segments: Sequence[Segment]) -> list[Segment]:
    """Return the segments with no time before the end of what comes before it.

    The model's own times may step back by a little; the order of the text is the truth.
    """
    clock_s = 0.0

    def forward(time_s: float) -> float:
        nonlocal clock_s
        clock_s = max(clock_s, time_s)
        return clock_s

    ordered = []
    for segment in segments:
        start_s = forward(segment.start_s)
        words = (
            None
            if segment.words is None
            else tuple(
                replace(word, start_s=forward(word.start_s), end_s=forward(word.end_s))
                for word in segment.words
            )
        )
        ordered.append(replace(segment, start_s=start_s, words=words, end_s=forward(segment.end_s)))
    return ordered
