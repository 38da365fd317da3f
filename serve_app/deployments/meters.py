"""The metrics of `serve_app.metrics`, recorded through Ray."""

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

from ray.serve import metrics as ray_metrics

from serve_app import metrics
from serve_app.bottleneck import Load, Place
from serve_app.errors import TranscriptionError, all_errors
from serve_app.metrics import Kind, Metric
from serve_app.scheduler import Gate, HandedOver
from serve_app.visits import Visit

SAMPLE_S = 1.0  # between two looks at what a gauge shows; Ray reports every 10 s


class Meters:
    """One Ray metric for each of some specs."""

    def __init__(self, specs: Sequence[Metric]) -> None:
        self._made = {spec: _make(spec) for spec in specs}

    def count(self, spec: Metric, by: float = 1, **labels: str) -> None:
        """Raise a counter."""
        if by:  # Ray's refuses 0
            self._made[spec].inc(by, labels)

    def observe(self, spec: Metric, value: float, **labels: str) -> None:
        """Add an observation to a histogram."""
        self._made[spec].observe(value, labels)

    def set(self, spec: Metric, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._made[spec].set(value, labels)

    def start_at_0(self, spec: Metric, **labels: str) -> None:
        """Export a counter before there is anything to count: a rise from nothing is not seen."""
        # Ray's `inc` refuses 0, what lies below it does not.
        self._made[spec]._record(0, labels)

    def record_stage(self, stage: str, took_s: float) -> None:
        """Record the time that a stage took. May be called from any thread."""
        self.observe(metrics.STAGE_SECONDS, took_s, stage=stage)


class IngressMeters(Meters):
    """The metrics of an Ingress replica."""

    def __init__(self) -> None:
        super().__init__(metrics.INGRESS)
        # Of the server's own errors the first one must be seen to rise. Callers' are left out:
        # Ray's agent keeps each series of a replica long after the replica is gone.
        for reason in ours():
            self.start_at_0(metrics.REJECTIONS, reason=reason)
        self.start_at_0(metrics.RETRIES)

    def record_visit(self, visit: Visit) -> None:
        """Record one request that has ended."""
        route, model = visit.route, visit.model
        self.count(metrics.REQUESTS, route=route, model=model, code=visit.code)
        self.observe(metrics.REQUEST_SECONDS, visit.took_s, route=route, model=model)
        if visit.error:
            self.count(metrics.REJECTIONS, reason=visit.error.code)

    def record_transcription(self, model: str, *, audio_s: float, took_s: float) -> None:
        """Record one transcription that has ended well."""
        self.count(metrics.AUDIO_SECONDS, audio_s, model=model)
        if audio_s:
            self.observe(metrics.REAL_TIME_FACTOR, took_s / audio_s, model=model)

    def record_retry(self) -> None:
        """Record a call that is sent again."""
        self.count(metrics.RETRIES)

    def record_load(self, load: Load, bottleneck: Place | None) -> None:
        """Record where requests stood on average, and what held them up."""
        self.set(metrics.REQUESTS_AT, load.decode, place=Place.DECODE.value)
        self.set(metrics.REQUESTS_AT, load.model, place=Place.MODEL.value)
        for place in Place:
            self.set(metrics.BOTTLENECK, float(place is bottleneck), place=place.value)


class TranscriberMeters(Meters):
    """The metrics of a WhisperTranscriber replica."""

    def __init__(self) -> None:
        super().__init__(metrics.TRANSCRIBER)
        for spec in (metrics.CHUNKS, metrics.FALLBACKS, metrics.OUT_OF_MEMORY):
            self.start_at_0(spec)

    def record_batch(self, batch: HandedOver) -> None:
        """Record one batch."""
        self.count(metrics.CHUNKS, len(batch.waited_s))
        self.observe(metrics.BATCH_CHUNKS, len(batch.waited_s))
        self.observe(metrics.BATCH_REQUESTS, batch.n_owners)
        for waited_s in batch.waited_s:
            self.record_stage(metrics.QUEUE, waited_s)

    def record_gate(self, gate: Gate[Any, Any]) -> None:
        """Record what the gate is like now."""
        stats = gate.stats
        self.set(metrics.QUEUE_LENGTH, stats.n_waiting)
        self.set(metrics.MAX_BATCH_SIZE, stats.max_batch_size)


async def every(interval_s: float, work: Callable[[], None]) -> None:
    """Do the work again and again, until cancelled."""
    while True:
        work()
        await asyncio.sleep(interval_s)


def ours() -> list[str]:
    """Return the codes of the server's own errors."""
    return sorted({error.code for error in all_errors() if _is_ours(error)})


def _is_ours(error: type[TranscriptionError]) -> bool:
    """Tell whether it is the server that lacks something, not the request."""
    too_many = HTTPStatus.TOO_MANY_REQUESTS
    return error.status == too_many or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR


def _make(spec: Metric) -> Any:
    labels: Any = spec.labels  # Ray's annotation means one label only
    if spec.kind is Kind.COUNTER:
        return ray_metrics.Counter(spec.name, spec.description, labels)
    if spec.kind is Kind.GAUGE:
        return ray_metrics.Gauge(spec.name, spec.description, labels)
    return ray_metrics.Histogram(
        spec.name, spec.description, boundaries=list(spec.buckets), tag_keys=labels
    )
