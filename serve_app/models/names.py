"""Which declared model a request means, and what a caller sees of it. Called for each request."""

import re
from collections.abc import Mapping, Sequence

from serve_app.domain import ModelCard, ModelInfo, ModelState
from serve_app.errors import ModelNotFoundError
from serve_app.settings import EMBEDDED, ModelSettings, model_name

# Names that clients of other servers send when they mean "the one you have".
DEFAULT_ALIASES = frozenset(
    {
        *("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-transcribe"),
        *("gpt-4o-transcribe-diarize", "gpt-4o-mini-transcribe-2025-12-15"),
    }
)

# The Hugging Face ids of faster-whisper's sizes: its `utils._MODELS`, whose import costs a second
# and brings CTranslate2.
SIZES: Mapping[str, str] = {
    **{
        size: f"Systran/faster-whisper-{size}"
        for size in (
            *("tiny", "tiny.en", "base", "base.en", "small", "small.en", "medium", "medium.en"),
            *("large-v1", "large-v2", "large-v3"),
        )
    },
    **{
        f"distil-{size}": f"Systran/faster-distil-whisper-{size}"
        for size in ("small.en", "medium.en", "large-v2", "large-v3")
    },
    "large": "Systran/faster-whisper-large-v3",
    "distil-large-v3.5": "distil-whisper/distil-large-v3.5-ct2",
    "large-v3-turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
}

_SIZE = re.compile(r"(distil-)?(tiny|base|small|medium|large)(-v\d(\.\d)?)?(-turbo)?(\.en)?")


def find_model(requested: str | None, declared: Sequence[ModelSettings]) -> ModelSettings:
    """Return the declared model that a request's `model` field means.

    Raises:
        ModelNotFoundError: no declared model has that name, alias, source or usual name.
    """
    if requested is None or requested == "":
        return declared[0]
    for model in declared:
        if requested in (model.name, model.source, *model.aliases):
            return model
    for model in declared:
        if requested in usual_names(model.source):
            return model
    if requested in DEFAULT_ALIASES:
        return declared[0]
    raise ModelNotFoundError(requested, [model.name for model in declared])


def make_card(
    model: ModelSettings, declared: Sequence[ModelSettings], state: ModelState
) -> ModelCard:
    """Return what a caller sees of a declared model: every name that `find_model` knows it by."""
    defaults = sorted(DEFAULT_ALIASES) if model is declared[0] else []
    usual = [
        name for name in usual_names(model.source) if find_model(name, declared) is model
    ]  # less those that mean another one
    names = dict.fromkeys([*model.aliases, model.source, *usual, *defaults])
    return ModelCard(
        name=model.name,
        aliases=tuple(name for name in names if name != model.name),
        owner=_owner(model.source),
        state=state,
    )


def usual_names(source: str) -> tuple[str, ...]:
    """Return what clients call a published Whisper model: its id, size and family.

    `deepdml/faster-whisper-large-v3-turbo-ct2` is `large-v3-turbo` and `turbo`. A fine-tuned model
    that has more to its name than a size has no other.
    """
    repo_id = SIZES.get(source, source)
    owner, _, last = repo_id.rpartition("/")
    size = re.sub(r"(^|-)(faster|whisper|ct2)(?=-|$)", "", last).strip("-")
    if not owner or is_path(source) or not _SIZE.fullmatch(size):
        return ()
    families: list[str] = [name for name in ("turbo", "distil") if name in size.split("-")]
    families += ["large"] if size == "large-v3" else []
    return (repo_id, size, *families)


def describe(model: ModelSettings, languages: Sequence[str]) -> ModelInfo:
    """Return what a model with those languages can do."""
    translates = model.translates
    if translates is None:
        # OpenAI trained turbo, and Hugging Face distilled its models, on transcription alone.
        last = model_name(model.source).lower()  # the folders above it tell nothing of the model
        only_transcribes = any(word in last for word in ("turbo", "distil"))
        translates = len(languages) > 1 and not only_transcribes
    return ModelInfo(name=model.name, languages=tuple(languages), translates=translates)


def is_path(source: str) -> bool:
    """Tell whether a source can be nothing but a path on this machine."""
    return source.startswith((".", "/", "~"))


def _owner(source: str) -> str:
    """Return the organisation in a Hugging Face id, or where else the source comes from."""
    if source == EMBEDDED:
        return "serve_app"
    if is_path(source):
        return "local"
    return source.partition("/")[0] if "/" in source else "faster-whisper"
