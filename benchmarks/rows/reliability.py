"""The rows of README's table of changing load, faults, overload and hostile input."""

from benchmarks.markdown import Row
from benchmarks.measured import Measured
from benchmarks.overload import PROXIES

_KILLED_PROXIES = {"proxy": "Ray's HTTP proxy", "HAProxy": "HAProxy"}  # by the trial that kills it
_OF_TWO_NODES = {  # by the trial
    "proxy killed": "a proxy dies",
    "node told to end": "a node is told to end",
    "head killed": "the head dies and comes back",
    "node killed": "a node dies",
    "node cut off": "a node is cut off",
}
REPLICA = "ServeReplica:"  # how Serve names the processes of a deployment


def _memory(measured: Measured) -> str:
    whole = measured.row()
    grown = sorted(row["grown_mb"] for row in measured.rows() if "process" in row)
    return (
        f"{grown[-1]:.0f} MB, the upload's {whole['upload_mb']:.0f} MB in it; "
        f"{grown[-2]:.0f} MB in any other process ({whole['hours']:g} h)"
    )


def _generated(measured: Measured) -> str:
    n_failed = measured.bar("500 and above")["value"]
    return f"{n_failed} of {sum(row['n'] for row in measured.rows()):,}"


def _slow_clients(measured: Measured) -> str:
    rows = measured.rows()
    return f"{sum(row['good_one_answered'] for row in rows)} of {len(rows)}"


def _faults(measured: Measured) -> str:
    rows = [row for row in measured.rows() if row["trial"] not in _KILLED_PROXIES]
    wrong = {what: sum(row[what] for row in rows) for what in ("failed", "lost", "mixed")}
    told = ", ".join(f"{n} {what}" for what, n in wrong.items())
    return (
        f"{sum(row['ok'] for row in rows):,} of {sum(row['sent'] for row in rows):,} well; "
        f"{told} ({sum(row['n_faults'] for row in rows)} faults)"
    )


def _drift(measured: Measured) -> str:
    drifts = [row for row in measured.rows() if "memory" in row]
    ours = [row for row in drifts if row["name"].startswith(REPLICA)]
    rays = [row for row in drifts if row not in ours]
    bars = [bar for bar in measured.content["bars"] if bar["name"].endswith(": memory")]
    n_met, limit = sum(bar["met"] for bar in bars), bars[0]["limit"]
    return f"{n_met} of {len(bars)} at most {limit:.0%}; the worst: " + ", ".join(
        f"{worst['memory']:+.1%} {worst['name'].rpartition(':')[2]} of {whose}"
        for whose, rows in (("serve_app", ours), ("Ray", rays))
        if (worst := max(rows, key=lambda row: row["memory"]))
    )


def _replicas(measured: Measured) -> str:
    step, after = measured.rows(phase="step"), measured.rows(phase="after")
    most = max(row["n_replicas"] for row in step)
    grown_s = next(row["at_s"] for row in step if row["n_replicas"] == most) - step[0]["at_s"]
    return (
        f"1 to {most} in {grown_s:.0f} s, back to {after[-1]['n_replicas']} in "
        f"{after[-1]['at_s'] - after[0]['at_s']:.0f} s; "
        f"{after[-1]['n_failed']} of {after[-1]['n_answers']} requests failed"
    )


RELIABILITY = (
    Row(
        what="p95 of 5 s clips while a long file runs, over the same alone (demo profile)",
        source="fairness",
        where={"side": "beside"},
        figure="{bar[value]:.1f} x (a file of {long_file_s:.0f} s)",
        bar="p95 of short clips",
        unit="x",
    ),
    Row(
        what="Replicas after a step from 1 to 12 clients, and back (demo model)",
        source="autoscaling",
        figure=_replicas,
        bar="failed requests",
        unit="failed",
    ),
    Row(
        what="Requests answered while replicas are killed and hung",
        source="chaos",
        figure=_faults,
    ),
    *(
        Row(
            what=f"Time without a connection after {proxy} dies, on one node",
            source="chaos",
            where={"trial": trial},
            figure="{whole_after_s:.0f} s",
        )
        for trial, proxy in _KILLED_PROXIES.items()
    ),
    *(
        Row(
            what=f"Requests answered while {what}, of two nodes behind the front proxy",
            source="two_nodes",
            where={"trial": trial},
            figure="{ok:,} of {sent:,}, the slowest in {max_s:.0f} s ({n_faults} times)",
            bar=f"{trial}: failed",
            unit="failed",
        )
        for trial, what in _OF_TWO_NODES.items()
    ),
    Row(
        what="Load at 70 % of the peak with a fault every minute: requests answered well",
        source="soak",
        where={"phase": "soak"},
        figure="{ok:,} of {sent:,}; {failed} failed, {lost} lost, {mixed} mixed "
        "({settings[minutes]:g} min)",
        bar="lost",
        unit="lost",
    ),
    Row(
        what="Growth of the memory of processes there, after one turn of all faults",
        source="soak",
        figure=_drift,
    ),
    *(
        row
        for proxy in PROXIES
        for row in (
            Row(
                what=f"Answers at five times the capacity, over those at the peak ({proxy})",
                source="overload",
                where={"phase": "overload", "proxy": proxy},
                figure="{bar[value]:.2f} x ({ok:,} answered, {refused:,} refused, {failed} failed)",
                bar=f"{proxy}: goodput over peak",
                unit="x",
            ),
            Row(
                what=f"Median time to a refusal there ({proxy})",
                source="overload",
                where={"phase": "refusals", "proxy": proxy},
                figure="{p50_s:.3f} s",
                bar=f"{proxy}: median refusal",
                unit="s",
            ),
        )
    ),
    Row(
        what="Rows for clips sent through Ray Data with a worker killed on the way",
        source="dataset",
        figure="{n_rows:,} of {n_clips:,}, {clips_per_s:.1f} clips/s",
        bar="clips without a row",
        unit="without",
    ),
    Row(
        what="Memory that a long file takes beyond a minute's, in the process with the most",
        source="memory",
        figure=_memory,
        bar="Ingress: growth",
        unit="MB",
    ),
    Row(
        what="Damaged audio and video files that ended or hung the decoder",
        source="containers",
        where={"all": "all"},
        figure="{died} and {hung} of {n:,}; {accepted:,} decoded, {refused:,} refused",
        bar="files that died",
        unit="ended",
    ),
    Row(
        what="Generated requests answered with 500 and above",
        source="fuzz",
        figure=_generated,
        bar="500 and above",
        command="make fuzz",
    ),
    Row(
        what="Others answered beside clients that are slow, idle or leave, kinds of client",
        source="slow_clients",
        figure=_slow_clients,
    ),
)
