"""This project against faster-whisper, openai-whisper and transformers: same weights, clips, cores.

Random weights, so that speed alone is compared: every window costs the same number of tokens on
every side, greedily, without timestamps, fallback or a search for speech; a side that generates
another number ends the run. The demo model adds error rates, on the sides that can load it.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import click

from benchmarks import peer_models, processes
from benchmarks.graph import Graph, running_graph
from benchmarks.local import embedded_workpiece, random_workpiece
from benchmarks.peer_programs import (
    FasterWhisper,
    FasterWhisperBatched,
    OpenAIWhisper,
    Transformers,
    present,
)
from benchmarks.peer_sides import Asked, Clip, InProcess, OverHttp, Side, make_clip, windows_per_s
from benchmarks.random_model import N_TEXT_TOKENS, SHAPES, random_model, vocabulary
from benchmarks.results import Bar, Report, interleave, median_of_ratios, say, spread
from serve_app.domain import WINDOW_S
from serve_app.models import locate_model
from serve_app.settings import EMBEDDED, AppSettings
from tests.clips import clip, references, speech

BATCH = 8  # windows, for every side that batches: faster-whisper's default, and no slower than 16
ROUNDS = {64: 3, 100: 2}  # by the tokens of a window: sparse and dense speech

# By how much the clips of a round are divided for a side. The two that are held against each other
# get them all; another one's rate does not depend on their number, and the run would take longer.
SHARES = {
    OverHttp.name: 1,
    InProcess.name: 1,
    FasterWhisper.name: 8,
    FasterWhisperBatched.name: 1,
    OpenAIWhisper.name: 8,
    Transformers.name: 2,
}

# How many times as fast as the side this project must be over HTTP, and should be.
FLOORS = {OpenAIWhisper.name: 2.0, FasterWhisperBatched.name: 0.9}
TARGETS = {OpenAIWhisper.name: 3.0, FasterWhisperBatched.name: 1.0, Transformers.name: 1.5}

OPTIONS = (
    click.Option(["--shape"], type=click.Choice(list(SHAPES)), help="Default: base."),
    click.Option(["--n-clips"], type=int, help="Of 30 s, per round. Default: 16."),
    click.Option(
        ["--only"],
        type=click.Choice(list(SHARES)),
        multiple=True,
        help="Beside serve_app over HTTP; may be given several times.",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is measured at a time."""

    shape: str
    n_tokens: int  # per window
    n_rounds: int


def run(
    report: Report,
    *,
    quick: bool,
    shape: str | None = None,
    n_clips: int | None = None,
    only: Sequence[str] = (),
) -> None:
    """Measure and write the report.

    Args:
        report: where the figures go.
        quick: shape tiny, two clips, 8 tokens, one round.
        shape: of the random weights, a key of `SHAPES`; None: base.
        n_clips: of 30 s, per round; None: 16.
        only: the peers, by their names; none: all that are installed.
    """
    shape = shape or ("tiny" if quick else "base")
    clips = [make_clip(speech(WINDOW_S, seed)) for seed in range(n_clips or (2 if quick else 16))]
    threads = os.cpu_count() or 1
    names = present([name for name in SHARES if not only or name in (OverHttp.name, *only)])
    [random_one] = _args(shape, threads)["models"]
    [demo] = embedded_workpiece(threads=threads).args["models"]
    args = {"models": [{**random_one, "name": "random"}, demo]}
    say(f"shape {shape}, {len(clips)} clips; starting the graph")
    with running_graph(args) as graph:
        graph.set_batch_size(BATCH)
        sides = _load(names, shape, graph, threads)
        idle = processes.cores_used(1.0 if quick else 5.0)
        report.note(f"The graph is up beside the peers; without requests it uses {idle:.2f} cores.")
        for n_tokens, n_rounds in ({8: 1} if quick else ROUNDS).items():
            work = Work(shape=shape, n_tokens=n_tokens, n_rounds=n_rounds)
            _measure(report, sides, clips, work)
        _measure_errors(report, graph, threads, names)
    _plot(report)


def _args(shape: str, n_cores: int) -> Mapping[str, Any]:
    """Return our settings: a batch on each core, which takes less core time than one on all."""
    return random_workpiece(shape, threads=1, n_workers=n_cores).args


def _load(names: Sequence[str], shape: str, graph: Graph, threads: int) -> list[Side]:
    """Load every side with the same weights."""
    settings = AppSettings.model_validate(_args(shape, threads))

    @cache  # both of its sides run one model
    def faster_whisper() -> FasterWhisper:
        return FasterWhisper(random_model(shape), threads=threads)

    loaders: Mapping[str, Callable[[], Side]] = {
        OverHttp.name: lambda: OverHttp(graph, batch=BATCH),
        InProcess.name: lambda: InProcess(settings, batch=BATCH),
        FasterWhisper.name: faster_whisper,
        FasterWhisperBatched.name: lambda: FasterWhisperBatched(faster_whisper(), batch=BATCH),
        OpenAIWhisper.name: lambda: OpenAIWhisper(peer_models.openai_model(shape), threads=threads),
        Transformers.name: lambda: Transformers(
            peer_models.transformers_model(shape), threads=threads, batch=BATCH
        ),
    }
    return [loaders[name]() for name in names]


def _measure(report: Report, sides: Sequence[Side], clips: Sequence[Clip], work: Work) -> None:
    """Let every side transcribe the clips, round by round."""
    never = range(N_TEXT_TOKENS, len(vocabulary(SHAPES[work.shape])))  # the end and all timestamps
    asked = Asked(n_tokens=work.n_tokens, suppressed=(-1, *never))
    shares = {side.name: clips[: max(1, len(clips) // SHARES[side.name])] for side in sides}
    say(f"{work.n_tokens} tokens per window")
    for side in sides:
        windows_per_s(side, clips[:1], asked)  # warms it up
    rates = interleave(
        {side.name: partial(windows_per_s, side, shares[side.name], asked) for side in sides},
        work.n_rounds,
        warm_up=False,
    )
    ours = rates[OverHttp.name]
    for side in sides:
        rate = spread(rates[side.name])
        report.add(
            side=side.name,
            shape=work.shape,
            compute_type=side.compute_type,
            threads=os.cpu_count(),
            batch=side.batch,
            n_clips=len(shares[side.name]),
            tokens_per_window=work.n_tokens,
            fallback="off",
            timestamps="off",
            windows_per_s=rate,
            audio_s_per_s=WINDOW_S * rate["median"],
            tokens_per_s=work.n_tokens * rate["median"],
            http_over_it=median_of_ratios(ours, rates[side.name]),
        )
    _hold(report, rates, f"{work.shape}, {work.n_tokens} tokens")


def _hold(report: Report, rates: Mapping[str, Sequence[float]], what: str) -> None:
    for kind, limits in (("floor", FLOORS), ("target", TARGETS)):
        for name, limit in limits.items():
            if name in rates:
                ratio = median_of_ratios(rates[OverHttp.name], rates[name])
                title = f"{kind}: over HTTP, times {name}, {what}"
                report.hold(Bar(name=title, value=ratio, limit=limit, at_least=True))


def _measure_errors(report: Report, graph: Graph, threads: int, names: Sequence[str]) -> None:
    """Transcribe the bundled clips with the demo model."""
    import jiwer

    one = FasterWhisper(locate_model(EMBEDDED), threads=threads)
    sides = (OverHttp(graph, model=1, batch=1), one, FasterWhisperBatched(one, batch=BATCH))
    texts = references()
    clips = [make_clip(clip(name)) for name in texts]
    for side in sides:
        if side.name in names:
            heard = side.transcribe(clips, Asked())
            report.add(
                side=side.name,
                shape="demo model",
                compute_type=side.compute_type,
                n_clips=len(clips),
                timestamps="off",
                word_error_rate=float(jiwer.wer(list(texts.values()), [h.text for h in heard])),
            )
    report.note(
        "The demo model has a vocabulary of its own, which openai-whisper cannot load, and is "
        "bundled in CTranslate2's format only, which transformers does not read."
    )


def _plot(report: Report) -> None:
    rows = [row for row in report.rows if "windows_per_s" in row]
    counts = list(dict.fromkeys(row["tokens_per_window"] for row in rows))
    with report.plot(n_axes=len(counts)) as axes:
        for ax, n_tokens in zip(axes, counts, strict=True):
            chosen: list[dict[str, Any]] = [r for r in rows if r["tokens_per_window"] == n_tokens]
            labels = [f"{r['side']}\n{r['compute_type']}, batch {r['batch']}" for r in chosen]
            values = [r["windows_per_s"] for r in chosen]
            medians = [v["median"] for v in values]
            errors = [
                [v["median"] - v["min"] for v in values],
                [v["max"] - v["median"] for v in values],
            ]
            ax.barh(labels[::-1], medians[::-1], xerr=[e[::-1] for e in errors])
            shape, threads = chosen[0]["shape"], chosen[0]["threads"]
            ax.set(
                title=f"shape {shape}, {n_tokens} tokens, {threads} cores",
                xlabel="30 s windows per second",
            )
