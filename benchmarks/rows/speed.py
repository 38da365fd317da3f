"""The rows of README's table of speed: which figure of which result file, and how it is written."""

import math
from collections.abc import Callable

from benchmarks.markdown import Row
from benchmarks.measured import Measured

HELD = ("faster-whisper batched", "openai-whisper")  # those of the peers with a floor


def _classes(measured: Measured) -> str:
    rates = [measured.row(corpus=name)["audio_s_per_s"] for name in ("short", "many")]
    return ", ".join(f"{rate['median']:.0f} x" for rate in rates)


def _beside_servers(kind: str) -> Callable[[Measured], str]:
    """Return what tells how many times each server's requests/s ours are, of that kind."""

    def figure(measured: Measured) -> str:
        begin, end = f"{kind} over ", ", requests/s"
        return ", ".join(
            f"{bar['value']:.2f} x {bar['name'].removeprefix(begin).removesuffix(end)}"
            for bar in measured.content["bars"]
            if bar["name"].startswith(begin)
        )

    return figure


def _around_the_model(measured: Measured) -> str:
    prepare, transport = (
        measured.row(stage=stage, of="opus", axis="clip_s", at=30.0)["core_s_per_audio_s"]
        for stage in ("AudioPreprocessor", "transport")
    )
    return f"{1e3 * prepare['median']:.1f} ms, {1e3 * transport['median']:.1f} ms"


def _decode_budget(measured: Measured) -> str:
    first, cut = (measured.row(step=step) for step in ("beam 5", "int8"))
    before, after = (row["word_error_rate"] for row in (first, cut))
    return f"{cut['demo_times_first']:.2f} x, word error rate {before:.1%} before, {after:.1%} then"


def _at_the_gate(measured: Measured) -> str:
    gate, alone = (
        measured.row(kind=kind, offered_per_s=20.0, via="inside")
        for kind in ("gate", "serve.batch alone")
    )
    # Where the queue only grows, none of those after the warm-up may be answered in the time.
    waited = "no answer in time" if math.isnan(alone["p50_s"]) else f"{alone['p50_s']:.1f} s"
    return (
        f"{gate['mean_batch']:.1f} chunks, p50 {gate['p50_s']:.2f} s; "
        f"`@serve.batch` alone {alone['mean_batch']:.1f} chunks, {waited}"
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


def _beside_diarization(measured: Measured) -> str:
    alone, beside = (measured.row(figure="plain requests", side=s) for s in ("alone", "beside"))
    return f"{beside['p95_s'] / alone['p95_s']:.1f} x ({beside['p95_s']:.2f} s)"


SPEED = (
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
    *(
        Row(
            what=f"Speed through HTTP on 30 s clips, over {peer} in process, same weights",
            source="peers",
            where={"side": peer, "tokens_per_window": 64},
            figure="{http_over_it:.2f} x",
            bar=f"floor: over HTTP, times {peer}, base, 64 tokens" if peer in HELD else "",
            unit="x",
        )
        for peer in ("faster-whisper batched", "openai-whisper", "transformers")
    ),
    *(
        Row(
            what=f"Requests/s of 16 clients with 10 s clips, {kind}, over other servers' here{how}",
            source="servers",
            figure=_beside_servers(kind),
            command="python -m benchmarks servers --peer NAME=URL",
        )
        for kind, how in (
            ("full windows, 5 beams", " (five beams too; 2x1: two workers of one thread)"),
            ("fitted windows", " (which search with five beams; ours is greedy)"),
        )
    ),
    Row(
        what="Speed of a long file over HTTP, over faster-whisper's batched pipeline in process",
        source="long_file",
        figure="{speed_of_faster_whisper:.2f} x",
        bar="times as fast as faster-whisper",
        unit="x",
    ),
    Row(
        what="16 clients in a closed loop with 5 s clips over HTTP (demo model)",
        source="http_load",
        where={"kind": "closed loop", "n_clients": 16},
        figure="{requests_per_s:.1f} requests/s, p50 {p50_s:.2f} s, p95 {p95_s:.2f} s",
        bar="another clip's text",
        unit="mixed up",
    ),
    Row(
        what="Offline, in process: clips/s, speed over real time, word error rate (demo model)",
        source="throughput",
        where={"corpus": "bundled clips"},
        figure="{requests_per_s[median]:.1f}, {audio_s_per_s[median]:.0f} x, {word_error_rate:.1%}",
    ),
    Row(
        what="The same over real time: files of 1-5 min, more than 100 files",
        source="throughput",
        figure=_classes,
    ),
    Row(
        what="Time of the clips with greedy decoding, no timestamps, a token cap and int8, over "
        "five beams with timestamps (demo model)",
        source="decode_budget",
        figure=_decode_budget,
    ),
    Row(
        what="Core time per second of audio: decoding and finding speech; HTTP and Ray (Opus)",
        source="stages",
        figure=_around_the_model,
    ),
    Row(
        what="Batches at 20 chunks/s where one takes 0.5 s, whatever its size",
        source="gate",
        figure=_at_the_gate,
        bar="20/s inside: mean batch",
        unit="chunks",
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
        unit="%",
    ),
    Row(
        what="Words with the right speaker in the same conversations",
        source="diarization",
        where={"figure": "accuracy"},
        figure="{word_speaker_accuracy:.1%}",
        bar="words with the right speaker",
        unit="%",
    ),
    Row(
        what="Words of the right channel with `multichannel=true`",
        source="diarization",
        where={"figure": "multichannel"},
        figure="{right:.1%} of {n_words:,}",
        bar="words of the right channel",
        unit="%",
    ),
    Row(
        what="Time of one request for text and speakers, over both one after the other",
        source="diarization",
        figure="{bar[value]:.2f} x",
        bar="time of one request",
        unit="x",
    ),
    Row(
        what="p95 of 5 s clips while another client keeps the diarizer busy, over the same alone",
        source="diarization",
        figure=_beside_diarization,
    ),
)
