"""Speed and error rate in one run: a model in this process, over files with their texts.

All files are handed over at once, as an offline job would. It is the facade of `serve_app.local`:
the graph's pipeline, gate and batches across files, without Ray and HTTP, whose cost is measured by
`graph_overhead`.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from benchmarks.corpus import CLASSES, Corpus, Recording, bundled_class, bundled_clips, read_corpus
from benchmarks.error_rate import error_rates
from benchmarks.results import Report, say, seconds, spread
from serve_app import local
from serve_app.domain import TranscriptionRequest
from serve_app.errors import TranscriptionError
from serve_app.languages import LANGUAGES
from serve_app.settings import EMBEDDED

UNASKED = ("short", "many")  # the long files take minutes on a CPU
MAX_FILES = 512  # open at once; more would fill no batch better


def _refuse_fp8(_context: click.Context, _option: click.Parameter, value: str) -> None:
    if value == "fp8":
        raise click.BadParameter(
            "CTranslate2 keeps keys and values in 16 or 32 bits only. To save memory, use "
            "--compute-type int8_float16, which quantises the weights, or a smaller "
            "--max-batch-size."
        )


OPTIONS = (
    click.Option(
        ["--demo"], is_flag=True, help="The bundled model on the bundled clips, nothing else."
    ),
    click.Option(
        ["--model"],
        default=EMBEDDED,
        show_default=True,
        help="A faster-whisper size (large-v3, large-v3-turbo), a Hugging Face id or a directory.",
    ),
    click.Option(
        ["--corpus"],
        type=click.Path(path_type=Path),
        help="A folder in LibriSpeech's layout, or a table of files and texts (TSV).",
    ),
    click.Option(
        ["--language"], type=click.Choice(list(LANGUAGES)), metavar="CODE", help="Of --corpus."
    ),
    click.Option(
        ["--class", "classes"],
        type=click.Choice(list(CLASSES)),
        multiple=True,
        help="; ".join(f"{name}: {what}" for name, what in CLASSES.items())
        + ". May be given several times.",
    ),
    click.Option(
        ["--max-batch-size", "--max-num-seqs", "max_batch_size"],
        type=click.IntRange(min=1),
        help="Chunks; by default what suits the device and its free memory.",
    ),
    click.Option(["--compute-type"], default="auto", show_default=True),
    click.Option(
        ["--kv-cache-type"],
        type=click.Choice(["auto", "fp8"]),
        default="auto",
        show_default=True,
        expose_value=False,
        callback=_refuse_fp8,
        help="fp8 is refused: CTranslate2 has none.",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What the command line asks for."""

    demo: bool = False
    model: str = EMBEDDED
    corpus: Path | None = None
    language: str | None = None
    classes: Sequence[str] = ()
    max_batch_size: int | None = None
    compute_type: str = "auto"

    def corpora(self) -> list[Corpus]:
        """Return what is to be transcribed; the bundled clips and `UNASKED` if nothing is named.

        Raises:
            click.UsageError: two of the options exclude each other.
            CorpusError: the corpus cannot be read.
        """
        if self.demo and (self.corpus or self.classes or self.model != EMBEDDED):
            raise click.UsageError("--demo names model and clips: give it alone.")
        if self.language and not self.corpus:
            raise click.UsageError("--language is that of a --corpus; what is bundled is English.")
        if self.demo:
            return [bundled_clips()]
        named = [read_corpus(self.corpus, language=self.language or "en")] if self.corpus else []
        if named or self.classes:
            return named + [bundled_class(name) for name in self.classes]
        return [bundled_clips(), *(bundled_class(name) for name in UNASKED)]


@dataclass(frozen=True, kw_only=True)
class Transcribed:
    """One file's share of the work."""

    text: str
    audio_s: float
    n_windows: int  # chunks: each is an encoder window; a further attempt is not counted again
    n_tokens: int  # of the text that was kept


def run(report: Report, *, quick: bool, **asked: Any) -> None:
    """Transcribe each corpus a few times and write the report."""
    work = Work(**asked)
    corpora = work.corpora()
    with local.load(
        work.model, compute_type=work.compute_type, batch_size=work.max_batch_size
    ) as whisper:
        for corpus in corpora:
            say(f"{corpus.name}: {len(corpus.recordings)} files")
            figures = measure(whisper, corpus, n_rounds=1 if quick else 3)
            report.add(
                model=work.model,
                device=whisper.placement.device,
                compute_type=whisper.placement.compute_type,
                max_batch_size=whisper.batch_size,
                threads=whisper.placement.n_threads,
                **figures,
            )
            click.echo(summary_line(report.rows[-1]))
    _plot(report)


def measure(whisper: local.Whisper, corpus: Corpus, *, n_rounds: int) -> dict[str, Any]:
    """Transcribe a corpus so many times; return speeds and error rates."""
    made: list[Transcribed] = []

    def transcribe() -> None:
        made[:] = transcribe_all(whisper, corpus)

    times = [seconds(transcribe) for _ in range(n_rounds)]
    rates = error_rates(corpus.texts, [one.text for one in made], language=corpus.language)
    totals = {
        "requests": len(made),
        "windows": sum(one.n_windows for one in made),
        "audio_s": sum(one.audio_s for one in made),
        "tokens": sum(one.n_tokens for one in made),
    }
    return {
        "corpus": corpus.name,
        "language": corpus.language,
        "n_files": totals["requests"],
        "n_windows": totals["windows"],
        "n_tokens": totals["tokens"],
        "audio_s": totals["audio_s"],
        "took_s": spread(times),
        **{f"{what}_per_s": spread([n / t for t in times]) for what, n in totals.items()},
        "word_error_rate": rates.words,
        "character_error_rate": rates.characters,
    }


def transcribe_all(whisper: local.Whisper, corpus: Corpus) -> list[Transcribed]:
    """Transcribe all recordings at once; they share batches.

    Raises:
        click.ClickException: one of them cannot be transcribed; says which.
    """
    request = TranscriptionRequest(language=corpus.language)

    def transcribe(recording: Recording) -> Transcribed:
        done: list[local.Progress] = []
        try:
            made = whisper.transcribe(recording.path, request, on_progress=done.append)
        except TranscriptionError as error:
            raise click.ClickException(f"{recording.path}: {error}") from error
        return Transcribed(
            text=made.text,
            audio_s=made.duration_s,
            n_windows=len(done) - 1,  # told after every chunk, and at the end
            n_tokens=sum(len(segment.tokens) for segment in made.segments),
        )

    n_open = min(len(corpus.recordings), MAX_FILES)
    with ThreadPoolExecutor(n_open) as pool:
        return list(pool.map(transcribe, corpus.recordings))


def summary_line(row: Mapping[str, Any]) -> str:
    """Return a row in the form of vLLM's offline benchmark, the word error rate in percent."""
    return (
        f"WER: {100 * row['word_error_rate']:.2f} | "
        f"throughput: {row['requests_per_s']['median']:.2f} reqs/sec | "
        f"model: {row['model']} | compute_type: {row['compute_type']} | "
        f"max_batch_size: {row['max_batch_size']}"
    )


def _plot(report: Report) -> None:
    names = [row["corpus"] for row in report.rows]
    with report.plot(n_axes=2) as (left, right):
        left.bar(names, [row["audio_s_per_s"]["median"] for row in report.rows])
        left.set_ylabel("audio seconds per second")
        right.bar(names, [100 * row["word_error_rate"] for row in report.rows], label="words")
        right.bar(
            names,
            [100 * row["character_error_rate"] for row in report.rows],
            width=0.4,
            label="characters",
        )
        right.set_ylabel("error rate, %")
        right.legend()
