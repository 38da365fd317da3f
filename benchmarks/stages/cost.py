"""What a stage cost, the clocks that tell it, and what follows for a cluster. Knows no stage.

A cost is in seconds of a core per second of audio: the time that a process spent on a core (user
and system), so that whatever else runs on the machine is not counted.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.results import Report, spread

Row = Mapping[str, Any]

WINDOW_S = 30.0
WINDOWS_PER_S = 100.0  # what one replica on a GPU is to do, and what the cores beside it must feed
MS = 1000.0


@dataclass(frozen=True, kw_only=True)
class Point:
    """What a cost is of."""

    stage: str
    of: str  # the format of the file, or the model
    axis: str  # what is varied: clip_s, file_s, batch, processes
    at: float  # the value of that


def add_cost(report: Report, point: Point, costs: Sequence[float], **further: float) -> None:
    """Add a row.

    Args:
        report: gets it.
        point: what was measured.
        costs: of each round, in seconds of a core per second of audio.
        further: figures beside them.
    """
    report.add(**asdict(point), core_s_per_audio_s=spread(costs), **further)


def core_seconds(work: Callable[[], object]) -> float:
    """Do the work and return the time that this process spent on a core, all threads together."""
    began_s = time.process_time()
    work()
    return time.process_time() - began_s


class StageClock:
    """The core time of each stage of a batch; an engine calls it at the end of every stage."""

    def __init__(self) -> None:
        self.spent_s: dict[str, float] = {}
        self._last_s = 0.0

    def begin(self) -> None:
        """Forget what was told and begin with the first stage."""
        self.spent_s = {}
        self._last_s = time.process_time()

    def __call__(self, stage: str, took_s: float) -> None:
        """Take note of a stage that ends now; how long it took on the clock does not matter."""
        now_s = time.process_time()
        self.spent_s[stage] = self.spent_s.get(stage, 0.0) + now_s - self._last_s
        self._last_s = now_s


def cores_needed(audio_s_per_s: float, core_s_per_audio_s: float) -> int:
    """Return how many cores keep up with that much audio."""
    return max(1, math.ceil(round(audio_s_per_s * core_s_per_audio_s, 9)))


def find_cost(rows: Sequence[Row], stage: str, of: str, **at: float) -> float | None:
    """Return a stage's cost in s/s where the axis has that value, such as `batch=4`.

    None where it was not measured.
    """
    [(axis, value)] = at.items()
    for row in rows:
        if (row["stage"], row["of"], row["axis"], row["at"]) == (stage, of, axis, value):
            return float(row["core_s_per_audio_s"]["median"])
    return None


def meaning(rows: Sequence[Row], of: str) -> str:
    """Return what the cost of feeding a GPU comes to, in one sentence.

    Args:
        rows: of a run that measured the graph.
        of: the format of the uploads.
    """
    prepare = find_cost(rows, "AudioPreprocessor", of, clip_s=WINDOW_S)
    transport = find_cost(rows, "transport", of, clip_s=WINDOW_S)
    if prepare is None or transport is None:
        return "The graph was not measured."
    rate = WINDOWS_PER_S * WINDOW_S
    return (
        f"One GPU replica that does {rate:.0f} audio-seconds/s ({WINDOWS_PER_S:.0f} clips of "
        f"{WINDOW_S:.0f} s, {of}) needs {cores_needed(rate, prepare)} AudioPreprocessor cores, "
        f"and {cores_needed(rate, transport)} for HTTP and Ray; a core of this machine prepares "
        f"{1 / prepare:.0f} audio-seconds/s."
    )


def table(rows: Sequence[Row]) -> str:
    """Return the costs as text, one line for each thing that was varied.

    Every line names a stage, what it worked on, what was varied, and for each value of that the
    milliseconds of a core per second of audio.
    """
    lines = [f"{'stage':<22}{'of':<22}{'varied':<12}core-ms per second of audio"]
    points: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        point = f"{row['at']:g}: {row['core_s_per_audio_s']['median'] * MS:.3g}"
        points.setdefault((row["stage"], row["of"], row["axis"]), []).append(point)
    lines += [
        f"{stage:<22}{of:<22}{axis:<12}{'  '.join(own)}"
        for (stage, of, axis), own in points.items()
    ]
    return "\n".join(lines)
