"""The model in this process: batches with and without timestamps, number types, workers, starts."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import psutil

from benchmarks.gpu.budget import Deadline
from benchmarks.gpu.plan import Plan
from benchmarks.local import LocalPipeline, random_workpiece
from benchmarks.random_model import random_model
from benchmarks.results import seconds
from serve_app import pipeline
from serve_app.domain import Chunk, DecodeOptions
from tests.clips import speech

Row = dict[str, Any]

WINDOW_S = 30.0
N_CLIPS = 16  # different ones
SHORT_S = 2.0  # a round of more is not repeated
MS = 1000.0


def write_weights(plan: Plan, deadline: Deadline) -> Iterator[Row]:
    """Write both models with random weights, where they are not there yet."""
    shapes = list(dict.fromkeys((plan.fast, plan.large)))
    write = partial(random_model, quantization=plan.stored_as)
    with ThreadPoolExecutor(len(shapes)) as pool:  # numpy works outside Python's lock
        took = pool.map(lambda shape: seconds(lambda: write(shape)), shapes)
        for shape, took_s in zip(shapes, took, strict=True):
            yield {"model": shape, "stored_as": plan.stored_as, "written_in_s": took_s}


def start(plan: Plan, deadline: Deadline) -> Iterator[Row]:
    """Load the fast model and decode, from the start of this process on."""
    began_s = psutil.Process().create_time()
    imported_s = time.time() - began_s
    local = _load(plan, plan.fast)  # decodes once as well
    loaded_s = time.time() - began_s
    chunks = windows(8)
    first_s, second_s = (seconds(lambda: local.decode(chunks)) for _ in range(2))
    yield {
        "model": plan.fast,
        "imported_after_s": imported_s,
        "ready_after_s": loaded_s,
        "first_batch_of_8_s": first_s,
        "second_batch_of_8_s": second_s,
    }


def fast_batches(plan: Plan, deadline: Deadline) -> Iterator[Row]:
    """Measure the fast model at every batch size."""
    return _batches(plan, plan.fast, deadline)


def large_batches(plan: Plan, deadline: Deadline) -> Iterator[Row]:
    """Measure the large model at every batch size."""
    return _batches(plan, plan.large, deadline)


def _batches(plan: Plan, shape: str, deadline: Deadline) -> Iterator[Row]:
    stages = _Stages()
    local = _load(plan, shape, stages=stages, max_batch_size=max(plan.batches))
    window_s = 0.0  # of the last batch
    for batch in plan.batches:
        for times in (False, True):
            head = {"model": shape, "batch": batch, "timestamps": times}
            if local.engine.largest_batch(batch, local.engine.free_bytes()) < batch:
                yield {**head, "left_out": "more than the memory holds"}
            elif not deadline.has(expected_s(window_s * batch, plan.rounds)):
                yield {**head, "left_out": "no time"}
            else:
                options = replace(local.options, timestamps=times)
                figures = _measure(local, stages, windows(batch), options, plan.rounds)
                window_s = figures["batch_s"] / batch
                yield {**head, "compute_type": local.model.compute_type, **figures}


def expected_s(batch_s: float, n_rounds: int) -> float:
    """Return how long a point will take, where one of its batches takes so long."""
    return batch_s if batch_s > SHORT_S else batch_s * (1 + n_rounds)


def types(plan: Plan, deadline: Deadline) -> Iterator[Row]:
    """Measure the fast model with each number type, at one batch size."""
    batch = plan.batches[len(plan.batches) // 2]
    for compute_type in (plan.compute_type, *plan.other_types):
        stages = _Stages()
        head = {"model": plan.fast, "compute_type": compute_type, "batch": batch}
        try:
            local = _load(plan, plan.fast, stages=stages, compute_type=compute_type)
        except ValueError as error:  # the device does not have it
            yield {**head, "left_out": str(error)}
            continue
        yield {**head, **_measure(local, stages, windows(batch), local.options, plan.rounds)}


def workers(plan: Plan, deadline: Deadline) -> Iterator[Row]:
    """Measure so many batches at the same time, of the fast model."""
    n_batches = 3 * max(plan.worker_counts)
    for n_workers in plan.worker_counts:
        local = _load(plan, plan.fast, n_workers=n_workers, max_batch_size=max(plan.worker_batches))
        for batch in plan.worker_batches:
            head = {"model": plan.fast, "n_workers": n_workers, "batch": batch}
            chunks = windows(batch)
            alone_s = seconds(partial(local.decode, chunks))  # warm-up
            if not deadline.has(alone_s * n_batches):
                yield {**head, "left_out": "no time"}
                continue
            took_s = seconds(partial(_decode_all, local, [chunks] * n_batches, n_workers))
            yield {**head, "windows_per_s": n_batches * batch / took_s}


def _decode_all(local: LocalPipeline, batches: Sequence[Sequence[Chunk]], n_workers: int) -> None:
    """Decode batches, so many at the same time."""
    with ThreadPoolExecutor(n_workers) as pool:
        list(pool.map(local.decode, batches))


def windows(n: int) -> list[Chunk]:
    """Return so many chunks of a full window of speech."""
    clips = [pipeline.whole_chunk(speech(WINDOW_S, seed)) for seed in range(min(n, N_CLIPS))]
    return [clips[i % N_CLIPS] for i in range(n)]


class _Stages:
    """How long each stage of the last batch took, in seconds; the engine calls it."""

    def __init__(self) -> None:
        self.took_s: dict[str, float] = {}

    def __call__(self, stage: str, took_s: float) -> None:
        self.took_s[stage] = took_s


def _load(
    plan: Plan, shape: str, *, max_batch_size: int = 64, stages: Any = None, **model: Any
) -> LocalPipeline:
    settings = {"device": plan.device, "compute_type": plan.compute_type, **model}
    work = random_workpiece(
        shape, threads=os.cpu_count() or 1, quantization=plan.stored_as, **settings
    )
    return LocalPipeline(work, max_batch_size=max_batch_size, on_stage=stages or _Stages())


def _measure(
    local: LocalPipeline,
    stages: _Stages,
    chunks: Sequence[Chunk],
    options: DecodeOptions,
    n_rounds: int,
) -> Row:
    """Decode a batch so many times and return the medians; a long round is not repeated."""
    batch = len(chunks)
    rounds: list[Mapping[str, float]] = []
    for _ in range(1 + n_rounds):
        stages.took_s = {}
        took_s = seconds(lambda: local.decode(chunks, options))
        rounds.append({"batch": took_s, **stages.took_s})
        if took_s > SHORT_S:
            break
    counted = rounds[1:] or rounds  # the first one warms up
    median = {name: float(np.median([r[name] for r in counted])) for name in rounds[0]}
    return {
        "rounds": len(counted),
        **{f"{name}_s": value for name, value in median.items()},
        "encode_ms_per_window": median["encode"] / batch * MS,
        "windows_per_s": batch / median["batch"],
        "windows_per_s_on_device": batch / (median["encode"] + median["generate"]),
    }
