"""The settings tree: what a profile may say, validated and closed.

`AppSettings` is the `args:` of a Serve config (or the `key=value` arguments of `serve run`); a
change to it restarts the app's replicas. `TranscriberUserConfig` is the `user_config:` of one
WhisperTranscriber deployment; a change to it reaches live replicas. Nothing here reads the
environment.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from serve_app.domain import FALLBACK_TEMPERATURES, WINDOW_S, DecodeLimits, VadOptions
from serve_app.errors import InvalidRequestError

EMBEDDED = "embedded"  # the source that names the demo model inside this package
# The pipeline that pyannote publishes. Others take their PLDA from it where they name none.
COMMUNITY_PIPELINE = "pyannote/speaker-diarization-community-1"
MAX_ONGOING_CHUNKS = 512  # in a WhisperTranscriber at once, where a profile names no limit

PositiveInt = Annotated[int, Field(gt=0)]
Source = Annotated[str, Field(min_length=1)]
Temperature = Annotated[float, Field(ge=0, le=1)]
# CTranslate2's names; which of them a device can compute with is told where a model is loaded.
ComputeType = Literal[
    "auto",
    "default",
    "int8",
    "int8_float16",
    "int8_bfloat16",
    "int8_float32",
    "int16",
    "float16",
    "bfloat16",
    "float32",
]


def _check_order(inner: tuple[str, float], outer: tuple[str, float]) -> None:
    """Check that a time limit can act before the one around it. Raises ValueError."""
    (name, limit_s), (outer_name, outer_s) = inner, outer
    if limit_s > outer_s:
        raise ValueError(
            f"{name} is {limit_s:g} and must not lie above {outer_name}, which is {outer_s:g}: "
            "lower the one or raise the other"
        )


class Settings(BaseModel):
    """Base of all parts of the tree: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class AudioSettings(Settings):
    """How much of a file is decoded at a time, and what a file may cost at most.

    A long file never lies decoded in memory whole.
    """

    # The first slice is short so that its chunks reach the model early.
    first_slice_s: float = Field(60.0, ge=2 * WINDOW_S)
    # Later slices: 120 s are about 0.5 s of one core.
    slice_s: float = Field(120.0, ge=2 * WINDOW_S)
    # A longer file is refused where decoding comes to that point, whatever its header says: 200 kB
    # of FLAC can be 20 minutes of silence. A day: recorders that never stop begin a new file daily.
    max_audio_s: float = Field(86_400.0, gt=0)
    # Of one slice, up to where FFmpeg can be stopped. In a damaged file all packets before it
    # are read again: 10 s for a day of 20 ms packets.
    decode_timeout_s: float = Field(30.0, gt=0)
    # A slice that takes so long never ends: the replica is replaced. 120 s of audio take 0.5 s.
    slice_timeout_s: float = Field(120.0, gt=0)
    # What an AudioPreprocessor may hold beyond what it holds after its start; with more it ends
    # itself. PyAV decodes a packet whole, so what a packet may become is bounded by this alone.
    decode_memory_bytes: PositiveInt = 2**30

    @property
    def limits(self) -> DecodeLimits:
        """Return what a file may cost to decode."""
        return DecodeLimits(max_audio_s=self.max_audio_s, timeout_s=self.decode_timeout_s)

    @model_validator(mode="after")
    def _decoding_is_stopped_first(self) -> "AudioSettings":
        _check_order(
            ("decode_timeout_s", self.decode_timeout_s), ("slice_timeout_s", self.slice_timeout_s)
        )
        return self


class RetrySettings(Settings):
    """What happens to work whose replica is lost. It is sent again, to whichever takes it."""

    # With the pauses, 8 s: a broken replica is out of service by then, and work that waits for a
    # replacement waits in Serve's router, which costs no try.
    max_tries: PositiveInt = 6
    first_pause_s: float = Field(0.25, ge=0)  # before the second try; each later one is doubled
    # A replica that has not answered a call after so long is taken for hung, and another is asked.
    # It covers waiting in the replica's queue as well: 512 chunks take minutes on a small CPU.
    try_timeout_s: float = Field(300.0, gt=0)


class ApiSettings(Settings):
    """Who may call the HTTP API, from where, and how much they may send."""

    # A file with one key per line: `admin:KEY`, `use:KEY`, or a bare key, which may use; # begins
    # a comment. It is read when an Ingress replica starts. Neither file nor variable: open to all.
    keys_file: str | None = None
    # The name of an environment variable with the same, parted by commas or newlines.
    keys_env: str | None = None
    # Origins whose pages may call from a browser; "*" is all. Empty: none.
    allow_origins: tuple[str, ...] = ()
    # 1 GiB is 9 hours of 16-bit wav at 16 kHz or 19 of mp3 at 128 kbit/s. The Ingress holds a file
    # in memory, and Ray's object store a copy of it, so this bounds what one request can cost.
    max_upload_bytes: PositiveInt = 2**30
    # All uploads that an Ingress replica reads or answers at the same time, which is what they take
    # of its memory. One that does not fit beside the others is told to come again. A quarter is for
    # small uploads alone, of at most a 64th (64 MiB), so that large ones do not shut everybody out.
    max_held_bytes: PositiveInt = 4 * 2**30
    # A whole upload: 1 GiB in 10 minutes is 14 Mbit/s.
    upload_timeout_s: float = Field(600.0, gt=0)

    @property
    def reserved_bytes(self) -> int:
        """Return how many of `max_held_bytes` are for small uploads alone."""
        return self.max_held_bytes // 4

    @model_validator(mode="after")
    def _one_upload_fits(self) -> "ApiSettings":
        if self.max_held_bytes - self.reserved_bytes < self.max_upload_bytes:
            raise ValueError(
                "three quarters of max_held_bytes are below max_upload_bytes: one upload must fit"
            )
        return self


class ModelSettings(Settings):
    """One model that the app serves, in a WhisperTranscriber deployment of its own."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")  # names the deployment too
    # A Hugging Face id, a faster-whisper size, a local directory, or `embedded`.
    source: Source
    aliases: tuple[str, ...] = ()  # further names that requests may use
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: a GPU where there is one
    compute_type: ComputeType = "auto"  # auto: float16 on cuda, int8 on cpu
    cpu_threads: int = Field(0, ge=0)  # per worker; 0: the cores that Ray gave the replica
    n_workers: PositiveInt = 1  # batches that run at the same time (CTranslate2 inter_threads)
    beam_size: PositiveInt = 1  # 1: greedy search; where a request names none
    # as_needed: timestamp tokens are decoded only for requests that want times; they cost time per
    # token and can change a word. always: every format has the same words.
    timestamps: Literal["as_needed", "always"] = "as_needed"
    # Tried in turn where a request's temperature is 0, each 0 to 1; [0.0] switches the fallback
    # off.
    temperatures: tuple[Temperature, ...] = Field(FALLBACK_TEMPERATURES, min_length=1)
    # The tokens that a chunk may cost, by its length. OpenAI's decoder stops at 224 tokens for
    # 30 s, 7.5 per second; the margin is for chunks of a few words. None: 224 for any length.
    tokens_per_s: float | None = Field(8.0, gt=0)
    token_margin: int = Field(32, ge=0)  # added to that
    # full: every chunk is padded to the 30 s that Whisper was trained on. fit: to the next 5 s,
    # which costs less; stock Whisper weights lose accuracy by it.
    encoder_window: Literal["full", "fit"] = "full"
    # Whether it can translate to English. None: every multilingual model but turbo and distil
    # ones, which were trained without that task.
    translates: bool | None = None
    # Chunks are cut no longer than this. `embedded`: 5, as it writes the first 6 s of a chunk.
    max_chunk_s: float = Field(
        default_factory=lambda known: 5.0 if known.get("source") == EMBEDDED else WINDOW_S,
        gt=1,
        le=WINDOW_S,
        json_schema_extra={"default": WINDOW_S},
    )
    # Chunks that wait or run for one Ingress replica, at most; its requests share them equally, and
    # a request that could not have one is refused. 512 chunks of 30 s are 0.5 GB in its memory.
    max_queued_chunks: PositiveInt = 512
    # A batch that has run for so long will not end: the replica is replaced.
    batch_timeout_s: float = Field(300.0, gt=0)


class DiarizationSettings(Settings):
    """Who tells the speakers of a file apart: a pyannote.audio pipeline, in a SpeakerDiarizer."""

    # A Hugging Face id, a local directory with the pipeline's config.yaml, or `embedded`.
    source: Source = EMBEDDED
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: a GPU where there is one
    # The name of the environment variable that holds a Hugging Face token.
    token_env: str = "HF_TOKEN"
    # Windows in a model call; None: the pipeline's own.
    segmentation_batch_size: PositiveInt | None = None
    # Voices in windows in a model call; None: the pipeline's own.
    embedding_batch_size: PositiveInt | None = None
    # Longer audio is refused: all of a file's voices are clustered at once, and the memory grows
    # faster than the length. The embedded pipeline takes 0.9 GB when it is loaded, 1.3 GB at
    # the peak for 10 minutes and 5.0 GB for 30.
    max_audio_s: float = Field(1800.0, gt=0)
    # Of the whole file, before the model sees it: an hour is about 15 s of one core.
    decode_timeout_s: float = Field(300.0, gt=0)
    # What decoding may take beside the samples: the replica that needs more ends itself.
    decode_memory_bytes: PositiveInt = 2**30
    # A file that takes longer counts as hung, and its replica is replaced.
    file_timeout_s: float = Field(3600.0, gt=0)
    # Cosine from which on two voices may be a known speaker's.
    min_similarity: float = Field(0.5, ge=-1, le=1)


class AppSettings(Settings):
    """The whole app. `model=SOURCE` (and `device=cuda`) is short for one entry in `models`."""

    models: tuple[ModelSettings, ...] = Field(
        (ModelSettings(name="demo", source=EMBEDDED),), min_length=1
    )  # the first one answers requests that name none
    audio: AudioSettings = AudioSettings()
    vad: VadOptions = VadOptions()
    api: ApiSettings = ApiSettings()
    retry: RetrySettings = RetrySettings()
    diarization: DiarizationSettings | None = None  # None: nobody can ask for speakers
    # Chunks of one request that may be on their way at once. This bounds memory alone (a chunk is
    # up to 1 MB): keep it at 2 x batch x workers or more, times the replicas that one long file
    # is to keep busy.
    max_chunks_in_flight: PositiveInt = 64
    # The time for one request, from its upload's end to its answer. Serve's own limit
    # (`http_options.request_timeout_s`), which answers in plain text, must lie above it.
    request_timeout_s: float = Field(3600.0, gt=0)
    # A request to a model without a replica waits so long for the first one to be up; then it is
    # told to come again, and the replica goes on starting.
    cold_start_wait_s: float = Field(30.0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _expand_model(cls, values: Any) -> Any:
        if not (isinstance(values, Mapping) and "model" in values):
            return values
        values = dict(values)
        if "models" in values:
            raise ValueError("Give either model=SOURCE or models=[...], not both.")
        source = values.pop("model")  # whatever it is: ModelSettings says what it must be
        model = {"name": model_name(str(source)), "source": source}
        if "device" in values:
            model["device"] = values.pop("device")
        return {**values, "models": [model]}

    @model_validator(mode="after")
    def _check_names(self) -> "AppSettings":
        names = [n for m in self.models for n in (m.name, *m.aliases)]
        if len(set(names)) < len(names):
            raise ValueError(f"Two models share a name or an alias: {sorted(names)}")
        return self

    @model_validator(mode="after")
    def _hung_work_is_found_in_time(self) -> "AppSettings":
        for model in self.models:
            _check_order(
                (f"{model.name}: batch_timeout_s", model.batch_timeout_s),
                ("retry.try_timeout_s", self.retry.try_timeout_s),
            )
        # The default is nobody's choice, and does no harm beside a shorter limit.
        if self.diarization and "file_timeout_s" in self.diarization.model_fields_set:
            _check_order(
                ("diarization.file_timeout_s", self.diarization.file_timeout_s),
                ("request_timeout_s", self.request_timeout_s),
            )
        return self

    @field_validator("vad", mode="wrap")
    @classmethod
    def _name_the_range(cls, value: Any, build: ValidatorFunctionWrapHandler) -> VadOptions:
        try:
            options: VadOptions = build(value)
        except InvalidRequestError as error:  # what a caller would get; here it is a setting's
            raise ValueError(error.message) from None
        return options


class TranscriberUserConfig(Settings):
    """What can change on a live WhisperTranscriber replica."""

    max_batch_size: PositiveInt | None = None  # chunks; None: what suits the device
    # The longest a lone chunk waits for company while a worker is free.
    batch_wait_timeout_s: float = Field(0.0, ge=0, le=10)
    revision: str | None = None  # of a Hugging Face source: branch, tag or commit


def model_name(source: str) -> str:
    """Derive a model's short name from its source: the last part of an id or a path."""
    last = source.rstrip("/").rsplit("/", 1)[-1]
    return re.sub(r"[^A-Za-z0-9._-]", "-", last).lstrip("._-") or "model"


@dataclass(frozen=True, kw_only=True)
class BatchLimits:
    """Three numbers of a WhisperTranscriber that must fit each other."""

    max_ongoing_requests: int  # Serve's; it counts every chunk that waits or runs in the replica
    max_batch_size: int
    n_workers: int

    def check(self) -> None:
        """Check that all batches can be full at once. Serve admits 5 chunks unless told otherwise.

        Raises:
            ValueError: they cannot; says the smallest value that lets them.
        """
        needed = self.max_batch_size * self.n_workers
        if self.max_ongoing_requests < needed:
            raise ValueError(
                f"max_ongoing_requests is {self.max_ongoing_requests}, so {self.n_workers} x "
                f"{self.max_batch_size} chunks could never run at once: set it to {needed} or more."
            )

    def idle_warning(self) -> str | None:
        """Say where the limits leave the device idle although chunks wait; None where not."""
        needed = self.max_batch_size * (self.n_workers + 1)
        if self.max_ongoing_requests >= needed:
            return None
        return (
            f"max_ongoing_requests is {self.max_ongoing_requests}: while every worker has a full "
            f"batch, the next one cannot gather, so the device idles between batches. {needed} or "
            "more avoids it."
        )
