"""Every figure of the model's card, for one model or for several on the same audio.

With faster-whisper as the card's readers have it: int8, one thread, default temperature fallback.
Only the times of words and what a fitted window costs are measured with this project's own engine.
"""

import os
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.embedded_models.whisper import held_out
from benchmarks.embedded_models.whisper.held_out import Clip
from benchmarks.local import LocalPipeline, embedded_workpiece
from benchmarks.results import ROOT, Bar, Report, spread
from serve_app import models, pipeline
from serve_app.domain import SAMPLE_RATE, ChunkTranscript
from serve_app.settings import EMBEDDED
from serve_app.stages.whisper.segments import TIME_PRECISION_S

RESULTS = ROOT / "benchmarks" / "results"
N_HELD_OUT, N_DIGITS, N_SILENT, N_FILES, N_FESTIVAL = 150, 100, 100, 18, 50
N_FITTED = 600  # one word more or less among 150 is 0.15 points
BY_VOICE = 10  # utterances of a voice, at least, for an error rate of its own
# Of the figure of each name, from 0 to 1, or in seconds; what this project wants of the model.
TARGETS = {
    "held-out voices, clean": 0.05,
    "held-out voices, noise at 20 dB": 0.10,
    "digits": 0.02,
    "8 utterances in a file": 0.08,
    "clips with invented text": 0.0,
    "segment start, median": 0.05,
    "segment end, median": 0.05,
    "word start, p90": 0.15,
    "real-time factor": 0.03,
    "fitted window over full": 0.005,
}


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many clips each figure is measured on, as a part of the card's."""

    share: float

    def of(self, n: int) -> int:
        """Return a number of clips."""
        return max(2, round(n * self.share))


class Evaluation:
    """Measures one model and adds a row for each figure to the report."""

    def __init__(self, model: str, report: Report, size: Size) -> None:
        from faster_whisper import BatchedInferencePipeline, WhisperModel

        self._name, self._report, self._size = Path(model).name, report, size
        self._directory = models.locate_model(model)
        self._whisper: Any = WhisperModel(
            str(self._directory), device="cpu", compute_type="int8", cpu_threads=1
        )
        self._batched: Any = BatchedInferencePipeline(self._whisper)
        self._many = held_out.utterances("held-out", size.of(N_FITTED))
        self._spoken = self._many[: size.of(N_HELD_OUT)]
        self._clean = [held_out.clip(one, np.random.default_rng(0)) for one in self._spoken]

    def run(self) -> None:
        """Measure everything."""
        self._error_rates()
        self._files()
        self._invented()
        self._times()
        self._speed()
        self._fitted()

    def _add(self, figure: str, value: float, **more: Any) -> None:
        self._report.add(model=self._name, figure=figure, value=value, **more)
        if figure in TARGETS and more.get("beam", 1) == 1:
            name = f"{self._name}: {figure}"
            self._report.hold(Bar(name=name, value=value, limit=TARGETS[figure]))

    def _error_rates(self) -> None:
        rng, size, clean = np.random.default_rng(0), self._size, self._clean
        some = len(clean) // 2

        def clips(name: str, n: int) -> list[Clip]:
            return [held_out.clip(one, rng) for one in held_out.utterances(name, size.of(n))]

        noisy = [held_out.clip(one, rng, snr_db=20) for one in self._spoken]
        digits = clips("digits", N_DIGITS)
        self._rate("held-out voices, clean", clean)
        self._rate("held-out voices, clean", clean[:some], beam=5)
        self._rate("held-out voices, noise at 20 dB", noisy)
        self._rate("held-out voices, noise at 20 dB", noisy[:some], beam=5)
        self._rate("held-out voices, no timestamps", clean[:some], without_timestamps=True)
        self._rate("training voices, new sentences", clips("seen", N_HELD_OUT // 2))
        self._rate("digits", digits)
        self._rate("digits", digits, beam=5)
        self._rate("held-out voices, wider vocabulary", clips("wide", N_HELD_OUT // 2))
        spoken = held_out.festival(size.of(N_FESTIVAL))
        if spoken:
            self._rate("Festival voices", [held_out.clip(one, rng) for one in spoken])
        else:
            self._report.note("Festival and its voices are not installed: no figure of theirs.")

    def _rate(self, figure: str, clips: Sequence[Clip], *, beam: int = 1, **options: Any) -> None:
        import jiwer

        heard = [self._text(one.samples, beam_size=beam, **options) for one in clips]
        said = [one.text for one in clips]
        by_voice: dict[str, list[int]] = defaultdict(list)
        for i, one in enumerate(clips):
            by_voice[one.voice.partition("+")[0]].append(i)
        voices = {
            voice: round(float(jiwer.wer([said[i] for i in own], [heard[i] for i in own])), 4)
            for voice, own in by_voice.items()
            if len(own) >= BY_VOICE
        }
        exact = float(np.mean([a == b for a, b in zip(said, heard, strict=True)]))
        rate = float(jiwer.wer(said, heard))
        self._add(figure, rate, beam=beam, n=len(clips), exact=exact, by_voice=voices)

    def _text(self, samples: Any, **options: Any) -> str:
        segments, _ = self._whisper.transcribe(samples, **options)
        return " ".join(segment.text.strip() for segment in segments)

    def _files(self) -> None:
        """Eight utterances in a file: whole, with the VAD, and cut at pauses into 4 s."""
        import jiwer

        rng, n = np.random.default_rng(1), held_out.N_IN_FILE
        groups = [self._spoken[i : i + n] for i in range(0, len(self._spoken) - n + 1, n)]
        files = [held_out.file_of(group, rng) for group in groups[: self._size.of(N_FILES)]]
        if not files:
            return
        cut = {"min_silence_duration_ms": 300, "speech_pad_ms": 100, "max_speech_duration_s": 6}
        for figure, transcribe, options in (
            ("8 utterances in a file", self._whisper.transcribe, {}),
            ("the same, with the VAD", self._whisper.transcribe, {"vad_filter": True}),
            (
                "the same, cut at pauses into 4 s",
                self._batched.transcribe,
                {"chunk_length": 4, "vad_parameters": cut},
            ),
        ):
            heard = []
            for one in files:
                segments, _ = transcribe(one.samples, beam_size=1, **options)
                heard.append(" ".join(segment.text.strip() for segment in segments))
            rate = float(jiwer.wer([one.text for one in files], heard))
            self._add(figure, rate, n=len(files))

    def _invented(self) -> None:
        """Clips without speech, with and without timestamps, the VAD off."""
        clips = list(held_out.without_speech(self._size.of(N_SILENT)))
        invented = {
            f"{kind} {i}{' without timestamps' * bare}": text
            for i, (kind, samples) in enumerate(clips)
            for bare in (False, True)
            if (text := self._text(samples, beam_size=1, without_timestamps=bare))
        }
        self._add("clips with invented text", len(invented), n=2 * len(clips), texts=invented)

    def _times(self) -> None:
        """How far segments are from where they are spoken, and the words of right transcripts."""
        starts, ends = [], []
        for one in self._clean:
            segments = list(self._whisper.transcribe(one.samples, beam_size=1)[0])
            if segments:
                starts.append(abs(self._written_start_s(segments[0]) - one.start_s))
                ends.append(abs(segments[-1].end - one.end_s))
        self._add_times("segment start", starts)
        self._add_times("segment end", ends)
        timed = [(one, one.words_s) for one in self._clean if one.words_s is not None]
        decoded = self._decode([one for one, _ in timed], with_words=True)
        word_starts, word_ends = [], []
        for (one, words_s), made in zip(timed, decoded, strict=True):
            words = [word for segment in made.segments for word in segment.words or ()]
            # Not "o'clock", which Whisper's rules cut at the apostrophe.
            if [word.text.strip() for word in words] == one.text.split():
                for word, (start_s, end_s) in zip(words, words_s, strict=True):
                    word_starts.append(abs(word.start_s - start_s))
                    word_ends.append(abs(word.end_s - end_s))
        self._add_times("word start", word_starts)
        self._add_times("word end", word_ends)

    def _add_times(self, edge: str, errors_s: Sequence[float]) -> None:
        if errors_s:
            self._add(f"{edge}, median", float(np.median(errors_s)), n=len(errors_s))
            self._add(f"{edge}, p90", float(np.percentile(errors_s, 90)), n=len(errors_s))

    def _written_start_s(self, segment: Any) -> float:
        """Return the first timestamp that was written.

        faster-whisper gives a window's only segment the window's start instead, whatever was
        written; serve_app does not.
        """
        steps = segment.tokens[0] - self._whisper.hf_tokenizer.token_to_id("<|0.00|>")
        return float(steps * TIME_PRECISION_S) if steps >= 0 else float(segment.start)

    def _speed(self) -> None:
        """Core time of 30 s of speech on one thread, over its length."""
        joined = np.concatenate([one.samples for one in self._clean])
        clip = np.resize(joined, 30 * SAMPLE_RATE)
        factors = []
        for _ in range(4):
            began_s = time.process_time()
            self._text(clip, beam_size=1)
            factors.append((time.process_time() - began_s) / 30)
        self._add("real-time factor", float(np.median(factors[1:])), **spread(factors[1:]))

    def _fitted(self) -> None:
        """What `encoder_window: fit` loses against the full window, in points of error rate."""
        import jiwer

        clips = [held_out.clip(one, np.random.default_rng(0)) for one in self._many]
        said = [one.text for one in clips]
        rates = {}
        for window in ("full", "fit"):
            heard = [made.text.strip() for made in self._decode(clips, window=window)]
            rates[window] = float(jiwer.wer(said, heard))
        self._add("fitted window over full", rates["fit"] - rates["full"], n=len(said), **rates)

    def _decode(
        self, clips: Sequence[Clip], *, window: str = "full", with_words: bool = False
    ) -> list[ChunkTranscript]:
        """Decode clips with this project's engine, each as a chunk of its own."""
        work = embedded_workpiece(threads=1, source=str(self._directory), encoder_window=window)
        side = LocalPipeline(work)
        options = replace(side.options, timestamps=with_words, words=with_words)
        chunks = [
            pipeline.whole_chunk((one.samples * 32767).clip(-32768, 32767).astype(np.int16))
            for one in clips
        ]
        return side.decode(chunks, options)


@click.command()
@click.argument("model", nargs=-1)
@click.option("--share", type=float, default=1.0, show_default=True, help="Of the clips.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=RESULTS)
def main(model: tuple[str, ...], share: float, out: Path) -> None:
    """Measure each MODEL, a directory or `embedded`, which is the default.

    The card's table is made of a run of `embedded` and a directory `previous`.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    command = " ".join(["python -m benchmarks.embedded_models.whisper.evaluate", *sys.argv[1:]])
    chosen = model or (EMBEDDED,)
    names = [Path(one).name for one in chosen]
    report = Report("embedded_whisper", out, {"models": names, "share": share}, command=command)
    for one in chosen:
        Evaluation(one, report, Size(share=share)).run()
    report.finish()


if __name__ == "__main__":
    main()
