"""What each cut in the decode budget saves, and what it costs: time, tokens and errors by step.

Each step keeps those before it. The demo model gives tokens and error rates; random weights of a
published shape, at 64 tokens a chunk, give the times that a model of that size would have.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import click

from benchmarks.error_rate import error_rates
from benchmarks.local import (
    N_TOKENS,
    LocalPipeline,
    Workpiece,
    embedded_workpiece,
    random_workpiece,
)
from benchmarks.results import Report, interleave, median_of_ratios, seconds, spread
from serve_app import pipeline
from serve_app.domain import Chunk, ChunkTranscript
from serve_app.settings import ModelSettings
from tests.clips import join, references, speech

BATCH = 4  # what a CPU gets where nothing is said
LOOP_S = 5.0
SMALLER = "smaller model"
TOKENS_PER_S = ModelSettings.model_fields["tokens_per_s"].default


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What decoding a chunk may cost. The defaults are where the ladder begins."""

    beam_size: int = 5
    timestamps: bool = True
    tokens_per_s: float | None = None  # None: 224 tokens for a chunk of any length
    compute_type: str = "float32"
    shape: str = "base"  # of the random weights
    batch: int = 1


# What each step changes; the first one changes nothing.
STEPS: Mapping[str, Mapping[str, Any]] = {
    "beam 5": {},
    "greedy": {"beam_size": 1},
    "no timestamps": {"timestamps": False},
    "token cap": {"tokens_per_s": TOKENS_PER_S},
    "int8": {"compute_type": "int8"},
    SMALLER: {"shape": "tiny"},
    f"batches of {BATCH}": {"batch": BATCH},
}

# Heading -> a row's figure and how it is written.
COLUMNS = {
    "demo model, s": ("demo_s", "{:.2f}"),
    "of the first": ("demo_times_first", "{:.2f} x"),
    "tokens": ("n_tokens", "{}"),
    "word errors": ("word_error_rate", "{:.1%}"),
    "character errors": ("character_error_rate", "{:.1%}"),
    "random weights, s": ("random_s", "{:.2f}"),
    "of their first": ("random_times_first", "{:.2f} x"),
}

Decode = Callable[[], list[ChunkTranscript]]
Times = Mapping[str, Sequence[float]]  # of each round, by step


def ladder() -> dict[str, Budget]:
    """Return the budget at each step: with its own change and those of all steps before it."""
    budgets = accumulate(
        STEPS.values(), lambda budget, change: replace(budget, **change), initial=Budget()
    )
    next(budgets)  # from which the first step begins
    return dict(zip(STEPS, budgets, strict=True))


def run(report: Report, *, quick: bool) -> None:
    """Go down the ladder with both models and write the report."""
    threads = os.cpu_count() or 1
    n_rounds = 1 if quick else 3
    chunks, texts = _speech(2 if quick else None)
    demo = {
        step: _decoder(embedded_workpiece(threads=threads, **_model(budget)), budget, chunks)
        for step, budget in ladder().items()
        if step != SMALLER  # than the demo model there is none
    }
    random = {
        step: _decoder(
            random_workpiece("tiny" if quick else budget.shape, threads=threads, **_model(budget)),
            budget,
            chunks[:BATCH],
        )
        for step, budget in ladder().items()
    }
    made = {step: decode() for step, decode in demo.items()}
    demo_s = interleave(_timed(demo), n_rounds, warm_up=False)  # each has run once
    random_s = interleave(_timed(random), min(2, n_rounds))
    for step, budget in ladder().items():
        report.add(
            step=step,
            threads=threads,
            budget=asdict(budget),
            **_beside_first("demo", demo_s, step),
            **_errors(made.get(step, []), texts),
            **_beside_first("random", random_s, step),
        )
    looping = random_workpiece("tiny" if quick else Budget.shape, threads=threads)
    _note_loop(report, looping, n_rounds=n_rounds)
    report.note(
        f"demo_s is for {len(chunks)} chunks, random_s for {len(chunks[:BATCH])}. random: shape "
        f"{Budget.shape}, {STEPS[SMALLER]['shape']} from '{SMALLER}' on, {N_TOKENS} tokens a chunk "
        "at every step: a token cap cannot show there, and such weights have no error rate."
    )
    click.echo(table(report.rows))
    _plot(report)


def _speech(n: int | None = None) -> tuple[list[Chunk], list[str]]:
    """Return clips of more than a digit, each joined with the next one too, and their texts.

    In the clips alone the demo model makes no errors at any step.
    """
    texts = references()
    names = [name for name in texts if not name.startswith("digit-")][:n]
    groups = [*((name,) for name in names), *pairwise(names)]
    chunks = [pipeline.whole_chunk(join(*group)) for group in groups]
    return chunks, [" ".join(texts[name] for name in group) for group in groups]


def _note_loop(report: Report, work: Workpiece, *, n_rounds: int) -> None:
    """Measure what the cap saves where a chunk's text would never end, as in a loop."""
    local = LocalPipeline(work)
    chunk = pipeline.whole_chunk(speech(LOOP_S))
    caps = {"uncapped": None, "capped": TOKENS_PER_S}
    decoders = {
        name: partial(
            local.decode, [chunk], replace(local.options, max_new_tokens=None, tokens_per_s=cap)
        )
        for name, cap in caps.items()
    }
    before, after = (len(decode()[0].tokens) for decode in decoders.values())
    times_s = interleave(_timed(decoders), n_rounds, warm_up=False)
    ratio = median_of_ratios(times_s["capped"], times_s["uncapped"])
    report.note(
        f"In a chunk of {LOOP_S:g} s whose text never ends ({work.name}) the cap makes {before} "
        f"tokens {after}, in {ratio:.2f} x the time."
    )


def _model(budget: Budget) -> dict[str, Any]:
    """Return what the step asks of a model's settings."""
    return {"compute_type": budget.compute_type, "tokens_per_s": budget.tokens_per_s}


def _decoder(work: Workpiece, budget: Budget, chunks: Sequence[Chunk]) -> Decode:
    """Load the step's model; return what decodes the chunks within the step's budget."""
    local = LocalPipeline(work, max_batch_size=budget.batch)
    options = replace(local.options, beam_size=budget.beam_size, timestamps=budget.timestamps)
    return partial(local.decode, chunks, options)


def _timed(decoders: Mapping[str, Decode]) -> dict[str, Callable[[], float]]:
    return {step: partial(seconds, decode) for step, decode in decoders.items()}


def _beside_first(model: str, times_s: Times, step: str) -> dict[str, Any]:
    """Return what the step took, and how many times what the first one did."""
    if step not in times_s:
        return {}
    [first, *_] = times_s.values()
    return {
        f"{model}_s": spread(times_s[step]),
        f"{model}_times_first": median_of_ratios(times_s[step], first),
    }


def _errors(made: Sequence[ChunkTranscript], texts: Sequence[str]) -> dict[str, Any]:
    if not made:
        return {}
    rates = error_rates(texts, [one.text for one in made])
    return {
        "n_tokens": sum(len(one.tokens) for one in made),
        "word_error_rate": rates.words,
        "character_error_rate": rates.characters,
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as Markdown; a dash where a step has no such figure."""
    lines = [["step", *COLUMNS], ["---"] * (1 + len(COLUMNS))]
    lines += [
        [row["step"], *(_cell(row.get(key), form) for key, form in COLUMNS.values())]
        for row in rows
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any, form: str) -> str:
    if value is None:
        return "-"
    return form.format(value["median"] if isinstance(value, Mapping) else value)


def _plot(report: Report) -> None:
    steps = [row["step"] for row in report.rows]
    panels = (
        ("time, as a share of the first step", "demo_times_first", "random_times_first"),
        ("error rate of the demo model", "word_error_rate", "character_error_rate"),
    )
    with report.plot(n_axes=len(panels)) as axes:
        for ax, (title, *figures) in zip(axes, panels, strict=True):
            for i, figure in enumerate(figures):
                rows = [(x, row[figure]) for x, row in enumerate(report.rows) if figure in row]
                ax.bar([x + 0.4 * i for x, _ in rows], [v for _, v in rows], 0.38, label=figure)
            ax.set_xticks([x + 0.2 for x in range(len(steps))], steps, rotation=30, ha="right")
            ax.set(title=title, ylim=(0, None))
            ax.legend(framealpha=0.6)
