"""What became of each request of a load, and whether all were answered once and with their own."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum

OWN_WORDS = 0.5  # of an answer that is not the recorded text must be the clip's, at least
_OK = 200
_BAD_REQUEST = 400
_REFUSALS = (429, 503)


class Verdict(StrEnum):
    """What one request came to."""

    OK = "ok"  # its own text, or the refusal that its input deserves
    VARIED = "varied"  # not that text, but its own words: servers round differently by batch
    REFUSED = "refused"  # told to come again, and when
    FAILED = "failed"  # any other answer
    LOST = "lost"  # no answer, or one that broke off
    MIXED = "mixed"  # a text that is not what its audio gives


@dataclass(frozen=True, kw_only=True)
class Answer:
    """All that a client saw of one request."""

    status: int | None = None  # None: no whole answer
    texts: tuple[str, ...] = ()  # of its ends: a stream must have exactly one
    retry_after: bool = False  # the header was there
    n_tries: int = 1  # of the client
    detail: str = ""  # of an error


@dataclass(frozen=True, kw_only=True)
class Row:
    """One request and what it came to."""

    request_id: int
    sent_s: float  # since the load's begin
    took_s: float
    answer: Answer
    verdict: Verdict
    audio_s: float = 0.0  # length of what was sent


def judge(expected: str | None, answer: Answer, others: Sequence[str] = ()) -> Verdict:
    """Tell what an answer is worth.

    Args:
        expected: the text that the audio gives when nothing else runs; None: it is no audio, and
            to be refused with 400.
        answer: what came.
        others: the texts of the other clips. Where they are given, an answer may have other words
            than expected, as long as half of them are the clip's and it is like no other clip's.
    """
    if answer.status is None:
        return Verdict.LOST
    if answer.status in _REFUSALS and answer.retry_after:
        return Verdict.REFUSED
    if expected is None:
        return Verdict.OK if answer.status == _BAD_REQUEST else Verdict.FAILED
    if answer.status != _OK or len(answer.texts) != 1:
        return Verdict.FAILED
    text = answer.texts[0]
    if text == expected:
        return Verdict.OK
    own = likeness(text, expected)
    is_own = bool(others) and own >= OWN_WORDS and own > max(likeness(text, o) for o in others)
    return Verdict.VARIED if is_own else Verdict.MIXED


def likeness(text: str, other: str) -> float:
    """Return how much of two texts is the same words in the same order, 0 to 1."""
    return SequenceMatcher(None, _words(text), _words(other), autojunk=False).ratio()


def count(sent: Sequence[int], rows: Iterable[Row]) -> dict[str, int]:
    """Count the verdicts of what was sent.

    Returns:
        One number for each verdict, `sent`, and `retried`: answered after a further try of the
        client. A request without a row counts as lost.

    Raises:
        ValueError: a request was answered twice, or one was answered that was never sent.
    """
    rows = list(rows)
    answered = Counter(row.request_id for row in rows)
    if twice := [i for i, n in answered.items() if n > 1]:
        raise ValueError(f"answered more than once: {twice}")
    if strange := answered.keys() - set(sent):
        raise ValueError(f"answered but never sent: {sorted(strange)}")
    found = Counter(row.verdict for row in rows)
    found[Verdict.LOST] += len(sent) - len(rows)
    return {
        "sent": len(sent),
        **{verdict.value: found[verdict] for verdict in Verdict},
        "retried": sum(row.answer.n_tries > 1 for row in rows),
    }


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def recovered_after_s(rows: Sequence[Row]) -> float:
    """Return when the last request that was not answered well had its answer; 0: all were well."""
    return max((r.sent_s + r.took_s for r in rows if r.verdict is not Verdict.OK), default=0.0)
