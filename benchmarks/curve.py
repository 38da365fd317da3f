"""The points of a latency-throughput curve: which are measured, and what each came to.

A point is a load that runs steadily; what was sent before its window begins is the warm-up.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.results import percentiles
from benchmarks.verdicts import Row, Verdict

ANSWERED = frozenset({Verdict.OK, Verdict.VARIED})
SHARES = (0.4, 0.6, 0.8, 0.95)  # of the highest closed-loop throughput, offered open-loop


@dataclass(frozen=True, kw_only=True)
class Window:
    """The part of a load that counts, on the clock of its rows."""

    begin_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """Return how long it is."""
        return self.end_s - self.begin_s


def concurrencies(at_most: int) -> list[int]:
    """Return 1, 2, 4, ... up to and with `at_most`."""
    return [2**i for i in range(at_most.bit_length()) if 2**i < at_most] + [at_most]


def rates(closed_loop: Iterable[float], shares: Sequence[float] = SHARES) -> list[float]:
    """Return the arrivals per second to offer: shares of the highest closed-loop throughput.

    Returns:
        No rates where nothing was answered.
    """
    peak = max(closed_loop, default=0.0)
    return [share * peak for share in shares if peak]


def figures_of(rows: Sequence[Row], window: Window, *, within_s: float) -> dict[str, Any]:
    """Return what the requests of a window came to.

    Args:
        rows: all of the load.
        window: the part that counts.
        within_s: an answer after longer is no good to whoever asked.

    Returns:
        Latencies and verdicts of the requests that were sent in the window, however late their
        answers; rates of the answers that came in it, whenever they were asked for.
    """
    sent = [row for row in rows if window.begin_s <= row.sent_s < window.end_s]
    came = [
        row
        for row in rows
        if row.verdict in ANSWERED and window.begin_s <= row.sent_s + row.took_s < window.end_s
    ]
    took_s = [row.took_s for row in sent if row.verdict in ANSWERED]
    verdicts = Counter(row.verdict for row in sent)
    return {
        "window_s": window.duration_s,
        "sent": len(sent),
        **{verdict.value: verdicts[verdict] for verdict in Verdict},
        "errors": dict(Counter(kind(row) for row in sent if row.verdict not in ANSWERED)),
        **percentiles(took_s),
        "requests_per_s": len(came) / window.duration_s,
        "audio_s_per_s": sum(row.audio_s for row in came) / window.duration_s,
        "goodput_per_s": sum(row.took_s <= within_s for row in came) / window.duration_s,
    }


def kind(row: Row) -> str:
    """Return what kind of error a request met: its status, else the client's name for it."""
    if row.verdict is Verdict.MIXED:
        return "another clip's text"
    if row.answer.status is not None:
        return f"status {row.answer.status}"
    name = row.answer.detail.partition(" ")[0]
    return name if name.endswith("Error") else "no answer"
