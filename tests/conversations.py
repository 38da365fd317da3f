"""The conversations of tests/data: what was recorded, who spoke when, and how far turns are off."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from serve_app.domain import SAMPLE_RATE, Turn
from serve_app.stages.audio import decode_audio
from tests.clips import DATA, encode

FOLDER = DATA / "conversations"


@cache
def recording(name: str) -> bytes:
    return next(FOLDER.glob(f"{name}.[!r]*")).read_bytes()


def reference(name: str) -> tuple[Turn, ...]:
    return read_rttm(FOLDER / f"{name}.rttm")


def read_rttm(path: Path) -> tuple[Turn, ...]:
    turns = []
    for line in path.read_text().splitlines():
        _, _, _, start_s, duration_s, _, _, speaker, *_ = line.split()
        start, end = float(start_s), float(start_s) + float(duration_s)
        turns.append(Turn(speaker=speaker, start_s=start, end_s=end))
    return tuple(turns)


def opening(name: str, voice: str) -> bytes:
    """A file with the first words of one voice, 3 s of them at most."""
    pcm = decode_audio(recording(name), max_s=600).samples
    turn = max((t for t in reference(name) if t.speaker == voice), key=lambda t: t.duration_s)
    start = round(turn.start_s * SAMPLE_RATE)
    return encode(pcm[start : start + round(min(3.0, turn.duration_s) * SAMPLE_RATE)])


def error_rate(
    truth: Sequence[Turn], found: Sequence[Turn], *, duration_s: float, by_name: bool = False
) -> float:
    """The diarization error rate without collar, overlaps counted, by pyannote.metrics.

    Args:
        truth: who speaks when.
        found: the same, as it was found.
        duration_s: of the recording.
        by_name: whether the names on both sides mean the same; else the best pairing counts.
    """
    from pyannote.core import Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate
    from pyannote.metrics.identification import IdentificationErrorRate

    metric = IdentificationErrorRate() if by_name else DiarizationErrorRate()
    whole = Timeline([Segment(0, duration_s)])
    return float(metric(to_annotation(truth), to_annotation(found), uem=whole))


def to_annotation(turns: Sequence[Turn]) -> Any:
    from pyannote.core import Annotation, Segment

    annotation = Annotation()
    for i, turn in enumerate(turns):
        annotation[Segment(turn.start_s, turn.end_s), i] = turn.speaker
    return annotation
