"""The vocabulary: 1024 byte-level pieces, and the special tokens that faster-whisper looks up.

`python -m ...tokenizer FOLDER` writes FOLDER/tokenizer.json. A model that goes on from the shipped
one keeps its file instead: its pieces spell any lower-case English.
"""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import click
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from benchmarks.embedded_models.whisper import text
from serve_app.domain import WINDOW_S

N_PIECES = 1024
N_SENTENCES = 150_000  # that the pieces are chosen by
SPECIAL = tuple(
    f"<|{name}|>"
    for name in (
        *("endoftext", "startoftranscript", "en", "translate", "transcribe", "startoflm"),
        *("startofprev", "nospeech", "notimestamps"),
    )
)
STEP_S = 0.02  # of timestamps
N_TIMESTAMPS = round(WINDOW_S / STEP_S) + 1
ALPHABET = tuple("abcdefghijklmnopqrstuvwxyz")
SPACE = "Ġ"  # a space, as byte-level pieces spell it


class SpeechTokenizer:
    """Text -> tokens as the model is trained on them, with the ids of the special tokens."""

    def __init__(self, path: Path) -> None:
        """Read a tokenizer.json.

        Raises:
            ValueError: a special token is missing.
        """
        self._tokenizer = Tokenizer.from_file(str(path))
        found = {name: self._tokenizer.token_to_id(name) for name in (*SPECIAL, "<|0.00|>", SPACE)}
        ids = {name: i for name, i in found.items() if i is not None}
        if missing := found.keys() - ids.keys():
            raise ValueError(f"{path} lacks {', '.join(sorted(missing))}")
        self.ids = ids
        self.end, self.start = ids["<|endoftext|>"], ids["<|startoftranscript|>"]
        self.previous, self.no_speech = ids["<|startofprev|>"], ids["<|nospeech|>"]
        self.no_timestamps, self.first_timestamp = ids["<|notimestamps|>"], ids["<|0.00|>"]
        self.bare_space = ids[SPACE]
        self._words: dict[str, list[int]] = {}

    @property
    def size(self) -> int:
        """Return how many tokens there are."""
        return int(self._tokenizer.get_vocab_size())

    def timestamp(self, at_s: float) -> int:
        """Return the token of a time in the window."""
        step = min(N_TIMESTAMPS - 1, max(0, round(at_s / STEP_S)))
        return self.first_timestamp + step

    def encode(self, word: str) -> list[int]:
        """Return the tokens of a word and the space before it, none of which is the bare space.

        faster-whisper suppresses the bare space, which begins its non-speech symbols. A word that
        would begin with it is split after its first letter: " end" is " e" and "nd".
        """
        if word not in self._words:
            made = self._tokenizer.encode(f" {word}", add_special_tokens=False).ids
            if made[0] == self.bare_space:
                parts = (f" {word[0]}", word[1:])
                made = [i for part in parts for i in self._tokenizer.encode(part).ids]
            self._words[word] = made
        return self._words[word]

    def decode(self, tokens: list[int]) -> str:
        """Return the text of tokens, without special ones and times."""
        return str(self._tokenizer.decode(tokens))


def train(path: Path, *, n_sentences: int = N_SENTENCES) -> None:
    """Choose the pieces by what the grammar says, and write a tokenizer.json."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=N_PIECES,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[],
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(n_sentences), trainer)
    names = [*SPECIAL, *(f"<|{i * STEP_S:.2f}|>" for i in range(N_TIMESTAMPS))]
    tokenizer.add_special_tokens([AddedToken(n, special=True, normalized=False) for n in names])
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))


def _corpus(n_sentences: int) -> Iterator[str]:
    """Yield sentences, every word some times, and single letters, so that any word can begin."""
    rng, grammar = Random(0), text.read_grammar(wide=True)
    for _ in range(n_sentences):
        yield f" {grammar.utterance(rng)}"
    for times, words in ((n_sentences // 5000, grammar.words), (n_sentences // 50, ALPHABET)):
        for word in words:
            yield from [f" {word}"] * times


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def main(folder: Path) -> None:
    """Write FOLDER/tokenizer.json."""
    train(folder / "tokenizer.json")
    tokenizer = SpeechTokenizer(folder / "tokenizer.json")
    words = text.read_grammar(wide=True).words
    spelt = [len(tokenizer.encode(part)) for word in words for part in word.split()]
    click.echo(f"{tokenizer.size} tokens; {sum(spelt) / len(spelt):.2f} for a word of the grammar")


if __name__ == "__main__":
    main()
