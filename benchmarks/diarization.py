"""Who said what: the graph's turns against bare pyannote.audio's, and what the speakers cost.

Synthetic conversations of two and three voices, the embedded pipeline and the demo model, on CPU.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import click
import numpy as np

from benchmarks.conversations import Conversation, encode, make_conversations
from benchmarks.graph import Graph, running_graph
from benchmarks.periodic import every
from benchmarks.results import (
    Bar,
    Report,
    interleave,
    median_of_ratios,
    percentiles,
    say,
    seconds,
    spread,
)
from benchmarks.workload import speech_wav
from serve_app import models
from serve_app.domain import SAMPLE_RATE, Turn
from serve_app.stages.audio import decode_audio, to_float32
from tests.conversations import to_annotation

DURATION_S, SEED = (40.0, 70.0), 22
OPTIONS = (
    click.Option(["--files"], type=int, default=3, show_default=True, help="Conversations."),
)
ARGS: Mapping[str, Any] = {
    "models": [
        {
            **{"name": "demo", "source": "embedded", "compute_type": "int8", "max_chunk_s": 5},
            "temperatures": [0.0],  # no fallback: what it samples differs from run to run
        },
    ],
    "vad": {"min_silence_s": 0.3},
    "diarization": {"min_similarity": 0.7},
}
WORDS_PATH = "/v1/audio/transcriptions"
TURNS_PATH = "/v1/audio/diarization"
WORDS = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}

ROUNDING_S = 0.001  # of the times that are answered

MAX_ERROR_RATE = 0.15
MIN_WORD_ACCURACY = 0.85
MAX_TIME_RATIO = 1.05  # of one request with both to the sum of the two alone
N_CLIPS, CLIP_S, EVERY_S = 10, 5.0, 1.0


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One conversation as a file, and what bare pyannote.audio makes of it."""

    truth: Conversation
    wav: bytes
    bare: tuple[Turn, ...]


def run(report: Report, *, quick: bool, files: int) -> None:
    """Measure accuracy, channels and times, and write the report.

    Args:
        report: gets a row for each conversation and one for each figure over all.
        quick: two conversations.
        files: how many conversations.
    """
    n = 2 if quick else files
    say(f"making {n} conversations")
    made = make_conversations(n, seed=SEED, duration_s=DURATION_S)
    recordings = list(_run_bare(made))
    say("starting the graph")
    with running_graph(ARGS) as graph:
        _measure_accuracy(report, graph, recordings)
        _measure_channels(report, graph, [r.truth for r in recordings[::2]])
        _measure_times(report, graph, recordings[: max(1, n // 6)])
        _measure_neighbours(report, graph, recordings[0], n_rounds=max(1, n // 10))


def _run_bare(made: Sequence[Conversation]) -> Iterator[Recording]:
    """Run the same pipeline without any of this project's code around it."""
    import torch
    from pyannote.audio import Pipeline

    torch.set_num_threads(1)
    pipeline: Any = Pipeline.from_pretrained(str(models.asset("diarization-demo")))
    for truth in made:
        wav = encode(truth.mono()[None], "wav", "pcm_s16le")
        samples = to_float32(decode_audio(wav, max_s=600).samples)
        found = pipeline({"waveform": torch.from_numpy(samples)[None], "sample_rate": SAMPLE_RATE})
        tracks = found.speaker_diarization.itertracks(yield_label=True)
        turns = [
            Turn(speaker=label, start_s=span.start, end_s=min(span.end, truth.duration_s))
            for span, _, label in tracks
            if span.start < truth.duration_s
        ]
        yield Recording(truth=truth, wav=wav, bare=tuple(turns))


def _measure_accuracy(report: Report, graph: Graph, recordings: Sequence[Recording]) -> None:
    from pyannote.core import Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate

    ours, bare = DiarizationErrorRate(), DiarizationErrorRate()
    words: Counter[str] = Counter()
    n_counted_right = n_unlike_bare = 0
    for recording in recordings:
        turns = _turns(graph.post(recording.wav, {}, path=TURNS_PATH))
        truth = to_annotation(recording.truth.turns)
        whole = Timeline([Segment(0, recording.truth.duration_s)])
        error = ours(truth, to_annotation(turns), uem=whole)
        error_bare = bare(truth, to_annotation(recording.bare), uem=whole)
        n_unlike_bare += not _are_alike(turns, recording.bare)
        n_counted_right += len(truth.labels()) == len({turn.speaker for turn in turns})
        body = graph.post(recording.wav, {**WORDS, "diarize": "true"})
        names = ours.optimal_mapping(truth, to_annotation(turns))
        counts = _count_words(body["words"], names, recording.truth.turns)
        words += counts
        report.add(
            name=recording.truth.name,
            duration_s=recording.truth.duration_s,
            n_speakers=len(truth.labels()),
            error_rate=error,
            error_rate_bare=error_bare,
            words=dict(counts),
        )
    accuracy = words["right"] / max(1, words["right"] + words["wrong"])
    report.add(
        figure="accuracy",
        error_rate=abs(ours),
        error_rate_bare=abs(bare),
        n_files_unlike_bare=n_unlike_bare,
        n_speakers_counted_right=n_counted_right,
        n_files=len(recordings),
        word_speaker_accuracy=accuracy,
        words=dict(words),
    )
    report.hold(Bar(name="diarization error rate", value=abs(ours), limit=MAX_ERROR_RATE))
    report.hold(Bar(name="files unlike bare pyannote.audio", value=n_unlike_bare, limit=0))
    report.hold(
        Bar(
            name="words with the right speaker",
            value=accuracy,
            limit=MIN_WORD_ACCURACY,
            at_least=True,
        )
    )


def _turns(body: Mapping[str, Any]) -> list[Turn]:
    return [
        Turn(speaker=one["speaker"], start_s=one["start"], end_s=one["end"])
        for one in body["segments"]
    ]


def _are_alike(ours: Sequence[Turn], bare: Sequence[Turn]) -> bool:
    """Tell whether two runs found the same turns, whatever they call the speakers."""
    pairs = list(zip(ours, bare, strict=False))
    names = {(one.speaker, other.speaker) for one, other in pairs}
    return (
        len(ours) == len(bare)
        and all(
            max(abs(a.start_s - b.start_s), abs(a.end_s - b.end_s)) < ROUNDING_S for a, b in pairs
        )
        and len(names) == len({a for a, _ in names}) == len({b for _, b in names})
    )


def _count_words(
    words: Sequence[Mapping[str, Any]], names: Mapping[str, str], truth: Sequence[Turn]
) -> Counter[str]:
    """Count the words whose speaker speaks in their middle, and those whose does not.

    A word in whose middle nobody speaks is counted apart: the model heard it where nothing was
    said. In an overlap both speakers are right.
    """
    counts: Counter[str] = Counter()
    for word in words:
        middle_s = (word["start"] + word["end"]) / 2
        speaking = {turn.speaker for turn in truth if turn.start_s <= middle_s <= turn.end_s}
        if not speaking:
            counts["in_silence"] += 1
        else:
            counts["right" if names.get(word["speaker"]) in speaking else "wrong"] += 1
    return counts


def _measure_channels(report: Report, graph: Graph, made: Sequence[Conversation]) -> None:
    """Compare each channel's words in a stereo file with those of the channel as its own file."""
    n_words = n_right = 0
    for truth in made:
        stereo = encode(truth.channels, "flac", "flac")
        fields = {"response_format": "diarized_json", "multichannel": "true"}
        body = graph.post(stereo, fields)
        for channel, speaker in enumerate("AB"):
            alone = encode(truth.channels[channel : channel + 1], "flac", "flac")
            expected = graph.post(alone, WORDS)["text"].split()
            got = " ".join(s["text"] for s in body["segments"] if s["speaker"] == speaker).split()
            n_words += max(len(expected), len(got))
            n_right += sum(a == b for a, b in zip(expected, got, strict=False))
    share = n_right / max(1, n_words)
    report.add(figure="multichannel", n_files=len(made), n_words=n_words, right=share)
    report.hold(Bar(name="words of the right channel", value=share, limit=1.0, at_least=True))


def _measure_times(report: Report, graph: Graph, recordings: Sequence[Recording]) -> None:
    """Time one request with both against the two alone, one client."""
    for recording in recordings:
        took = interleave(
            {
                "both": partial(_time, graph, recording.wav, {**WORDS, "diarize": "true"}),
                "transcription": partial(_time, graph, recording.wav, WORDS),
                "diarization": partial(_time, graph, recording.wav, {}, TURNS_PATH),
            },
            n_rounds=2,
            warm_up=False,  # the accuracy was measured by the same requests
        )
        alone = [sum(pair) for pair in zip(took["transcription"], took["diarization"], strict=True)]
        report.add(
            figure="request time",
            name=recording.truth.name,
            duration_s=recording.truth.duration_s,
            **{f"{side}_s": spread(values) for side, values in took.items()},
            ratio_to_sum=median_of_ratios(took["both"], alone),
        )
    ratios = [row["ratio_to_sum"] for row in report.rows if row.get("figure") == "request time"]
    report.hold(
        Bar(
            name="time of one request to the sum of the two alone",
            value=float(np.median(ratios)),
            limit=MAX_TIME_RATIO,
        )
    )


def _time(graph: Graph, wav: bytes, fields: Mapping[str, str], path: str = WORDS_PATH) -> float:
    return seconds(lambda: graph.post(wav, fields, path=path))


def _measure_neighbours(
    report: Report, graph: Graph, recording: Recording, *, n_rounds: int
) -> None:
    """Time plain requests alone, and while one client keeps the diarizer busy."""
    clips = [speech_wav(CLIP_S, seed) for seed in range(N_CLIPS)]
    sides: dict[str, list[float]] = {"alone": [], "beside": []}
    for _ in range(n_rounds):
        sides["alone"] += _time_clips(graph, clips)
        with every(0.0, lambda: graph.post(recording.wav, {}, path=TURNS_PATH)):
            sides["beside"] += _time_clips(graph, clips)
    for side, latencies in sides.items():
        report.add(figure="plain requests", side=side, **percentiles(latencies))


def _time_clips(graph: Graph, clips: Sequence[bytes]) -> list[float]:
    """Send the clips one after the other, EVERY_S seconds apart where there is time."""
    latencies = []
    for clip in clips:
        began_s = time.monotonic()
        latencies.append(_time(graph, clip, {}))
        time.sleep(max(0.0, began_s + EVERY_S - time.monotonic()))
    return latencies
