"""A request and the model it means -> how its chunks are decoded."""

from serve_app.domain import (
    MAX_PROMPT_CHARS,
    DecodeOptions,
    ModelInfo,
    Task,
    TranscriptionRequest,
)
from serve_app.errors import (
    InvalidRequestError,
)
from serve_app.languages import language_code
from serve_app.settings import ModelSettings


def decode_options(
    request: TranscriptionRequest, model: ModelSettings, known: ModelInfo
) -> DecodeOptions:
    """Return how the request's chunks are to be decoded by that model.

    Raises:
        InvalidRequestError: the model does not know the language, cannot translate, or the search
            does not tell what is asked.
    """
    if request.task is Task.TRANSLATE and not known.translates:
        raise InvalidRequestError(
            "task", f"The model '{model.name}' cannot translate; it only transcribes."
        )
    beam_size = request.beam_size or model.beam_size
    if request.logprobs and beam_size > 1:
        raise InvalidRequestError(
            "include",
            "include=logprobs needs greedy search, because beam search does not tell how probable "
            "each token was. Send beam_size=1 with it.",
        )
    language, among = _asked_languages(request, known)
    return DecodeOptions(
        task=request.task,
        language=language,
        languages=among,
        prompt=(request.prompt or "").strip()[-MAX_PROMPT_CHARS:] or None,
        hotwords=(request.hotwords or "").strip()[:MAX_PROMPT_CHARS] or None,
        temperatures=(request.temperature,) if request.temperature else model.temperatures,
        timestamps=_decodes_timestamps(request, model),
        words=request.needs_words,
        logprobs=request.logprobs,
        beam_size=beam_size,
        best_of=request.best_of,
        patience=request.patience,
        length_penalty=request.length_penalty,
        repetition_penalty=request.repetition_penalty,
        no_repeat_ngram_size=request.no_repeat_ngram_size,
        suppress_tokens=request.suppress_tokens,
        max_new_tokens=request.max_new_tokens,
        tokens_per_s=model.tokens_per_s,
        token_margin=model.token_margin,
    )


def _decodes_timestamps(request: TranscriptionRequest, model: ModelSettings) -> bool:
    always = model.timestamps == "always" and request.without_timestamps is None
    return always or request.timestamps


def _asked_languages(
    request: TranscriptionRequest, known: ModelInfo
) -> tuple[str | None, tuple[str, ...]]:
    """Return the language to write, None where it is to be detected, and those to detect among."""
    among = tuple(
        c for name in request.languages if (c := _known_language("languages", name, known))
    )
    language = _known_language("language", request.language, known)
    if request.language and language and among and language not in among:
        raise InvalidRequestError(
            "languages", f"languages does not hold the language asked for, {request.language!r}."
        )
    return (among[0] if len(among) == 1 else language), among


def _known_language(param: str, asked: str | None, known: ModelInfo) -> str | None:
    """Return the code of a language asked for; None where the model is to detect it."""
    if asked is None or asked.lower() == "auto":
        return None if len(known.languages) > 1 else known.languages[0]
    code = language_code(asked)
    if code not in known.languages:
        raise InvalidRequestError(
            param,
            f"The model '{known.name}' does not know the language {asked!r}. "
            f"It knows: {', '.join(known.languages)}.",
        )
    return code
