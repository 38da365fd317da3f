"""Subtitles read by independent parsers: what they find is what the transcript says."""

import datetime as dt
import io
import random

import pytest
import srt
import webvtt

from serve_app.domain import ResponseFormat, Transcript, TranscriptionRequest, Word
from serve_app.stages.render import make_cues, render, to_dict, to_srt, to_vtt
from tests.fakes import segment

# What a model could write that means something to a parser.
PIECES = (
    *("hello", "world", "-->", "--->", "<b>", "</b>", "<v Tom>", "&amp;", "&", "1", "42", "NOTE"),
    *("WEBVTT", "STYLE", "00:00:01,000", "00:00:01.000 --> 00:00:02.000", "\n", "\n\n", "\r\n"),
    *("\u2028", "\x85", "\t", "ğüşöçı", "日本語", "🎙️", "שלום", "{\\an8}", '"', "\\n", "  "),
)


def transcript(seed: int) -> Transcript:
    """A transcript of random texts, with the words' times where the seed is odd."""
    rng = random.Random(seed)
    segments, now_s = [], rng.choice([0.0, 3599.5, 360_000.0])
    for i in range(rng.randint(1, 12)):
        texts = [" " + rng.choice(PIECES) for _ in range(rng.randint(1, 8))]
        words = []
        start_s = now_s
        for text in texts:
            length_s = rng.choice([0.02, 0.3, 1.0004])
            words.append(Word(text=text, start_s=now_s, end_s=now_s + length_s, probability=0.9))
            now_s += length_s
        segments.append(
            segment("".join(texts), start_s, now_s, id=i, words=tuple(words) if seed % 2 else None)
        )
        now_s += rng.choice([0.0, 0.5])
    return Transcript(text="", language="en", duration_s=now_s, model="m", segments=tuple(segments))


def rounded(time_s: float) -> dt.timedelta:
    return dt.timedelta(milliseconds=round(time_s * 1000))


def plain(line: str) -> str:
    """A line as shown: arrows are shortened in the text, since one parts the times."""
    return line.replace("---->", "->").replace("--->", "->").replace("-->", "->")


def ask(response_format: ResponseFormat, seed: int) -> TranscriptionRequest:
    limits = {"max_line_width": 20, "max_line_count": 1 + seed % 3} if seed % 4 == 1 else {}
    return TranscriptionRequest(response_format=response_format, **limits)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(100))
def test_srt_is_read_back_by_an_independent_parser(seed: int) -> None:
    made, request = transcript(seed), ask(ResponseFormat.SRT, seed)
    cues = make_cues(made, request)
    found = list(srt.parse(render(made, request).content, ignore_errors=False))
    assert [(c.index, c.start, c.end) for c in found] == [
        (i, rounded(cue.start_s), rounded(cue.end_s)) for i, cue in enumerate(cues, 1)
    ]
    assert [c.content for c in found] == ["\n".join(map(plain, cue.lines)) for cue in cues]


@pytest.mark.parametrize("seed", range(100))
def test_vtt_is_read_back_by_an_independent_parser(seed: int) -> None:
    made, request = transcript(seed), ask(ResponseFormat.VTT, seed)
    cues = make_cues(made, request)
    found = list(webvtt.from_buffer(io.StringIO(render(made, request).content)))
    assert len(found) == len(cues)
    for caption, cue in zip(found, cues, strict=True):
        times_s = (caption.start_in_seconds, caption.end_in_seconds)
        assert times_s == (int(cue.start_s), int(cue.end_s)) or cue.start_s > 1e5
        shown = caption.raw_text.replace("&lt;", "<").replace("&amp;", "&")
        assert shown == "\n".join(map(plain, cue.lines))


def test_a_python_caller_makes_the_same_subtitles_and_object() -> None:
    made = transcript(1)
    for kind, convert in ((ResponseFormat.SRT, to_srt), (ResponseFormat.VTT, to_vtt)):
        request = TranscriptionRequest(response_format=kind, max_line_width=20, max_line_count=1)
        assert convert(made, max_line_width=20, max_line_count=1) == render(made, request).content
        assert convert(made) != render(made, request).content
    told = to_dict(made)
    assert len(told["segments"]) == len(made.segments)
    assert len(told["words"]) == len(made.words)
