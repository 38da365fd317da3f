"""The metrics of this project: names, what they count, buckets. Recorded by the deployments.

Ray adds the tags `application`, `deployment` and `replica` and the prefix `ray_`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric; a histogram where it has buckets."""

    name: str
    description: str
    buckets: tuple[float, ...] = ()


_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

BATCH_CHUNKS = Metric(
    name="serve_app_batch_chunks", description="Chunks in a batch.", buckets=_SIZES
)
BATCH_REQUESTS = Metric(
    name="serve_app_batch_requests",
    description="Distinct requests whose chunks share a batch.",
    buckets=_SIZES,
)
MAX_BATCH_SIZE = Metric(
    name="serve_app_max_batch_size",
    description="The largest batch in force: the profile's, or what the device's memory allows.",
)
FALLBACKS = Metric(
    name="serve_app_fallbacks",
    description="Attempts at a higher temperature, after one that failed Whisper's tests.",
)
OUT_OF_MEMORY = Metric(
    name="serve_app_out_of_memory",
    description="Batches that did not fit the device and were halved.",
)
