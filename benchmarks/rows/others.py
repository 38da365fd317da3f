"""What other systems publish, with the source, and this project's figure of the same work."""

from benchmarks.markdown import Anchor, Row
from benchmarks.measured import Measured


def _windows(model: str) -> Row:
    """Return the most windows/s that a GPU did: every clip of at most 30 s is one."""

    def figure(measured: Measured) -> str:
        rows = [row for row in measured.rows(model=model) if "windows_per_s" in row]
        best = max(row["windows_per_s"] for row in rows if not row.get("timestamps"))
        return f"{best:.1f} clips/s ({measured.row(part='device')['name']})"

    return Row(what=model, source="gpu", figure=figure)


def _over_http(measured: Measured) -> str:
    best = max(row["answered_per_s"] for row in measured.rows(what="closed loop"))
    return f"{best:.1f} clips/s ({measured.row(part='device')['name']})"


_MLPERF = "https://github.com/mlcommons/inference_results_v5.1"
_HALKSPEECH = "https://github.com/GkyEla/halkspeech"
_VLLM = "https://github.com/stackav-oss/ai-workloads"
_ONE_GPU = "large-v3, LibriSpeech in clips of at most 30 s"
_UTTERANCES = "LibriSpeech utterances, offline, fp8 KV cache, 256 sequences"

ANCHORS = (
    Anchor(
        system="MLPerf v5.1, NVIDIA",
        work=_ONE_GPU,
        hardware="B200, per GPU",
        published="89.3 clips/s",
        source=_MLPERF,
        ours=_windows("large-v3"),
    ),
    Anchor(
        system="MLPerf v5.1, HPE",
        work=_ONE_GPU,
        hardware="H200, per GPU",
        published="67.9 clips/s",
        source=_MLPERF,
        ours=_windows("large-v3"),
    ),
    Anchor(
        system="MLPerf v5.1, Dell",
        work=_ONE_GPU,
        hardware="H100-NVL, per GPU",
        published="43.6 clips/s",
        source=_MLPERF,
        ours=_windows("large-v3"),
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
        ours=_windows("large-v3"),
    ),
    Anchor(
        system="vLLM",
        work=f"large-v3-turbo, {_UTTERANCES}",
        hardware="H100",
        published="50.2 clips/s",
        source=_VLLM,
        ours=_windows("large-v3-turbo"),
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
        ours=Row(what="", source="gpu", figure=_over_http),
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
        ours=Row(
            what="",
            source="peers",
            where={"side": "openai-whisper", "tokens_per_window": 64},
            figure="{http_over_it:.1f} x, over HTTP, AMD EPYC, 2 cores",
        ),
    ),
)
