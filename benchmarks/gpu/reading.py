"""What the rows say: what came of a load, the bars on an H100 or H200, and the figure."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.results import Bar, Report, percentiles
from benchmarks.stages.cost import Row
from benchmarks.verdicts import Row as Request
from benchmarks.verdicts import Verdict

TARGET_DEVICES = re.compile(r"\bG?H[12]00\b|\bH20\b")
RAMP_UP = 0.25  # of a load's time, not counted
ANSWERED = (Verdict.OK, Verdict.MIXED)
MAX_P95_S, MAX_ALONE_S, MAX_LONG_S = 0.5, 0.12, 6.0
MIN_WINDOWS_PER_S = {"large-v3-turbo": 100.0, "large-v3": 60.0}


def tell(rows: Sequence[Request], load_s: float) -> dict[str, Any]:
    """Return what came of a load, without its first quarter.

    Args:
        rows: every request.
        load_s: how long requests were sent.
    """
    begin_s = RAMP_UP * load_s
    answered = [row for row in rows if row.verdict in ANSWERED]
    counted = [row for row in answered if begin_s <= row.sent_s < load_s]
    n_within = sum(begin_s <= row.sent_s + row.took_s < load_s for row in answered)
    return {
        "answered_per_s": n_within / (load_s - begin_s),
        **percentiles([row.took_s for row in counted]),
        "n_answered": len(answered),
        "n_unlike_alone": sum(row.verdict is Verdict.MIXED for row in rows),
        "n_not_answered": len(rows) - len(answered),
    }


def bars(rows: Sequence[Row]) -> Iterator[Bar]:
    """Yield the bars of what was measured, where the device is of the class they were set for."""
    device = next((row["name"] for row in rows if row["part"] == "device"), "")
    if not TARGET_DEVICES.search(device):
        return
    for model, limit in MIN_WINDOWS_PER_S.items():
        best = best_rate(rows, model)
        if best is not None:
            name = f"{model}: windows/s in process, features included"
            yield Bar(name=name, value=best, limit=limit, at_least=True)
    for row in rows:
        if row.get("what") == "open loop":
            name = f"p95 at {row['requests_per_s']:g} requests/s, s"
            yield Bar(name=name, value=row["p95_s"], limit=MAX_P95_S)
        elif row.get("what") == "closed loop" and row["concurrency"] == 1:
            yield Bar(name="p50 of a lone 30 s clip, s", value=row["p50_s"], limit=MAX_ALONE_S)
        elif row.get("what") == "one file":
            name = f"a file of {row['audio_s'] / 60:g} minutes, s"
            yield Bar(name=name, value=row["took_s"], limit=MAX_LONG_S)


def best_rate(rows: Sequence[Row], model: str) -> float | None:
    """Return the most windows per second that a model did in process; None: not measured."""
    rates = [row["windows_per_s"] for row in rows if row.get("model") == model and _has_rate(row)]
    return max(rates, default=None)


def _has_rate(row: Row) -> bool:
    return "windows_per_s" in row and not row.get("timestamps", False)


def plot(report: Report) -> None:
    """Draw the encoder and the whole engine by batch size, and the latencies over HTTP."""
    batches = [row for row in report.rows if "encode_ms_per_window" in row]
    models = list(
        dict.fromkeys(row["model"] for row in batches if row["part"] in ("fast", "large"))
    )
    loads = [row for row in report.rows if row.get("what") in ("closed loop", "open loop")]
    with report.plot(n_axes=3) as (encode, rate, latency):
        for model in models:
            own = [row for row in batches if row["model"] == model and row["part"] != "types"]
            plain = [r for r in own if r.get("timestamps") is False]
            encode.plot(
                [r["batch"] for r in plain],
                [r["encode_ms_per_window"] for r in plain],
                "o-",
                label=model,
            )
            for times, style in ((False, "o-"), (True, "s--")):
                chosen = [r for r in own if r.get("timestamps") is times]
                label = f"{model}{', timestamps' if times else ''}"
                points = [r["windows_per_s"] for r in chosen]
                rate.plot([r["batch"] for r in chosen], points, style, label=label)
        encode.set(title="encoder", xlabel="batch", ylabel="ms per window", ylim=(0, None))
        rate.set(title="whole engine", xlabel="batch", ylabel="windows/s", ylim=(0, None))
        names = [
            f"{row['concurrency']} clients"
            if "concurrency" in row
            else f"{row['requests_per_s']:g}/s"
            for row in loads
        ]
        for i, p in enumerate(("p50_s", "p95_s", "p99_s")):
            latency.bar(
                [x + 0.27 * i for x in range(len(loads))], [r[p] for r in loads], 0.25, label=p
            )
        latency.set_xticks([x + 0.27 for x in range(len(loads))], names)
        latency.set(title="over HTTP, 30 s clips", ylabel="s")
        for ax in (encode, rate, latency):
            ax.legend(fontsize=8)
