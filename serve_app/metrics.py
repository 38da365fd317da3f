"""The metrics of this project: one table of what they are called, count and are parted by.

The deployments record them through Ray, which adds the labels `application`, `deployment` and
`replica` and the prefix `ray_`. /metrics, the dashboard, the alerts and README's table hold the
names of `Metric.exported` and no others.
"""

from dataclasses import dataclass
from enum import StrEnum

PREFIX = "ray_"  # Ray's, of everything it exports


class Kind(StrEnum):
    """What a metric's value does, by Prometheus's names."""

    COUNTER = "counter"  # only rises
    GAUGE = "gauge"  # is as it is now
    HISTOGRAM = "histogram"  # counts observations by size


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric."""

    name: str
    kind: Kind
    description: str
    labels: tuple[str, ...] = ()  # beside Ray's own; each has few values, all known beforehand
    buckets: tuple[float, ...] = ()  # upper bounds, of a histogram

    @property
    def exported(self) -> str:
        """Return the name under which Prometheus knows it."""
        suffix = "_total" if self.kind is Kind.COUNTER else ""
        return f"{PREFIX}{self.name}{suffix}"


# Values of the label `stage`: whose work, or which queue. A batch's own are named by the engine:
# features, encode, generate, align.
DECODE, VAD = "decode", "vad"  # AudioPreprocessor, per slice of a file
QUEUE = "queue"  # a chunk's wait at the gate
DIARIZE = "diarize"  # SpeakerDiarizer, per file

_SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
# Each bound is about twice the one before. Ray's agent rebuilds a histogram's sum from the middles
# of the buckets, so closer bounds make better means: never divide by a sum where a counter serves.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 120.0, 300.0)

REQUESTS = Metric(
    name="serve_app_requests",
    kind=Kind.COUNTER,
    description="Requests answered: HTTP by path, Python callers' by method as `handle:...`; "
    "`code` is the HTTP status, 499 where the caller left before its end.",
    labels=("route", "model", "code"),
)
REQUEST_SECONDS = Metric(
    name="serve_app_request_seconds",
    kind=Kind.HISTOGRAM,
    description="From a request's arrival at the Ingress to the end of its answer.",
    labels=("route", "model"),
    buckets=(*_SECONDS, 600.0, 1800.0, 3600.0),  # as long as a request may take
)
REJECTIONS = Metric(
    name="serve_app_rejections",
    kind=Kind.COUNTER,
    description="Requests answered with an error; `reason` is its code.",
    labels=("reason",),
)
AUDIO_SECONDS = Metric(
    name="serve_app_audio_seconds",
    kind=Kind.COUNTER,
    description="Audio that was transcribed.",
    labels=("model",),
)
REAL_TIME_FACTOR = Metric(
    name="serve_app_real_time_factor",
    kind=Kind.HISTOGRAM,
    description="A transcription's time over its audio's; below 1 is faster than speech.",
    labels=("model",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
RETRIES = Metric(
    name="serve_app_retries",
    kind=Kind.COUNTER,
    description="Calls sent again, because the replica that had them died or did not answer.",
)
REQUESTS_AT = Metric(
    name="serve_app_requests_at",
    kind=Kind.GAUGE,
    description="Transcriptions under way, the mean of the last 10 s: at `decode` those that wait "
    "for decoded audio, at `model` those with chunks on their way.",
    labels=("place",),
)
BOTTLENECK = Metric(
    name="serve_app_bottleneck",
    kind=Kind.GAUGE,
    description="1 for the place that held requests up in the last 10 s, else 0: `ingress` (a busy "
    "event loop), `decode` or `model`.",
    labels=("place",),
)
STAGE_SECONDS = Metric(
    name="serve_app_stage_seconds",
    kind=Kind.HISTOGRAM,
    description="Time in a stage: decode and vad per slice of a file; diarize per file; queue per "
    "chunk, its wait at the gate; features, encode, generate and align per batch.",
    labels=("stage",),
    buckets=_SECONDS,
)
CHUNKS = Metric(
    name="serve_app_chunks",
    kind=Kind.COUNTER,
    description="Chunks handed to the model; over the number of batches it is their mean size.",
)
BATCH_CHUNKS = Metric(
    name="serve_app_batch_chunks",
    kind=Kind.HISTOGRAM,
    description="Chunks in a batch.",
    buckets=_SIZES,
)
BATCH_REQUESTS = Metric(
    name="serve_app_batch_requests",
    kind=Kind.HISTOGRAM,
    description="Distinct requests whose chunks share a batch.",
    buckets=_SIZES,
)
MAX_BATCH_SIZE = Metric(
    name="serve_app_max_batch_size",
    kind=Kind.GAUGE,
    description="The largest batch in force: the profile's, or what the device's memory allows.",
)
QUEUE_LENGTH = Metric(
    name="serve_app_queue_length",
    kind=Kind.GAUGE,
    description="Chunks that wait at the gate.",
)
FALLBACKS = Metric(
    name="serve_app_fallbacks",
    kind=Kind.COUNTER,
    description="Attempts at a higher temperature, after one that failed Whisper's tests.",
)
OUT_OF_MEMORY = Metric(
    name="serve_app_out_of_memory",
    kind=Kind.COUNTER,
    description="Batches that did not fit the device and were halved.",
)
NODE_UP = Metric(
    name="serve_app_node_up",
    kind=Kind.GAUGE,
    description="1 where a node's exporter answered /metrics in time, 0 where it is missing here; "
    "made by the page itself.",
    labels=("node",),
)

INGRESS = (
    REQUESTS,
    REQUEST_SECONDS,
    REJECTIONS,
    AUDIO_SECONDS,
    REAL_TIME_FACTOR,
    RETRIES,
    REQUESTS_AT,
    BOTTLENECK,
)
PREPROCESSOR = (STAGE_SECONDS,)
DIARIZER = (STAGE_SECONDS,)
TRANSCRIBER = (
    STAGE_SECONDS,
    CHUNKS,
    BATCH_CHUNKS,
    BATCH_REQUESTS,
    MAX_BATCH_SIZE,
    QUEUE_LENGTH,
    FALLBACKS,
    OUT_OF_MEMORY,
)
# Each one once, in the order of a request's way.
ALL = tuple(dict.fromkeys((*INGRESS, *PREPROCESSOR, *DIARIZER, *TRANSCRIBER, NODE_UP)))
