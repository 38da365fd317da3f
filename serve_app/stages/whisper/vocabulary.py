"""Text to tokens and back: the prompt, what may never be written, and what a token spells.

Prompts and suppressed tokens follow faster-whisper, whose parts do what has a library.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

from serve_app.domain import MAX_TOKENS, DecodeOptions, Task

N_TIMESTAMPS = 1501  # 0 to 30 s in steps of 20 ms: the last tokens of every Whisper vocabulary

_LETTER_BYTES = 4  # of UTF-8 at the most, each of which may be a token
N_KEPT = 256  # tokenizers, and prompts


class Vocabulary:
    """The tokens of one loaded model.

    `tokenizer` returns faster-whisper's for transcripts in a language (ISO 639-1); `previous` the
    tokens before `<|startoftranscript|>` for a prompt and hotwords, cut on the left to what fits.
    """

    def __init__(self, whisper: Any) -> None:
        """Take over the tokenizer of a `faster_whisper.WhisperModel`."""
        self._whisper = whisper
        # `<|...|>` in a prompt is text that a caller typed, never a token that steers the model.
        whisper.hf_tokenizer.encode_special_tokens = True
        # Caches of this object, and without it in them: those of methods keep every model that
        # ever was loaded.
        keep = lru_cache(maxsize=N_KEPT)
        self.tokenizer: Callable[..., Any] = keep(partial(_tokenizer, whisper))
        self.previous: Callable[[str | None, str | None], tuple[int, ...]] = keep(
            partial(_previous, whisper, self.tokenizer)
        )

    @property
    def end_of_text(self) -> int:
        """Return the token that ends a transcript; every lower one is text."""
        return int(self.tokenizer().eot)

    @property
    def first_timestamp(self) -> int:
        """Return the token `<|0.00|>`; every higher one is a timestamp too."""
        return int(self.tokenizer().timestamp_begin)

    def prompt(self, options: DecodeOptions, language: str) -> list[int]:
        """Return all tokens that stand before what the model is to write."""
        tokenizer = self.tokenizer(language, options.task)
        prompt = [*self.previous(options.prompt, options.hotwords), *tokenizer.sot_sequence]
        return prompt if options.timestamps else [*prompt, tokenizer.no_timestamps]

    def room(self, options: DecodeOptions, language: str) -> int:
        """Return how many tokens the prompt leaves; its last one does not count in CTranslate2."""
        return MAX_TOKENS - (len(self.prompt(options, language)) - 1)

    def suppressed(self, asked: Sequence[int]) -> list[int]:
        """Return the tokens never to write, those of non-speech symbols in the place of -1."""
        from faster_whisper.transcribe import get_suppressed_tokens

        # CTranslate2 writes to wherever the id points: one beyond the vocabulary ends the process.
        known = [token for token in asked if token < self.first_timestamp + N_TIMESTAMPS]
        return list(get_suppressed_tokens(self.tokenizer(), known))

    def text_of(self, tokens: Sequence[int]) -> list[int]:
        """Return the tokens that are text."""
        end = self.end_of_text
        return [token for token in tokens if token < end]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return what the tokens of text among these say."""
        return str(self.tokenizer().decode(tokens))

    def whole_letters(self, tokens: list[int]) -> list[int]:
        """Return the tokens less those at the end that hold a part of a letter, as a limit cuts."""
        while tokens and self.decode(tokens[-_LETTER_BYTES:]).endswith("\N{REPLACEMENT CHARACTER}"):
            tokens = tokens[:-1]
        return tokens

    def spell(self, token: int) -> str | None:
        """Return a token of text as the vocabulary spells it; None: it is not text."""
        is_text = token < self.end_of_text
        return str(self._whisper.hf_tokenizer.id_to_token(token)) if is_text else None


def _tokenizer(whisper: Any, language: str = "en", task: Task = Task.TRANSCRIBE) -> Any:
    from faster_whisper.tokenizer import Tokenizer

    tokenizer = Tokenizer(
        whisper.hf_tokenizer, whisper.model.is_multilingual, task=task.value, language=language
    )
    if task is Task.TRANSLATE:  # by it words are told apart, and they are English
        tokenizer.language_code = "en"
    return tokenizer


def _previous(
    whisper: Any, tokenizer_for: Callable[[], Any], prompt: str | None, hotwords: str | None
) -> tuple[int, ...]:
    tokenizer = tokenizer_for()
    previous = tokenizer.encode(" " + prompt.strip()) if prompt else []
    tokens: list[int] = whisper.get_prompt(tokenizer, previous, hotwords=hotwords)
    # Hotwords and prompt may each fill half of the table: leave half of it to the transcript.
    before = tokens[: tokens.index(tokenizer.sot)]
    return (*before[:1], *before[1:][-(MAX_TOKENS // 2 - 1) :])
