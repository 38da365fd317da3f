"""What the voices say: grammar.txt -> sentences, lower case, words for numbers, no punctuation.

`python -m benchmarks.embedded_models.whisper.text` prints some.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from random import Random

import click

from benchmarks.embedded_models.whisper import numbers

GRAMMAR = Path(__file__).with_name("grammar.txt")
N_WORDS = (2, 7)  # of random words in a row
P_SINGLE_DIGIT = 0.45  # of single words
MADE = frozenset({"clock", "date", "year", "digits", "small", "number", "word", "words"})

_CHOICE = re.compile(r"\(([^()]*)\)")
_NAME = re.compile(r"<(\w+)>")
_LINE = re.compile(r"(\w+) ([=+>]) (.+?)(?: \* (\d+))?$")


@dataclass(frozen=True, kw_only=True)
class Grammar:
    """Word lists, and the forms of each sentence."""

    lists: dict[str, tuple[str, ...]]
    forms: dict[str, tuple[str, ...]]  # one that is likelier stands there more than once
    words: tuple[str, ...]  # of all lists

    def utterance(self, rng: Random) -> str:
        """Return something to say."""
        return self.draw("utterance", rng)

    def draw(self, name: str, rng: Random) -> str:
        """Return a word of that list, or a sentence of that name."""
        if name in MADE:
            return self._make(name, rng)
        if name in self.lists:
            return rng.choice(self.lists[name])
        form = rng.choice(self.forms[name])
        while "(" in form:  # the innermost choices first
            form = _CHOICE.sub(lambda found: rng.choice(found[1].split("|")), form)
        said = " ".join(_NAME.sub(lambda found: self.draw(found[1], rng), form).split())
        return re.sub(r"\ba (?=[aeio](?!ne\b))", "an ", said)

    def _make(self, name: str, rng: Random) -> str:
        if name == "word":
            single = rng.random() < P_SINGLE_DIGIT
            return rng.choice(numbers.DIGITS if single else self.words)
        if name == "words":
            return " ".join(rng.choices(self.words, k=rng.randint(*N_WORDS)))
        if name == "date":
            return numbers.date(rng, self.lists["month"], self.lists["day"])
        made: str = getattr(numbers, name)(rng)
        return made


def read_grammar(*, wide: bool) -> Grammar:
    """Return the grammar.

    Args:
        wide: with the words of the `+` lines; without them it is the one of the model's card.

    Raises:
        ValueError: a line is none of the three kinds, or names what does not exist.
    """
    lists: dict[str, tuple[str, ...]] = {}
    forms: dict[str, tuple[str, ...]] = {}
    for line in _logical_lines(GRAMMAR.read_text()):
        found = _LINE.fullmatch(line)
        if not found:
            raise ValueError(f"{GRAMMAR.name}: {line!r}")
        name, kind, content, times = found.groups()
        if kind == ">":
            forms[name] = forms.get(name, ()) + (content,) * int(times or 1)
        elif kind == "=" or wide:
            words = tuple(word.replace("_", " ") for word in content.split())
            lists[name] = lists.get(name, ()) + words
    used = {name for content in forms.values() for form in content for name in _NAME.findall(form)}
    if unknown := used - lists.keys() - forms.keys() - MADE:
        raise ValueError(f"{GRAMMAR.name} names {', '.join(sorted(unknown))}")
    numerals = (*numbers.DIGITS, *numbers.TEENS, *numbers.TENS, *numbers.ORDINALS)
    said = {word for words in lists.values() for phrase in words for word in phrase.split()}
    return Grammar(lists=lists, forms=forms, words=tuple(sorted(said | set(numerals))))


def _logical_lines(text: str) -> list[str]:
    """Return the lines that say something; an indented one goes on with the line before it."""
    joined = re.sub(r"\n +", " ", text)
    return [line for line in joined.splitlines() if line and not line.startswith("#")]


@click.command()
@click.option("--n", type=int, default=20, show_default=True)
@click.option("--wide/--narrow", default=True, show_default=True)
def main(n: int, wide: bool) -> None:
    """Print N utterances."""
    rng, grammar = Random(0), read_grammar(wide=wide)
    click.echo(f"{len(grammar.words)} words")
    for _ in range(n):
        click.echo(grammar.utterance(rng))


if __name__ == "__main__":
    main()
