"""The table of the model's card: every figure of `evaluate`, beside those of the model before it.

Called by `python -m benchmarks tables`. Needs neither torch nor a model.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.measured import Measured

ASSETS = Path(__file__).parents[3] / "serve_app" / "assets"
CARD = ASSETS / "whisper-demo-en" / "README.md"
SHIPPED, BEFORE = "embedded", "previous"  # directories' names, as `evaluate` was given them

_SECONDS, _COUNT = "{:.3f} s", "{:.0f}"
# How a figure is written that is no share.
_FORMATS: Mapping[str, str] = {
    "clips with invented text": _COUNT,
    **{
        f"{edge}, {of}": _SECONDS
        for edge in ("segment start", "segment end", "word start", "word end")
        for of in ("median", "p90")
    },
    "real-time factor": "{:.3f}",
    "fitted window over full": "{:+.1%}",
}


def is_of_both(measured: Measured) -> bool:
    """Tell whether a run measured the shipped model and the one before it, on all clips."""
    models = {row["model"] for row in measured.content["rows"]}
    return models == {SHIPPED, BEFORE} and measured.settings["share"] == 1.0


def measures_table(measured: Measured) -> str:
    """Return the table, in Markdown."""
    lines = ["| Figure | Clips | This model | The one before | Aim |", "|---|---|---|---|---|"]
    for row in measured.rows(model=SHIPPED):
        before = measured.row(model=BEFORE, figure=row["figure"], beam=row.get("beam"))
        name = row["figure"] + (f", beam {row['beam']}" if row.get("beam", 1) > 1 else "")
        lines.append(
            f"| {name} | {row.get('n', '')} | {_written(row)}{_voices(row)} | {_written(before)} "
            f"| {_aim(measured, row)} |"
        )
    return "\n".join(lines) + "\n"


def _written(row: Mapping[str, Any]) -> str:
    return _FORMATS.get(row["figure"], "{:.1%}").format(row["value"])


def _voices(row: Mapping[str, Any]) -> str:
    """Return the voices' own error rates, of those that had clips enough."""
    voices = row.get("by_voice") or {}
    if len(voices) <= 1 or row["beam"] > 1:
        return ""
    return f" ({', '.join(f'{name} {rate:.1%}' for name, rate in sorted(voices.items()))})"


def _aim(measured: Measured, row: Mapping[str, Any]) -> str:
    if row.get("beam", 1) > 1:
        return ""
    name = f"{SHIPPED}: {row['figure']}"
    bars = [bar for bar in measured.content["bars"] if bar["name"] == name]
    if not bars:
        return ""
    limit = _FORMATS.get(row["figure"], "{:.1%}").format(bars[0]["limit"])
    return f"at most {limit}" + ("" if bars[0]["met"] else ": missed")
