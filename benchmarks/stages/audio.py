"""The stages beside the model: decode, VAD, diarize, and what makes an answer of the chunks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks.local import LocalPipeline, embedded_workpiece
from benchmarks.results import Report
from benchmarks.stages.cost import Point, add_cost, core_seconds
from benchmarks.workload import speech_opus, speech_wav
from serve_app import pipeline
from serve_app.domain import (
    SAMPLE_RATE,
    Chunk,
    ChunkTranscript,
    DecodedSlice,
    ResponseFormat,
    TranscriptionRequest,
    VadOptions,
)
from serve_app.errors import ModelLoadError
from serve_app.settings import AudioSettings, DiarizationSettings
from serve_app.speakers import load_model
from serve_app.stages.audio import decode_audio, to_float32
from serve_app.stages.render import render
from serve_app.stages.vad import SpeechDetector
from tests.clips import Pcm, encode, speech
from tests.conversations import recording

CLIP_S = 30.0
ROUNDS = 5
LONG_S = 1000.0  # what is longer is measured once

FORMATS: Mapping[str, Callable[[float], bytes]] = {
    "wav": speech_wav,
    "flac": lambda length_s: encode(speech(length_s), "flac", "flac"),
    "mp3": lambda length_s: encode(speech(length_s), "mp3", "libmp3lame"),
    "opus": speech_opus,
}
ANSWERS: Mapping[str, TranscriptionRequest] = {
    "json": TranscriptionRequest(language="en"),
    "verbose_json, words": TranscriptionRequest(
        language="en", response_format=ResponseFormat.VERBOSE_JSON, segments=True, words=True
    ),
}


def measure_decode(report: Report, file_lengths_s: Sequence[float]) -> None:
    """Measure every format as a clip, and Opus as a file of these lengths."""
    files = [(of, "clip_s", CLIP_S, make(CLIP_S)) for of, make in FORMATS.items()]
    files += [("opus", "file_s", length_s, speech_opus(length_s)) for length_s in file_lengths_s]
    for of, axis, length_s, file in files:
        point = Point(stage="decode", of=of, axis=axis, at=length_s)
        work = partial(_decode, file)
        costs = [core_seconds(work) / length_s for _ in range(_rounds(length_s))]
        add_cost(report, point, costs)


def _decode(file: bytes) -> None:
    for _ in _slices(file):
        pass


def _slices(file: bytes) -> Iterator[DecodedSlice]:
    """Decode a file as an AudioPreprocessor does: one slice per call, found by its cursor."""
    lengths = AudioSettings()
    piece = decode_audio(file, max_s=lengths.first_slice_s)
    yield piece
    while not piece.is_last:
        piece = decode_audio(file, piece.cursor_at(piece.end_s), max_s=lengths.slice_s)
        yield piece


def measure_vad(report: Report) -> None:
    """Measure slices of the lengths that the graph makes; longer files are more of them."""
    lengths = AudioSettings()
    detector = SpeechDetector()
    for slice_s in (5.0, CLIP_S, lengths.first_slice_s, lengths.slice_s):
        samples = to_float32(speech(slice_s))
        find = partial(detector.find_speech, samples, VadOptions(), max_span_s=CLIP_S)
        find()
        costs = [core_seconds(find) / slice_s for _ in range(ROUNDS)]
        add_cost(report, Point(stage="VAD", of="speech", axis="slice_s", at=slice_s), costs)


def measure_diarize(report: Report, lengths_s: Sequence[float]) -> None:
    """Measure the embedded pipeline on a conversation of three voices, repeated."""
    try:
        model = load_model(DiarizationSettings(device="cpu"), n_cores=1)
    except ModelLoadError as error:
        report.note(f"diarize was left out: {error}")
        return
    three = decode_audio(recording("three"), max_s=CLIP_S).samples
    for length_s in lengths_s:
        n = round(length_s * SAMPLE_RATE)
        samples = to_float32(np.tile(three, n // len(three) + 1)[:n])
        cost = core_seconds(partial(model.find_speakers, samples)) / length_s
        point = Point(stage="diarize", of="embedded pipeline", axis="file_s", at=length_s)
        add_cost(report, point, [cost])


def measure_render(report: Report, file_lengths_s: Sequence[float]) -> None:
    """Measure how chunks become an answer, with a minute's chunks repeated to these lengths."""
    period_s = 60.0
    local = LocalPipeline(embedded_workpiece(threads=1))
    minute = _decoded(local, speech(period_s))
    for length_s in file_lengths_s:
        chunks = [
            (_moved(chunk, i * period_s), made)
            for i in range(round(length_s / period_s))
            for chunk, made in minute
        ]
        for of, request in ANSWERS.items():
            work = partial(_answer, chunks, request, length_s)
            costs = [core_seconds(work) / length_s for _ in range(_rounds(length_s))]
            add_cost(report, Point(stage="render", of=of, axis="file_s", at=length_s), costs)


def _decoded(local: LocalPipeline, pcm: Pcm) -> list[tuple[Chunk, ChunkTranscript]]:
    chunks, _ = local.prepare(encode(pcm))
    made = local.decode(chunks, replace(local.options, timestamps=True, words=True))
    return list(zip(chunks, made, strict=True))


def _moved(chunk: Chunk, by_s: float) -> Chunk:
    spans = tuple(
        replace(span, start_s=span.start_s + by_s, end_s=span.end_s + by_s) for span in chunk.spans
    )
    return replace(chunk, spans=spans)


def _answer(
    chunks: Sequence[tuple[Chunk, ChunkTranscript]], request: TranscriptionRequest, length_s: float
) -> None:
    spoken = [(chunk.spans, transcript) for chunk, transcript in chunks]
    made = pipeline.finish(spoken, request, duration_s=length_s, model="demo")
    render(made, request)


def _rounds(length_s: float) -> int:
    return ROUNDS if length_s < LONG_S else 1
