"""The stages composed, without Ray: prepare -> transcribe_batch -> finish.

The deployments call these three, and so do tests, benchmarks and every use without a cluster.
"""

from serve_app.pipeline.finish import finish
from serve_app.pipeline.fitting import FittingBatches
from serve_app.pipeline.options import decode_options
from serve_app.pipeline.prepare import (
    Prepared,
    PrepareOptions,
    prepare,
    prepare_options,
    whole_chunk,
)
from serve_app.pipeline.transcribe import (
    Outcome,
    detect_languages,
    is_device_failure,
    is_out_of_memory,
    transcribe_batch,
    transcribe_chunk,
    unwrap,
    warm_up,
    with_fill,
)

__all__ = [
    "FittingBatches",
    "Outcome",
    "PrepareOptions",
    "Prepared",
    "decode_options",
    "detect_languages",
    "finish",
    "is_device_failure",
    "is_out_of_memory",
    "prepare",
    "prepare_options",
    "transcribe_batch",
    "transcribe_chunk",
    "unwrap",
    "warm_up",
    "whole_chunk",
    "with_fill",
]
