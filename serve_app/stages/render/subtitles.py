"""A transcript in, its subtitles out: cues, SubRip and WebVTT."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from serve_app.domain import Segment, Transcript, TranscriptionRequest, Word
from serve_app.stages.render.bodies import Body, one_line

PAUSE_S = 1.5  # what is said after such a pause is a cue of its own


@dataclass(frozen=True, kw_only=True)
class Cue:
    """One subtitle: its lines, and when they are shown."""

    start_s: float
    end_s: float
    lines: tuple[str, ...]
    speaker: str | None = None


def make_cues(transcript: Transcript, request: TranscriptionRequest) -> list[Cue]:
    """Return the subtitles of a transcript, by their start.

    A segment is one cue; where its words are known, it is parted in long pauses, its lines are
    filled up to `max_line_width`, and a cue has `max_line_count` of them.
    """
    cues = [cue for s in transcript.segments for cue in _cues_of(s, request) if any(cue.lines)]
    return sorted(cues, key=lambda cue: cue.start_s)  # speakers of several channels overlap


def _cues_of(segment: Segment, request: TranscriptionRequest) -> Iterator[Cue]:
    if not segment.words:
        text = one_line(segment.text)
        yield Cue(
            start_s=segment.start_s, end_s=segment.end_s, lines=(text,), speaker=segment.speaker
        )
    for words in segment.words_between_pauses(PAUSE_S):
        lines = list(_fill_lines(words, request.max_line_width or math.inf))
        n_lines = request.max_line_count or len(lines)
        for first in range(0, len(lines), n_lines):
            shown = lines[first : first + n_lines]
            yield Cue(
                start_s=shown[0][0].start_s,
                end_s=shown[-1][-1].end_s,
                lines=tuple(map(_join, shown)),
                speaker=segment.speaker,
            )


def _fill_lines(words: Sequence[Word], width: float) -> Iterator[list[Word]]:
    """Yield lines of whole words; a word longer than a line stands alone."""
    line: list[Word] = []
    for word in words:
        if line and len(_join([*line, word])) > width:
            yield line
            line = []
        line.append(word)
    if line:
        yield line


def _join(words: Sequence[Word]) -> str:
    return one_line("".join(word.text for word in words))


def render_srt(transcript: Transcript, request: TranscriptionRequest) -> Body:
    """Render SubRip; the speaker stands before what was said."""
    blocks = []
    for i, cue in enumerate(make_cues(transcript, request), 1):
        label = f"{cue.speaker}: " if cue.speaker else ""
        text = _arrowless(label + "\n".join(cue.lines))
        blocks.append(f"{i}\n{_clock(cue.start_s, ',')} --> {_clock(cue.end_s, ',')}\n{text}\n")
    return Body(content="\n".join(blocks), media_type="text/plain; charset=utf-8")


def render_vtt(transcript: Transcript, request: TranscriptionRequest) -> Body:
    """Render WebVTT, with a voice tag where the speaker is known."""
    blocks = ["WEBVTT\n"]
    for cue in make_cues(transcript, request):
        voice = f"<v {escape(cue.speaker, quote=False)}>" if cue.speaker else ""
        text = _arrowless("\n".join(cue.lines)).replace("&", "&amp;").replace("<", "&lt;")
        times = f"{_clock(cue.start_s, '.')} --> {_clock(cue.end_s, '.')}"
        blocks.append(f"{times}\n{voice}{text}\n")
    return Body(content="\n".join(blocks), media_type="text/vtt; charset=utf-8")


def _arrowless(text: str) -> str:
    """Return a cue's text; the arrow that parts two times must not stand in it."""
    return re.sub("-{2,}>", "->", text)


def _clock(time_s: float, decimal_mark: str) -> str:
    """Return HH:MM:SS and milliseconds."""
    total_ms = round(time_s * 1000)
    seconds, ms = divmod(total_ms, 1000)
    minutes, s = divmod(seconds, 60)
    h, m = divmod(minutes, 60)
    return f"{h:02d}:{m:02d}:{s:02d}{decimal_mark}{ms:03d}"
