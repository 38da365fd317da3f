"""The environment names of HalkSpeech (`WHISPER__*` and a few more), and what each changes.

`NAMES` is the one table: name, what its text may be, and where it goes in the config. Later names
are laid over earlier ones. Nothing here reads the environment; the command line passes it in.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from serve_app.profiles import idleness, parsing, placement
from serve_app.profiles.files import Config, ProfileError
from serve_app.profiles.merging import merge
from serve_app.profiles.replicas import scaling_of
from serve_app.settings import ComputeType

PREFIX = "WHISPER__"
DEVICE = "WHISPER__INFERENCE_DEVICE"
DEVICE_INDEX = "WHISPER__DEVICE_INDEX"

MODELS = "args.models"
INGRESS = "deployments.Ingress"
TRANSCRIBER = "deployments.WhisperTranscriber"


@dataclass(frozen=True, kw_only=True)
class Name:
    """One environment variable."""

    name: str
    values: str  # for the table in README
    parse: parsing.Parser = str  # raises ValueError with what it expects
    sets: tuple[str, ...] = ()  # paths in an overlay
    # Makes the overlay where it is more than the value at those paths.
    change: Callable[[Any, Config], Config] | None = None
    no_meaning: str = ""  # why nothing changes, where nothing can
    is_secret: bool = False


def _batched_mode(is_on: bool, _: Config) -> Config:
    alone = {"max_batch_size": 1, "batch_wait_timeout_s": 0.0}
    return {} if is_on else {"deployments": {"WhisperTranscriber": {"user_config": alone}}}


def _concurrency(n_requests: int, config: Config) -> Config:
    """Share the requests out over the Ingress replicas that there may be."""
    [options] = placement.options_of(config, "Ingress")
    scaling = scaling_of(options)
    limit = -(-n_requests // scaling["max_replicas"])
    overlay: Config = {"max_ongoing_requests": limit}
    if scaling["max_replicas"] > scaling["min_replicas"]:  # one more starts before the limit is met
        target = scaling.get("target_ongoing_requests", limit)
        overlay["autoscaling_config"] = {"target_ongoing_requests": min(target, max(1, limit // 2))}
    return {"deployments": {"Ingress": overlay}}


COMPUTE_TYPES = get_args(ComputeType)
IDLE = (
    "`-1`: never unload a model. Seconds: unload one that has been idle so long; the next request "
    "loads it again. `0`: as soon as it is idle"
)
IDLENESS_PATHS = tuple(
    f"{TRANSCRIBER}.autoscaling_config.{key}"
    for key in ("min_replicas", "initial_replicas", "downscale_to_zero_delay_s")
)

NAMES = (
    Name(
        name=DEVICE,
        values="`cuda`, `cpu` or `auto`: the overlay of that name, over a profile for the other",
        parse=parsing.one_of("auto", "cpu", "cuda"),
        sets=(
            f"{MODELS}.device",
            f"{MODELS}.compute_type",
            f"{TRANSCRIBER}.ray_actor_options.num_gpus",
        ),
        change=placement.on_device,
    ),
    Name(
        name=DEVICE_INDEX,
        values="a GPU, or a list such as `[0, 1]`: so many replicas at the most, on these only",
        parse=parsing.indices,
        sets=(f"{TRANSCRIBER}.autoscaling_config.max_replicas",),
        change=placement.on_devices,
    ),
    Name(
        name="WHISPER__COMPUTE_TYPE",
        values=", ".join(f"`{word}`" for word in COMPUTE_TYPES),
        parse=parsing.one_of(*COMPUTE_TYPES),
        sets=(f"{MODELS}.compute_type",),
    ),
    Name(
        name="WHISPER__CPU_THREADS",
        values="per worker, on a CPU; `0`: the replica's cores",
        parse=parsing.whole(0),
        sets=(f"{MODELS}.cpu_threads",),
    ),
    Name(
        name="WHISPER__NUM_WORKERS",
        values="batches that a replica runs at the same time",
        parse=parsing.whole(1),
        sets=(f"{MODELS}.n_workers",),
    ),
    Name(
        name="WHISPER__BATCH_SIZE",
        values="chunks in a batch at the most; less where the device's memory holds less",
        parse=parsing.whole(1),
        sets=(f"{TRANSCRIBER}.user_config.max_batch_size",),
    ),
    Name(
        name="WHISPER__BATCH_WINDOW_MS",
        values="the longest that a lone chunk waits for company, 0 to 10000",
        parse=parsing.milliseconds(0, 10_000),
        sets=(f"{TRANSCRIBER}.user_config.batch_wait_timeout_s",),
    ),
    Name(
        name="WHISPER__USE_BATCHED_MODE",
        values="`true`: as the profile says; `false`: every chunk alone",
        parse=parsing.truth,
        sets=(
            f"{TRANSCRIBER}.user_config.max_batch_size",
            f"{TRANSCRIBER}.user_config.batch_wait_timeout_s",
        ),
        change=_batched_mode,
    ),
    Name(
        name="WHISPER__MAX_QUEUE_SIZE",
        values="requests that wait in a proxy before more are refused",
        parse=parsing.whole(1),
        sets=(f"{INGRESS}.max_queued_requests",),
    ),
    Name(
        name="WHISPER__MAX_CONCURRENT_REQUESTS",
        values="requests at once, shared out over the Ingress replicas that there may be",
        parse=parsing.whole(1),
        sets=(
            f"{INGRESS}.max_ongoing_requests",
            f"{INGRESS}.autoscaling_config.target_ongoing_requests",
        ),
        change=_concurrency,
    ),
    Name(
        name="STT_MODEL_TTL",
        values="the same as `WHISPER__MODEL_TTL`, which wins where both are set",
        parse=parsing.whole(-1),
        sets=IDLENESS_PATHS,
        change=idleness.unload_after,
    ),
    Name(
        name="WHISPER__MODEL_TTL",
        values=IDLE,
        parse=parsing.whole(-1),
        sets=IDLENESS_PATHS,
        change=idleness.unload_after,
    ),
    Name(
        name="WHISPER__PRELOAD_MODEL",
        values="`true`: load every model at the start; `false`: at its first request",
        parse=parsing.truth,
        sets=IDLENESS_PATHS,
        change=idleness.preload,
    ),
    Name(
        name="LOG_LEVEL",
        values="`debug` (a line for each call between deployments), `info`, `warning`, `error` or "
        "`critical`",
        parse=lambda text: parsing.one_of("debug", "info", "warning", "error", "critical")(
            text
        ).upper(),
        sets=("logging_config.log_level",),
    ),
    Name(
        name="API_KEY",
        values="the key, or `admin:KEY`, that requests must carry; the config only names it",
        parse=parsing.one_key,
        sets=("args.api.keys_env",),
        change=lambda _, config: {"args": {"api": {"keys_env": "API_KEY"}}},
        is_secret=True,
    ),
    Name(
        name="ALLOW_ORIGINS",
        values="a JSON list of origins whose pages may call",
        parse=parsing.origins,
        sets=("args.api.allow_origins",),
    ),
    Name(
        name="UVICORN_HOST",
        values="the address to listen on",
        parse=parsing.address,
        sets=("http_options.host",),
    ),
    Name(
        name="UVICORN_PORT",
        values="the port to listen on",
        parse=parsing.whole(1, 65_535),
        sets=("http_options.port",),
    ),
    *(
        Name(name=name, values="anything", no_meaning=why)
        for name, why in (
            ("PRELOAD_MODELS", "the profile says which models are loaded at the start"),
            ("TTS_MODEL_TTL", "serve_app does not speak"),
            ("ENABLE_UI", "there is no web page but /docs"),
            ("LOOPBACK_HOST_URL", "there is no web page but /docs"),
            ("CHAT_COMPLETION_BASE_URL", "serve_app does not chat"),
            ("CHAT_COMPLETION_API_KEY", "serve_app does not chat"),
            ("UNSTABLE_ORT_OPTS", "the only ONNX model, Silero VAD, runs on one CPU core"),
        )
    ),
)


def check_names(environment: Mapping[str, str]) -> None:
    """Check that every WHISPER__ variable is a known one.

    Raises:
        ProfileError: one is not; names those that are spelled nearly so.
    """
    known = [name.name for name in NAMES if name.name.startswith(PREFIX)]
    for name in sorted(environment):
        if name.upper().startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name.upper(), known, n=3) or known
            raise ProfileError(f"{name} is not known. Did you mean {', '.join(near)}?")


def merge_environment(
    config: Config, environment: Mapping[str, str]
) -> tuple[Config, tuple[str, ...]]:
    """Return a completed config with what the environment changes, and notes for the user.

    Raises:
        ProfileError: a WHISPER__ variable is not known, or a value is not what its name takes.
    """
    check_names(environment)
    notes = []
    for name in NAMES:
        text = environment.get(name.name)
        if text is None:
            continue
        if name.no_meaning:
            notes.append(f"{name.name} changes nothing: {name.no_meaning}.")
            continue
        value = parse(name, text)
        if name.change:
            config = merge(config, name.change(value, config))
        else:
            for path in name.sets:
                config = merge(config, parsing.nested(tuple(path.split(".")), value))
    return config, tuple(notes)


def parse(name: Name, text: str) -> Any:
    """Return a variable's value. Raises ProfileError, in one line and without secrets."""
    try:
        return name.parse(text.strip())
    except ValueError as error:
        shown = "" if name.is_secret else f"={text.strip()}"
        raise ProfileError(f"{name.name}{shown}: expected {error}.") from None


def environment_table() -> str:
    """Return all names as a Markdown table, for README."""
    rows = ["| Variable | Values | In the config |", "|---|---|---|"]
    for name in NAMES:
        where = "<br>".join(f"`{path}`" for path in name.sets) or f"nothing: {name.no_meaning}"
        rows.append(f"| `{name.name}` | {name.values} | {where} |")
    return "\n".join(rows)
