"""The models of an app, as callers and the pipeline see them."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What a loaded model can do."""

    name: str
    languages: tuple[str, ...]  # ISO 639-1, more than one where it is multilingual
    translates: bool


class ModelState(StrEnum):
    """Whether a declared model can answer now."""

    READY = "ready"  # a replica has it in memory and has decoded
    LOADING = "loading"  # a replica is starting
    COLD = "cold"  # no replica; the next request starts one


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """A declared model, as a caller sees it."""

    name: str
    aliases: tuple[str, ...]  # the other names that requests may use
    owner: str
    state: ModelState
