"""One long file: the graph over HTTP against faster-whisper's batched pipeline in process.

The same random weights, the same threads, the same bytes, 64 tokens per chunk on each side.
"""

import io
import os
from collections.abc import Callable

import click

from benchmarks.graph import Graph, running_graph
from benchmarks.local import N_TOKENS, LocalPipeline, Workpiece, random_workpiece
from benchmarks.results import Bar, Report, interleave, median_of_ratios, say, seconds, spread
from benchmarks.workload import speech_opus

OPTIONS = (
    click.Option(["--minutes"], type=float, default=5.0, show_default=True, help="Of the file."),
)
PEER_BATCH = 8
N_PROMPT_TOKENS = 4  # start, language, task, no timestamps
SAME_TOKENS = 0.02  # how far the sides' token counts may lie apart


def run(report: Report, *, quick: bool, minutes: float) -> None:
    """Measure and write the report.

    Args:
        report: gets the one row.
        quick: one round, a smaller shape, two minutes.
        minutes: the length of the file.
    """
    threads = os.cpu_count() or 1
    work = random_workpiece("tiny" if quick else "base", threads=threads)
    minutes = 2.0 if quick else minutes
    audio = speech_opus(60.0 * minutes)
    say(f"{minutes:g} minutes of speech, {len(audio) / 1e6:.1f} MB of Opus; starting the graph")
    with running_graph(work.args) as graph:
        _measure(report, work, graph, audio, n_rounds=1 if quick else 2)


def _measure(report: Report, work: Workpiece, graph: Graph, audio: bytes, *, n_rounds: int) -> None:
    local = LocalPipeline(work, max_batch_size=PEER_BATCH)
    graph.set_batch_size(PEER_BATCH)
    peer, count_peer_tokens = _peer(local, work, audio)
    before = graph.n_chunks_sent()
    text = graph.post(audio, work.fields)["text"]
    n_chunks = graph.n_chunks_sent() - before
    made = local.decode(local.prepare(audio)[0])
    n_tokens = sum(len(m.tokens) for m in made)
    n_peer_tokens, n_peer_chunks = count_peer_tokens()
    times = interleave(
        {
            "graph": lambda: seconds(lambda: graph.post(audio, work.fields)),
            "faster-whisper": lambda: seconds(peer),
        },
        n_rounds,
        warm_up=False,  # each side has run once
    )
    ratio = median_of_ratios(times["faster-whisper"], times["graph"])
    report.add(
        model=work.name,
        threads=local.model.cpu_threads,
        file_mb=len(audio) / 1e6,
        n_chunks=n_chunks,
        n_chunks_peer=n_peer_chunks,
        n_tokens=n_tokens,
        n_tokens_peer=n_peer_tokens,
        graph_s=spread(times["graph"]),
        faster_whisper_batched_s=spread(times["faster-whisper"]),
        speed_of_faster_whisper=ratio,
        same_text_as_in_process=text == "".join(m.text for m in made).strip(),
    )
    if abs(n_tokens - n_peer_tokens) > SAME_TOKENS * n_peer_tokens:
        report.note(
            f"The sides generated {n_tokens} and {n_peer_tokens} tokens: the times do not compare."
        )
    report.hold(Bar(name="times as fast as faster-whisper", value=ratio, limit=1.0, at_least=True))


def _peer(
    local: LocalPipeline, work: Workpiece, audio: bytes
) -> tuple[Callable[[], object], Callable[[], tuple[int, int]]]:
    """Return the peer's run of the file, and what counts its tokens and chunks."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    peer = BatchedInferencePipeline(
        WhisperModel(
            str(local.directory),
            device="cpu",
            compute_type=local.model.compute_type,
            cpu_threads=local.model.cpu_threads,
        )
    )
    # CTranslate2 generates half of `max_length` at most, and faster-whisper hands over prompt and
    # max_new_tokens together: ask for what makes N_TOKENS.
    max_new_tokens = 2 * N_TOKENS - N_PROMPT_TOKENS

    def transcribe() -> list[object]:
        segments, _ = peer.transcribe(
            io.BytesIO(audio),
            language="en",
            beam_size=local.model.beam_size,
            temperature=[0.0],
            suppress_tokens=list(work.request.suppress_tokens),
            max_new_tokens=max_new_tokens,
            batch_size=PEER_BATCH,
        )
        return list(segments)

    def count() -> tuple[int, int]:
        segments = transcribe()
        tokens = [t for s in segments for t in s.tokens]  # type: ignore[attr-defined]
        return len(tokens), len(segments)

    return transcribe, count
