"""The whole graph over HTTP: closed loops, an open loop, and one long file.

The text of random weights is noise that rounding changes: an answer is counted where it is 200
with one text, and how many texts are not what the clip gave alone is told beside it.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from benchmarks.clients import Client
from benchmarks.gpu.budget import Deadline
from benchmarks.gpu.engine import N_CLIPS, WINDOW_S, Row
from benchmarks.gpu.plan import Plan
from benchmarks.gpu.reading import tell
from benchmarks.graph import Graph, running_graph
from benchmarks.load import Load
from benchmarks.local import random_workpiece
from benchmarks.results import seconds
from benchmarks.utterances import Utterance
from benchmarks.workload import speech_opus, speech_wav

N_WORKERS = 2


def graph(plan: Plan, deadline: Deadline) -> Iterator[Row]:
    """Measure the fast model behind the graph."""
    work = random_workpiece(
        plan.fast,
        threads=1,
        quantization=plan.stored_as,
        device=plan.device,
        compute_type=plan.compute_type,
        n_workers=N_WORKERS,
    )
    started_s = time.monotonic()
    with running_graph(_args(work.args), _deployments(plan)) as running:
        yield {"what": "start of the graph", "took_s": time.monotonic() - started_s}
        n_clips = min(N_CLIPS, max(plan.concurrency))
        clips = (speech_wav(WINDOW_S, seed) for seed in range(n_clips))
        utterances = [Utterance(audio=a, text=running.post(a, work.fields)["text"]) for a in clips]
        client = Client(fields=work.fields)
        for n_clients in plan.concurrency:
            load = Load(running.url, utterances, client)
            head = {"what": "closed loop", "concurrency": n_clients}
            yield {**head, **_run(load, load.closed_loop(n_clients), plan.load_s)}
        load = Load(running.url, utterances, client)
        head = {"what": "open loop", "requests_per_s": plan.requests_per_s}
        yield {**head, **_run(load, load.open_loop(plan.requests_per_s), plan.load_s)}
        yield _long_file(running, work.fields, plan.long_s)


def _args(args: Mapping[str, Any]) -> dict[str, Any]:
    [model] = args["models"]
    return {"models": [{**model, "max_queued_chunks": 2048}], "max_chunks_in_flight": 512}


def _deployments(plan: Plan) -> list[dict[str, Any]]:
    """Return Ray's options. Its CPUs only count: each preprocessor keeps a core busy."""
    n_gpus = 1 if plan.device == "cuda" else 0
    return [
        {"name": "Ingress", "num_replicas": 2 if n_gpus else 1, "max_ongoing_requests": 512},
        {
            "name": "AudioPreprocessor",
            "num_replicas": plan.n_preprocessors,
            "ray_actor_options": {"num_cpus": 0.25},
        },
        {
            "name": "WhisperTranscriber-demo",
            "max_ongoing_requests": 2048,
            "ray_actor_options": {"num_cpus": 1, "num_gpus": n_gpus},
        },
    ]


def _run(load: Load, sending: AbstractContextManager[Load], load_s: float) -> Row:
    with sending:
        time.sleep(load_s)
    return {**tell(load.rows, load_s), "n_left_out": load.n_left_out}


def _long_file(running: Graph, fields: Mapping[str, str], long_s: float) -> Row:
    file = speech_opus(long_s)
    took_s = seconds(lambda: running.post(file, fields))
    return {"what": "one file", "audio_s": long_s, "took_s": took_s, "times": long_s / took_s}
