"""The figure: what a second of audio costs beside the model, and in it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.results import Report
from benchmarks.stages.cost import MS, WINDOW_S, Row, find_cost
from benchmarks.stages.model import TIMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {
    "decode": "#4c78a8",
    "VAD": "#72b7b2",
    "transport": "#b279a2",
    "features": "#eeca3b",
    "encode": "#e45756",
    "generate": "#f58518",
    "what times add to generate": "#ffbf79",
    "align": "#9d755d",
    "diarize": "#54a24b",
}
ANSWER = "verbose_json, words"


def plot(report: Report, *, file_s: float) -> None:
    """Draw one bar per format and one per model; see README.md for what is in them.

    Args:
        report: its rows are drawn, and its picture written.
        file_s: a length of file at which diarize was measured.
    """
    with report.plot(n_axes=2) as (beside, model):
        _bars(beside, _beside_the_model(report.rows))
        beside.set_title("around the model")
        _bars(model, [*_in_the_model(report.rows), *_diarize(report.rows, file_s)])
        model.set_title("the model, on a core of this machine")


def _beside_the_model(rows: Sequence[Row]) -> list[tuple[str, dict[str, float]]]:
    vad = find_cost(rows, "VAD", "speech", slice_s=WINDOW_S)
    transport = find_cost(rows, "transport", "opus", clip_s=WINDOW_S)
    formats = dict.fromkeys(r["of"] for r in rows if r["stage"] == "decode")
    return [
        (
            of,
            _known(
                {
                    "decode": find_cost(rows, "decode", of, clip_s=WINDOW_S),
                    "VAD": vad,
                    "transport": transport,
                }
            ),
        )
        for of in formats
    ]


def _in_the_model(rows: Sequence[Row]) -> list[tuple[str, dict[str, float]]]:
    found = dict.fromkeys((r["of"], r["at"]) for r in rows if r["axis"] == "batch")
    bars = []
    for of, batch in found:
        cost = {
            stage: find_cost(rows, stage, of, batch=batch)
            for stage in ("features", "encode", "generate", "align")
        }
        timed = find_cost(rows, "generate" + TIMES, of, batch=batch)
        if timed is not None and cost["generate"] is not None:
            cost["what times add to generate"] = max(0.0, timed - cost["generate"])
        bars.append((f"{of}, batch {batch:g}", _known(cost)))
    return bars


def _diarize(rows: Sequence[Row], file_s: float) -> list[tuple[str, dict[str, float]]]:
    cost = find_cost(rows, "diarize", "embedded pipeline", file_s=file_s)
    return [("speakers", {"diarize": cost})] if cost is not None else []


def _known(costs: dict[str, float | None]) -> dict[str, float]:
    return {stage: cost for stage, cost in costs.items() if cost is not None}


def _bars(ax: "Axes", bars: Sequence[tuple[str, dict[str, float]]]) -> None:
    """Draw stacked horizontal bars, the first on top, each with its sum at its end."""
    for row, (_, costs) in enumerate(bars):
        left = 0.0
        for stage, colour in COLOURS.items():
            width = costs.get(stage, 0.0) * MS
            ax.barh(row, width, 0.62, left=left, color=colour)
            left += width
        ax.text(left, row, f" {left:.3g}", va="center", fontsize=9)
    ax.set_yticks(range(len(bars)), [name for name, _ in bars])
    ax.invert_yaxis()
    # Room for the sums.
    ax.set_xlim(0, 1.15 * MS * max((sum(costs.values()) for _, costs in bars), default=1 / MS))
    ax.set_xlabel("ms of a core per second of audio")
    shown = [stage for stage in COLOURS if any(stage in costs for _, costs in bars)]
    handles = [ax.barh(0, 0, color=COLOURS[stage], label=stage) for stage in shown]
    ax.legend(handles=handles, fontsize=8)
