"""The stages of the model, on one thread: features, encode, generate, align."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.local import N_TOKENS, LocalPipeline, Workpiece
from benchmarks.results import Report
from benchmarks.stages.cost import Point, StageClock, add_cost
from serve_app import pipeline
from serve_app.domain import Chunk, DecodeOptions
from tests.clips import speech

WINDOW_S = 30.0
TIMES = ", timestamps"  # follows the name of a stage that had them


@dataclass(frozen=True, kw_only=True)
class Varied:
    """What is varied of one model."""

    chunk_s: float  # of every batch size
    batches: Sequence[int]
    chunk_lengths_s: Sequence[float] = ()  # in batches of one


def measure_model(report: Report, work: Workpiece, varied: Varied) -> None:
    """Measure a model with and without times, by batch size and by the length of the chunks."""
    clock = StageClock()
    local = LocalPipeline(work, max_batch_size=max(varied.batches), on_stage=clock)
    for batch in varied.batches:
        chunks = [pipeline.whole_chunk(speech(varied.chunk_s, seed)) for seed in range(batch)]
        _add(
            report, f"{work.name}", ("batch", batch), _measure(local, clock, chunks, local.options)
        )
    for chunk_s in varied.chunk_lengths_s:
        options = local.options
        if work.fixed_tokens:  # as many a second as in a full window
            options = replace(options, max_new_tokens=round(N_TOKENS * chunk_s / WINDOW_S))
        chunk = pipeline.whole_chunk(speech(chunk_s))
        _add(report, f"{work.name}", ("clip_s", chunk_s), _measure(local, clock, [chunk], options))


def _add(
    report: Report, of: str, at: tuple[str, float], costs: Mapping[str, Sequence[float]]
) -> None:
    for stage, values in costs.items():
        add_cost(report, Point(stage=stage, of=of, axis=at[0], at=at[1]), values)


def _measure(
    local: LocalPipeline, clock: StageClock, chunks: Sequence[Chunk], options: DecodeOptions
) -> dict[str, list[float]]:
    """Return each stage's costs of every round; small batches are decoded more often."""
    audio_s = sum(chunk.duration_s for chunk in chunks)
    costs: dict[str, list[float]] = {}
    for _ in range(max(1, 2 // len(chunks))):
        for times in (False, True):
            clock.begin()
            local.decode(chunks, replace(options, timestamps=times, words=times))
            for stage, spent_s in clock.spent_s.items():
                if stage == "generate" and times:
                    costs.setdefault(stage + TIMES, []).append(spent_s / audio_s)
                elif not times or stage == "align":
                    costs.setdefault(stage, []).append(spent_s / audio_s)
    return costs
