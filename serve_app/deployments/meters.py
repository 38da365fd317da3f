"""The metrics of `serve_app.metrics`, recorded through Ray."""

from ray.serve import metrics as ray_metrics

from serve_app import metrics


class TranscriberMeters:
    """The metrics of a WhisperTranscriber replica."""

    def __init__(self) -> None:
        self._batch_chunks = _histogram(metrics.BATCH_CHUNKS)
        self._batch_requests = _histogram(metrics.BATCH_REQUESTS)
        self.max_batch_size = ray_metrics.Gauge(
            metrics.MAX_BATCH_SIZE.name, metrics.MAX_BATCH_SIZE.description
        )
        self.fallbacks = Counter(metrics.FALLBACKS)
        self.out_of_memory = Counter(metrics.OUT_OF_MEMORY)

    def record_batch(self, n_chunks: int, n_requests: int) -> None:
        """Record one batch."""
        self._batch_chunks.observe(n_chunks)
        self._batch_requests.observe(n_requests)


class Counter:
    """A counter that takes 0, which Ray's refuses."""

    def __init__(self, metric: metrics.Metric) -> None:
        self._counter = ray_metrics.Counter(metric.name, metric.description)

    def inc(self, by: int = 1) -> None:
        """Count that many more."""
        if by:
            self._counter.inc(by)


def _histogram(metric: metrics.Metric) -> ray_metrics.Histogram:
    return ray_metrics.Histogram(metric.name, metric.description, boundaries=list(metric.buckets))
