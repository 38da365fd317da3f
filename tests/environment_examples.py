"""Examples of every environment name that changes a config, for unit tests and those with Ray."""

from dataclasses import dataclass
from typing import Any

from serve_app.profiles.idleness import NEVER_S

INGRESS = "deployments.Ingress"
DEMO = "deployments.WhisperTranscriber-demo"
TURBO = "deployments.WhisperTranscriber-turbo"
DISTIL = "deployments.WhisperTranscriber-distil"
BATCH = f"{TURBO}.user_config.max_batch_size"
WAIT_S = f"{TURBO}.user_config.batch_wait_timeout_s"
SCALING = f"{TURBO}.autoscaling_config"
TO_ZERO_S = f"{SCALING}.downscale_to_zero_delay_s"
DISTIL_SCALING = f"{DISTIL}.autoscaling_config"
DISTIL_TO_ZERO_S = f"{DISTIL_SCALING}.downscale_to_zero_delay_s"


@dataclass(frozen=True)
class Example:
    """A variable over a profile, and what stands at a path of the config then."""

    name: str
    text: str
    profile: str
    path: str
    value: Any

    def __str__(self) -> str:
        return f"{self.name}={self.text} over {self.profile}: {self.path}"


EXAMPLES = (
    Example("WHISPER__INFERENCE_DEVICE", "cpu", "turbo", "args.models.0.device", "cpu"),
    Example("WHISPER__INFERENCE_DEVICE", "cpu", "turbo", "args.models.0.compute_type", "int8"),
    Example("WHISPER__INFERENCE_DEVICE", "cpu", "turbo", "args.models.0.cpu_threads", 0),
    Example("WHISPER__INFERENCE_DEVICE", "cpu", "turbo", f"{TURBO}.ray_actor_options.num_gpus", 0),
    Example("WHISPER__INFERENCE_DEVICE", "cpu", "turbo", BATCH, None),
    Example("WHISPER__INFERENCE_DEVICE", "cuda", "demo", "args.models.0.device", "cuda"),
    Example("WHISPER__INFERENCE_DEVICE", "CUDA", "demo", f"{DEMO}.ray_actor_options.num_gpus", 1),
    Example("WHISPER__DEVICE_INDEX", "0", "turbo", f"{SCALING}.max_replicas", 1),
    Example("WHISPER__DEVICE_INDEX", "[0,3]", "turbo", f"{SCALING}.max_replicas", 2),
    Example("WHISPER__COMPUTE_TYPE", "bfloat16", "all", "args.models.2.compute_type", "bfloat16"),
    Example("WHISPER__CPU_THREADS", "3", "turbo", "args.models.0.cpu_threads", 3),
    Example("WHISPER__NUM_WORKERS", "2", "turbo", "args.models.0.n_workers", 2),
    Example("WHISPER__BATCH_SIZE", "128", "turbo", BATCH, 128),
    Example("WHISPER__BATCH_SIZE", "2", "all", f"{DISTIL}.user_config.max_batch_size", 2),
    Example("WHISPER__BATCH_WINDOW_MS", "15", "turbo", WAIT_S, 0.015),
    Example("WHISPER__USE_BATCHED_MODE", "false", "turbo", BATCH, 1),
    Example("WHISPER__USE_BATCHED_MODE", "0", "turbo", WAIT_S, 0.0),
    Example("WHISPER__MAX_QUEUE_SIZE", "77", "turbo", f"{INGRESS}.max_queued_requests", 77),
    Example(
        "WHISPER__MAX_CONCURRENT_REQUESTS", "30", "turbo", f"{INGRESS}.max_ongoing_requests", 8
    ),
    Example(
        "WHISPER__MAX_CONCURRENT_REQUESTS",
        "30",
        "turbo",
        f"{INGRESS}.autoscaling_config.target_ongoing_requests",
        4,
    ),
    Example(
        "WHISPER__MAX_CONCURRENT_REQUESTS", "30", "demo", f"{INGRESS}.max_ongoing_requests", 30
    ),
    Example("STT_MODEL_TTL", "60", "turbo", TO_ZERO_S, 60),
    Example("WHISPER__MODEL_TTL", "300", "turbo", f"{SCALING}.min_replicas", 0),
    Example("WHISPER__MODEL_TTL", "300", "turbo", f"{SCALING}.initial_replicas", 1),
    Example("WHISPER__MODEL_TTL", "300", "all", DISTIL_TO_ZERO_S, 300),
    Example("WHISPER__MODEL_TTL", "0", "turbo", TO_ZERO_S, 0),
    Example("WHISPER__MODEL_TTL", "-1", "all", DISTIL_TO_ZERO_S, NEVER_S),
    Example("WHISPER__MODEL_TTL", "9", "demo", f"{DEMO}.autoscaling_config.min_replicas", 0),
    Example("WHISPER__PRELOAD_MODEL", "true", "all", f"{DISTIL_SCALING}.initial_replicas", 1),
    Example("WHISPER__PRELOAD_MODEL", "false", "turbo", f"{SCALING}.min_replicas", 0),
    Example("WHISPER__PRELOAD_MODEL", "false", "turbo", TO_ZERO_S, NEVER_S),
    Example("LOG_LEVEL", "debug", "turbo", "logging_config.log_level", "DEBUG"),
    Example("API_KEY", "s3cret", "turbo", "args.api.keys_env", "API_KEY"),
    Example(
        "ALLOW_ORIGINS",
        '["https://a.example"]',
        "turbo",
        "args.api.allow_origins.0",
        "https://a.example",
    ),
    Example("UVICORN_HOST", "0.0.0.0", "turbo", "http_options.host", "0.0.0.0"),
    Example("UVICORN_PORT", "9000", "turbo", "http_options.port", 9000),
)


def look_up(config: dict[str, Any], path: str) -> Any:
    """Return what stands at a path of a config, or None; deployments are found by name."""
    [app] = config["applications"]
    found: Any = {
        **config,
        "args": app["args"],
        "deployments": {one["name"]: one for one in app["deployments"]},
    }
    for part in path.split("."):
        if found is None:
            return None
        found = found[int(part)] if isinstance(found, list | tuple) else found.get(part)
    return found
