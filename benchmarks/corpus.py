"""Speech with its reference text: a corpus on disk, the bundled clips, or files made of them.

In: a folder in LibriSpeech's layout, or a table of files and texts. Out: a `Corpus`. Called by the
benchmarks that report error rates.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from benchmarks.workload import CACHE, repeated_opus
from serve_app.domain import SAMPLE_RATE
from tests.clips import DATA, Pcm, encode, join, references

BUNDLED = DATA / "refs.tsv"
FORMAT = 1  # part of a class's cached name: raise it when its files change
PERIOD_S = 300.0  # of the speech that a long recording repeats
N_MANY = 120
MINUTES = {"short": (1.5, 3.0, 4.5), "long": (35.0, 55.0)}

# AudioDecode's three kinds of work.
CLASSES = {
    "short": "files of 1 to 5 minutes",
    "long": "files of 30 to 60 minutes",
    "many": "more than 100 files of a few seconds",
}


class CorpusError(click.ClickException):
    """A corpus that cannot be read; says which file, and what to change."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A file and what is said in it."""

    path: Path
    text: str


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Recordings in one language."""

    name: str
    language: str = "en"  # ISO 639-1
    recordings: tuple[Recording, ...]

    @property
    def texts(self) -> list[str]:
        """Return what is said in each recording."""
        return [recording.text for recording in self.recordings]


def read_corpus(path: Path, *, language: str = "en") -> Corpus:
    """Read a corpus.

    Args:
        path: a folder in LibriSpeech's layout (`*.flac` beside `*.trans.txt`, at any depth), or a
            table: a line for each file, its path and its text with a tab between. Paths are taken
            from where the table lies. Further columns, and a first line `file`, are left out.
        language: what is spoken.

    Raises:
        CorpusError: it is not there, holds nothing, or a line or a file of it is missing.
    """
    if path.is_dir():
        recordings = tuple(_librispeech(path))
        expected = "*.trans.txt beside its *.flac"
    elif path.is_file():
        recordings = tuple(_table(path))
        expected = "a line with a file, a tab and its text"
    else:
        raise CorpusError(f"There is no corpus at {path}.")
    if not recordings:
        raise CorpusError(f"{path} holds no recordings: expected {expected}.")
    return Corpus(name=path.name, language=language, recordings=recordings)


def bundled_clips() -> Corpus:
    """Return this project's synthetic clips of single words and sentences."""
    return Corpus(name="bundled clips", recordings=read_corpus(BUNDLED).recordings)


def bundled_class(name: str, *, cache: Path = CACHE) -> Corpus:
    """Return one of `CLASSES`, made of the bundled sentences and cached."""
    folder = cache / f"class-{name}-v{FORMAT}"
    if not folder.is_dir():
        unfinished = folder.with_suffix(".tmp")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        made = _many(unfinished) if name == "many" else of_minutes(unfinished, MINUTES[name])
        lines = [f"{recording.path.name}\t{recording.text}\n" for recording in made]
        (unfinished / "refs.tsv").write_text("".join(lines), encoding="utf-8")
        unfinished.rename(folder)
    return Corpus(name=name, recordings=read_corpus(folder / "refs.tsv").recordings)


def of_minutes(
    folder: Path, lengths: Sequence[float], *, period_s: float = PERIOD_S
) -> Iterator[Recording]:
    """Write a file of about each length, in minutes; beyond a period, its packets are repeated."""
    once_s = len(_sentences(seed=0)[0]) / SAMPLE_RATE
    for minutes in lengths:
        times = max(1, round(60 * minutes / period_s))
        parts = [_sentences(seed=seed) for seed in range(round(60 * minutes / times / once_s))]
        text = " ".join(text for _, text in parts)
        path = folder / f"{minutes:g}min.opus"
        path.write_bytes(repeated_opus(np.concatenate([pcm for pcm, _ in parts]), times))
        yield Recording(path=path, text=" ".join([text] * times))


def _librispeech(folder: Path) -> Iterator[Recording]:
    for transcripts in sorted(folder.rglob("*.trans.txt")):
        for number, line in _lines(transcripts):
            name, _, text = line.partition(" ")
            yield _recording(transcripts, number, f"{name}.flac", text)


def _table(path: Path) -> Iterator[Recording]:
    for number, line in _lines(path):
        name, tab, rest = line.partition("\t")
        if not tab:
            raise CorpusError(f"{path}, line {number}: there is no tab between file and text.")
        if (number, name) != (1, "file"):
            yield _recording(path, number, name, rest.partition("\t")[0])


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not empty, and their numbers from 1."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise CorpusError(f"{path} is not text in UTF-8.") from None
    for number, line in enumerate(content.split("\n"), 1):
        if line.strip():
            yield number, line


def _recording(listed_in: Path, number: int, name: str, text: str) -> Recording:
    path = listed_in.parent / name
    if not path.is_file():
        raise CorpusError(f"{listed_in}, line {number}: there is no file {path}.")
    if not text.strip():
        raise CorpusError(f"{listed_in}, line {number}: {name} has no text.")
    return Recording(path=path, text=text.strip())


def _many(folder: Path) -> Iterator[Recording]:
    """Write the files of the class `many`: one to three sentences each."""
    for i in range(N_MANY):
        pcm, text = _sentences(seed=i, n=1 + i % 3)
        path = folder / f"{i:03}.flac"
        path.write_bytes(encode(pcm, "flac", "flac"))
        yield Recording(path=path, text=text)


def _sentences(*, seed: int, n: int | None = None) -> tuple[Pcm, str]:
    """Return the bundled sentences in some order, or the first so many, and what they say.

    The digit clips are left out: Whisper's normaliser writes neighbours as one long number, in
    which one wrong digit is a wrong word.
    """
    texts = {name: text for name, text in references().items() if not name.startswith("digit")}
    names = sorted(texts)
    np.random.default_rng(seed).shuffle(names)
    chosen = names[:n]
    return join(*chosen), " ".join(texts[name] for name in chosen)
