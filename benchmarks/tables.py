"""What README shows of the result files: its tables, row by row, and the command that writes them.

A new benchmark gets a `Row` here: which figure of its file is shown, how, and against which bar.
"""

import difflib
from pathlib import Path

import click

from benchmarks.markdown import Anchor, Latest, Row, anchors_table, figures_table, fill
from benchmarks.measured import Measured, latest, read

README = Path(__file__).parent.parent / "README.md"
COMMAND = "python -m benchmarks tables"


def _at_the_gate(measured: Measured) -> str:
    gate, alone = (
        measured.row(kind=kind, offered_per_s=20.0, via="inside")
        for kind in ("gate", "serve.batch alone")
    )
    return (
        f"{gate['mean_batch']:.1f} chunks, p50 {gate['p50_s']:.2f} s; "
        f"`@serve.batch` alone {alone['mean_batch']:.1f} chunks, {alone['p50_s']:.1f} s"
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


def _timestamps(measured: Measured) -> str:
    """Return the cost of the largest batch."""
    plain, with_words = (
        measured.rows(mode=mode, chunk_s=30.0)[-1]
        for mode in ("timestamps", "timestamps and words")
    )
    return (
        f"{plain['times_plain']:.2f} x, with word times {with_words['times_plain']:.2f} x "
        f"(batches of {plain['batch']})"
    )


def _other_words(measured: Measured) -> str:
    one, two = (measured.row(clips=clips) for clips in ("tests/data", "two joined"))
    return (
        f"{one['n_clips_with_other_words']} of {one['n_clips']} clips of one sentence, "
        f"{two['n_clips_with_other_words']} of {two['n_clips']} of two"
    )


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
    rows = [row for row in measured.rows() if row["trial"] != "proxy"]
    wrong = {what: sum(row[what] for row in rows) for what in ("failed", "lost", "mixed")}
    told = ", ".join(f"{n} {what}" for what, n in wrong.items())
    return (
        f"{sum(row['ok'] for row in rows):,} of {sum(row['sent'] for row in rows):,} well; "
        f"{told} ({sum(row['n_faults'] for row in rows)} faults)"
    )


PERFORMANCE = (
    Row(
        what="Latency of a 30 s clip through HTTP and the graph, over the same work in process",
        source="graph_overhead",
        where={"model": "random base"},
        figure="{latency_ratio:.2f} x",
        bar="latency ratio",
        unit="x",
    ),
    Row(
        what="Throughput of 16 clients, over batches of 16 in process",
        source="graph_overhead",
        where={"model": "random base"},
        figure="{throughput_ratio:.2f} x",
        bar="throughput ratio",
        unit="x",
    ),
    Row(
        what="Speed of a long file over HTTP, over faster-whisper's batched pipeline in process",
        source="long_file",
        figure="{speed_of_faster_whisper:.2f} x",
        bar="times as fast as faster-whisper",
        unit="x",
    ),
    Row(
        what="Batches at 20 chunks/s where one takes 0.5 s, whatever its size",
        source="gate",
        figure=_at_the_gate,
        bar="20/s inside: mean batch",
        unit="chunks",
    ),
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
        what="Throughput on 5 s chunks with `encoder_window: fit`, over `full`",
        source="window_fit",
        where={"batch": 8},
        figure="{gain:.1f} x",
        bar="fit over full",
        unit="x",
    ),
    Row(
        what="Word error rate with `full`, and with `fit` (demo model on `tests/data`)",
        source="window_fit",
        where={"model": "embedded"},
        figure="{word_error_rate_full:.2%}, {word_error_rate_fit:.2%}",
    ),
    Row(
        what="Time of a batch with timestamp tokens, over without",
        source="timestamps_cost",
        figure=_timestamps,
    ),
    Row(
        what="Clips whose words differ between json and srt (demo model)",
        source="timestamps_cost",
        figure=_other_words,
    ),
    Row(
        what="Core time per chunk with huge pages, over without (shape `tiny`, batches of 4)",
        source="huge_pages",
        where={"model": "tiny", "batch": 4},
        figure="{huge_over_plain:.2f} x",
        bar="tiny, batches of 4",
        unit="x",
    ),
    Row(
        what="Diarization error rate over HTTP, and of bare pyannote.audio (embedded pipeline)",
        source="diarization",
        where={"figure": "accuracy"},
        figure="{error_rate:.1%}, {error_rate_bare:.1%} ({n_files} conversations)",
        bar="diarization error rate",
    ),
    Row(
        what="Rows for clips sent through Ray Data with a worker killed on the way",
        source="dataset",
        figure="{n_rows:,} of {n_clips:,}, {clips_per_s:.1f} clips/s",
        bar="clips without a row",
        unit="without",
    ),
)

RELIABILITY = (
    Row(
        what="Requests answered while replicas are killed and hung",
        source="chaos",
        figure=_faults,
    ),
    Row(
        what="Time without a connection after Ray's HTTP proxy dies, on one node",
        source="chaos",
        where={"trial": "proxy"},
        figure="{whole_after_s:.0f} s",
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
        what="Answers at five times the capacity, over those at the peak",
        source="overload",
        where={"phase": "overload"},
        figure="{bar[value]:.2f} x ({ok:,} answered, {refused:,} refused, {failed} failed)",
        bar="goodput over peak",
        unit="x",
    ),
    Row(
        what="Median time to a refusal there",
        source="overload",
        where={"phase": "refusals"},
        figure="{p50_s:.3f} s",
        bar="median refusal",
        unit="s",
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
        what="Others answered beside clients that are slow on purpose, kinds of client",
        source="slow_clients",
        figure=_slow_clients,
    ),
)

_MLPERF = "https://github.com/mlcommons/inference_results_v5.1"
_HALKSPEECH = "https://github.com/GkyEla/halkspeech/blob/main/PERFORMANCE_CONFIGS.md"
_VLLM = "https://github.com/stackav-oss/ai-workloads/tree/main/whisper/offline"
_ONE_GPU = "large-v3, LibriSpeech in clips of at most 30 s"
_UTTERANCES = "LibriSpeech utterances, offline, fp8 KV cache, 256 sequences"

ANCHORS = (
    Anchor(
        system="MLPerf v5.1, NVIDIA",
        work=_ONE_GPU,
        hardware="B200, per GPU",
        published="89.3 clips/s",
        source=_MLPERF,
    ),
    Anchor(
        system="MLPerf v5.1, HPE",
        work=_ONE_GPU,
        hardware="H200, per GPU",
        published="67.9 clips/s",
        source=_MLPERF,
    ),
    Anchor(
        system="MLPerf v5.1, Dell",
        work=_ONE_GPU,
        hardware="H100-NVL, per GPU",
        published="43.6 clips/s",
        source=_MLPERF,
    ),
    Anchor(
        system="MLPerf v5.1, Intel",
        work=_ONE_GPU,
        hardware="two CPUs, 128 cores",
        published="28.8 clips/s",
        source=_MLPERF,
    ),
    Anchor(
        system="vLLM",
        work=f"large-v3, {_UTTERANCES}",
        hardware="H100",
        published="41.3 clips/s",
        source=_VLLM,
    ),
    Anchor(
        system="vLLM",
        work=f"large-v3-turbo, {_UTTERANCES}",
        hardware="H100",
        published="50.2 clips/s",
        source=_VLLM,
    ),
    Anchor(
        system="sglang-omni",
        work="large-v3, HTTP, 4.7 s clips, 32 clients",
        hardware="not stated",
        published="47.7 clips/s, p95 0.92 s",
        source="https://github.com/sgl-project/sglang-omni/issues/1888",
    ),
    Anchor(
        system="insanely-fast-whisper",
        work="large-v3, a file of 150 minutes, batches of 24",
        hardware="A100",
        published="98 s",
        source="https://github.com/Vaibhavs10/insanely-fast-whisper",
    ),
    Anchor(
        system="HalkSpeech",
        work="large-v3-turbo, HTTP, 20-30 s clips",
        hardware="H100",
        published="25-33 clips/s expected",
        source=_HALKSPEECH,
    ),
    Anchor(
        system="HalkSpeech",
        work="large-v3, HTTP, 20-30 s clips",
        hardware="H100",
        published="17-20 clips/s expected",
        source=_HALKSPEECH,
    ),
    Anchor(
        system="AudioDecode",
        work="base, against openai-whisper",
        hardware="Apple M, CPU",
        published="1.8 x",
        source="https://github.com/chopratejas/audio-decode",
    ),
)


def tables(files: Latest) -> dict[str, str]:
    """Return README's tables by the names of their places."""
    return {
        "performance": figures_table(PERFORMANCE, files),
        "others": anchors_table(ANCHORS, files),
        "reliability": figures_table(RELIABILITY, files),
    }


def stale(text: str) -> list[str]:
    """Return what in a text of README differs from what the result files make of it."""
    made = fill(text, tables(latest(read())))
    differences = difflib.unified_diff(text.splitlines(), made.splitlines(), n=0, lineterm="")
    return list(differences)[2:]  # without the names of the two


@click.command("tables")
@click.option("--check", is_flag=True, help="Write nothing; fail where README is stale.")
def command(check: bool) -> None:
    """Write README's tables from the latest result files."""
    text = README.read_text()
    if not check:
        README.write_text(fill(text, tables(latest(read()))))
    elif lines := stale(text):
        raise click.ClickException("\n".join([f"README.md is stale; `{COMMAND}`:", *lines]))
