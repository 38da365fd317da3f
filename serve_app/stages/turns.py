"""Words and turns in, words with speakers and segments of one speaker each out. Pure.

Called by `speakers` and, for files with a speaker in each channel, by `channels`.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from serve_app.domain import Segment, Transcript, Turn, Word

NEAR_S = 1.0  # a word in a gap belongs to the nearest turn, where that is no farther away
LONGEST_WORD_S = 1.0  # a longer word is stretched over silence: its beginning tells the speaker
# A shorter turn amid another speaker's is an error of the model: said alone, "yes" lasts longer.
FLICKER_S = 0.25
SEAM_S = 0.1  # turns as near to each other as this stand side by side
PAUSE_S = 0.5  # in such a pause of one channel, another channel's speaker may have the floor


def assign_speakers(segments: Sequence[Segment], turns: Sequence[Turn]) -> tuple[Segment, ...]:
    """Return the segments with the speakers of their words, split where the speaker changes.

    A word belongs to the speaker whose turns overlap most with it; in a gap between turns to the
    nearest one's, up to NEAR_S away, else to nobody. A segment whose words are not known is one
    such word. Ids are counted anew; the tokens of a segment that is split stay with its first part.

    Args:
        segments: in order.
        turns: by start, no two at the same time.
    """
    owners = _Owners(smooth_turns(turns))
    parts: list[Segment] = []
    for segment in segments:
        parts += _split_by_speaker(segment, owners)
    return _numbered(parts)


def smooth_turns(turns: Sequence[Turn]) -> list[Turn]:
    """Return the turns less the flickers: very short ones in the midst of another speaker's."""
    smooth = list(turns)
    for i in range(1, len(smooth) - 1):
        before, turn, after = smooth[i - 1 : i + 2]
        if _is_flicker(before, turn, after):
            smooth[i] = replace(turn, speaker=before.speaker)
    return smooth


def join_channels(channels: Sequence[tuple[str, Transcript]]) -> Transcript:
    """Join the transcripts of a file's channels, each one speaker's, in the order of time.

    Segments are parted in long pauses, so that what others said meanwhile can stand between.

    Args:
        channels: the speaker and the transcript of each channel; at least one.
    """
    parts = [
        part
        for speaker, transcript in channels
        for segment in transcript.segments
        for part in _split_at_pauses(segment, speaker)
    ]
    parts.sort(key=lambda part: part.start_s)
    made = [transcript for _, transcript in channels]
    spoken = [transcript for transcript in made if transcript.text] or made
    surest = max(spoken, key=lambda transcript: transcript.language_probability)
    warnings = dict.fromkeys(warning for one in spoken for warning in one.warnings)
    return replace(
        surest,
        text=" ".join(filter(None, (part.text.strip() for part in parts))),
        segments=_numbered(parts),
        turns=tuple(
            Turn(speaker=part.speaker or "", start_s=part.start_s, end_s=part.end_s)
            for part in parts
        ),
        warnings=tuple(warnings),
    )


class _Owners:
    """Whose turn it is at any time."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._turns = turns
        self._ends_s = [turn.end_s for turn in turns]  # rising, as no two turns overlap

    def find(self, start_s: float, end_s: float) -> str | None:
        """Return the speaker with most of that time, else the nearest one."""
        first = bisect_right(self._ends_s, start_s)
        held_s: defaultdict[str, float] = defaultdict(float)
        for i in range(first, len(self._turns)):
            turn = self._turns[i]
            if turn.start_s >= end_s:
                break
            held_s[turn.speaker] += min(end_s, turn.end_s) - max(start_s, turn.start_s)
        if held_s:
            return max(held_s, key=lambda speaker: held_s[speaker])
        # The last turn that ended before, and the first that begins after.
        around = self._turns[max(0, first - 1) : first + 1]
        away_s = [max(turn.start_s - end_s, start_s - turn.end_s) for turn in around]
        if not away_s or min(away_s) > NEAR_S:
            return None
        return around[away_s.index(min(away_s))].speaker

    def of_word(self, word: Word) -> str | None:
        """Return whose a word is."""
        return self.find(word.start_s, min(word.end_s, word.start_s + LONGEST_WORD_S))


def _split_by_speaker(segment: Segment, owners: _Owners) -> list[Segment]:
    if not segment.words:
        return [replace(segment, speaker=owners.find(segment.start_s, segment.end_s))]
    words = [replace(word, speaker=owners.of_word(word)) for word in segment.words]
    runs = [list(run) for _, run in groupby(words, key=lambda word: word.speaker)]
    return _cut(segment, runs)


def _split_at_pauses(segment: Segment, speaker: str) -> list[Segment]:
    if not segment.words:
        return [replace(segment, speaker=speaker)]
    runs = segment.words_between_pauses(PAUSE_S)
    return _cut(segment, [[replace(word, speaker=speaker) for word in run] for run in runs])


def _cut(segment: Segment, runs: Sequence[Sequence[Word]]) -> list[Segment]:
    """Return a segment as one part for each run of its words."""
    if len(runs) == 1:
        return [replace(segment, words=tuple(runs[0]), speaker=runs[0][0].speaker)]
    return [
        replace(
            segment,
            start_s=run[0].start_s,
            end_s=run[-1].end_s,
            text="".join(word.text for word in run),
            tokens=segment.tokens if i == 0 else (),
            words=tuple(run),
            speaker=run[0].speaker,
        )
        for i, run in enumerate(runs)
    ]


def _is_flicker(before: Turn, turn: Turn, after: Turn) -> bool:
    is_amid = before.speaker == after.speaker != turn.speaker
    is_seamless = turn.start_s - before.end_s <= SEAM_S and after.start_s - turn.end_s <= SEAM_S
    return is_amid and is_seamless and turn.duration_s < FLICKER_S


def _numbered(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    return tuple(replace(segment, id=i) for i, segment in enumerate(segments))
