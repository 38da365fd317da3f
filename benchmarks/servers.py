"""Requests per second of this graph beside other servers that run on the same machine."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import click
import numpy as np
import requests

from benchmarks.chaos import replicated
from benchmarks.clients import LIMIT_S, Client, named_urls, record
from benchmarks.curve import ANSWERED
from benchmarks.graph import running_graph
from benchmarks.hub_cache import MODEL_ID
from benchmarks.load import Load
from benchmarks.local import embedded_workpiece
from benchmarks.results import Bar, Report, interleave, median_of_ratios, percentiles, say, spread
from benchmarks.utterances import Clip, Utterance, speech_clips
from benchmarks.verdicts import Row, Verdict

CLIP_S = 10.0
N_EACH = 2  # requests of each client in a round
BATCH = 1  # chunks, of ours: on a CPU so small a model gains nothing by batches
# What all sides are asked for: English, and no timestamp tokens.
FIELDS = {"language": "en", "without_timestamps": "true"}
# Ours: what it is told on top, and how many times a peer's requests/s it must make. Five beams are
# what faster-whisper takes where it is told nothing, as in the peers.
OURS: Mapping[str, tuple[Client, float]] = {
    "full windows, 5 beams": (Client(model="full", fields={**FIELDS, "beam_size": "5"}), 1.0),
    "full windows": (Client(model="full", fields=FIELDS), 1.0),
    "fitted windows": (Client(model="fit", fields=FIELDS), 2.0),
}
OPTIONS = (
    click.Option(
        ["--peer"],
        multiple=True,
        required=True,
        metavar="NAME=URL",
        help="A server that runs on this machine; several times.",
    ),
    click.Option(["--model"], default=MODEL_ID, show_default=True, help="As the peers name it."),
    click.Option(["--clients"], type=click.IntRange(2, 256), default=16, show_default=True),
    click.Option(["--rounds"], type=click.IntRange(1), default=5, show_default=True),
    click.Option(["--note"], multiple=True, help="How a peer was started, for the report."),
)


class Side:
    """A server, what it gave for each clip alone, and what became of its requests."""

    def __init__(self, url: str, client: Client, clips: Sequence[Clip]) -> None:
        """Record each clip, which warms the server up too."""
        self.rows: list[Row] = []
        self._url = url
        self._client = client
        self._utterances = record(url, client, clips)
        self.n_tokens = [self._count_tokens(utterance) for utterance in self._utterances]

    def requests_per_s(self, n_clients: int) -> float:
        """Let so many clients send N_EACH requests each, all at once; return their throughput."""
        n = N_EACH * n_clients
        load = Load(self._url, self._utterances, self._client, exact=False, n_at_most=n)
        with load.closed_loop(n_clients):
            load.wait(N_EACH * LIMIT_S)
        self.rows += load.rows
        n_answered = sum(row.verdict in ANSWERED for row in load.rows)
        began_s = min(row.sent_s for row in load.rows)
        return n_answered / (max(row.sent_s + row.took_s for row in load.rows) - began_s)

    def warm_up(self, n_clients: int) -> None:
        """Run a round that does not count."""
        self.requests_per_s(n_clients)
        self.rows.clear()

    def figures(self) -> dict[str, Any]:
        """Return the latencies of all rounds, what the answers were worth, and what they cost."""
        verdicts = Counter(row.verdict for row in self.rows)
        return {
            **percentiles([row.took_s for row in self.rows if row.verdict in ANSWERED]),
            **{verdict.value: verdicts[verdict] for verdict in Verdict},
            "tokens_per_clip": float(np.mean(self.n_tokens)),
        }

    def _count_tokens(self, utterance: Utterance) -> int:
        answer = requests.post(
            f"{self._url}/v1/audio/transcriptions",
            files={"file": (utterance.name, utterance.audio)},
            data={
                **self._client.fields,
                "model": self._client.model,
                "response_format": "verbose_json",
            },
            timeout=LIMIT_S,
        )
        answer.raise_for_status()
        return sum(len(segment["tokens"]) for segment in answer.json()["segments"])


def run(report: Report, *, quick: bool, peer: tuple[str, ...], **options: Any) -> None:
    """Measure all sides in turn; write the report.

    Args:
        report: gets a row for each side.
        quick: four clients, two rounds.
        peer: NAME=URL of each server beside ours.
        options: the others of `OPTIONS`.
    """
    n_clients, n_rounds = (4, 2) if quick else (options["clients"], options["rounds"])
    peers = named_urls(peer)
    clips = speech_clips(n_clients, CLIP_S)
    for text in options["note"]:
        report.note(text)
    with running_graph(_args(), _deployments()) as graph:
        sides = {name: Side(graph.url, client, clips) for name, (client, _) in OURS.items()}
        for name, url in peers.items():
            say(f"{name}: {url}")
            sides[name] = Side(url, Client(model=options["model"], fields=FIELDS), clips)
        for side in sides.values():
            side.warm_up(n_clients)
        values = interleave(
            {name: partial(side.requests_per_s, n_clients) for name, side in sides.items()},
            n_rounds,
            warm_up=False,
        )
    for name, side in sides.items():
        report.add(side=name, requests_per_s=spread(values[name]), **side.figures())
    _hold(report, values)
    _plot(report)


def _args() -> dict[str, Any]:
    """Return settings with the demo model twice, a chunk for each clip, as the peers cut it.

    Each core decodes a chunk of its own: two threads at one chunk take more core time than one.
    """
    common = {"n_workers": os.cpu_count() or 1, "max_chunk_s": 30.0}
    works = [
        embedded_workpiece(threads=1, name=name, encoder_window=name, **common)
        for name in ("full", "fit")
    ]
    return {"models": [model for work in works for model in work.args["models"]]}


def _deployments() -> list[dict[str, Any]]:
    first, second, transcriber = replicated(1, max_batch_size=BATCH)
    return [
        first,
        second,
        *({**transcriber, "name": f"WhisperTranscriber-{name}"} for name in ("full", "fit")),
    ]


def _hold(report: Report, values: Mapping[str, Sequence[float]]) -> None:
    """Hold ours against each peer, round by round, and all against mixed-up answers."""
    for ours, (_, times) in OURS.items():
        for name in (name for name in values if name not in OURS):
            ratio = median_of_ratios(values[ours], values[name])
            report.hold(
                Bar(name=f"{ours} over {name}, requests/s", value=ratio, limit=times, at_least=True)
            )
    n_bad = sum(
        row[verdict.value] for row in report.rows for verdict in Verdict if verdict not in ANSWERED
    )
    report.hold(Bar(name="not answered, or with another clip's text", value=n_bad, limit=0))


def _plot(report: Report) -> None:
    with report.plot() as (ax,):
        names = [row["side"] for row in report.rows]
        rates = [row["requests_per_s"] for row in report.rows]
        medians = np.array([rate["median"] for rate in rates])
        spreads = [
            [rate["median"] - rate["min"] for rate in rates],
            [rate["max"] - rate["median"] for rate in rates],
        ]
        colours = ["C0" if name in OURS else "C7" for name in names]
        ax.barh(names, medians, xerr=spreads, color=colours)
        ax.invert_yaxis()
        ax.set(xlabel="requests/s")
