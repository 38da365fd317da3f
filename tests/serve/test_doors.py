"""One table of cases through the four doors: HTTP, a handle, the local facade, the command line.

What they answer is the same text, byte for byte, or the same error code.
"""

import io
import re
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from serve_app import Transcript, TranscriptionError, local
from serve_app.api.fields import read_fields
from serve_app.api.forms import group_fields
from serve_app.cli import main
from serve_app.domain import SAMPLE_RATE, Task, TranscriptionRequest
from serve_app.stages.render import render
from tests.clips import DATA, Pcm, clip, encode, join, silence, speech
from tests.serve.conftest import TIMEOUT_S, Graph

Pair = tuple[str, str]
LIGHT = (DATA / "light.flac").read_bytes()


@dataclass(frozen=True)
class Case:
    """What is sent, and the code of the error where there is to be one."""

    audio: bytes
    fields: tuple[Pair, ...] = ()
    code: str = ""


def _words(**fields: str) -> tuple[Pair, ...]:
    return tuple(fields.items())


def _flac(pcm: Pcm) -> bytes:
    return encode(pcm, "flac", "flac")


def _stereo(left: Pcm, right: Pcm) -> bytes:
    """Put two clips into the channels of a WAV file. Both are understood without a fallback."""
    n = max(len(left), len(right))
    channels = [np.pad(one, (0, n - len(one))) for one in (left, right)]
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((2, 2, SAMPLE_RATE, n, "NONE", "not compressed"))
        file.writeframes(np.stack(channels, axis=1).tobytes())
    return buffer.getvalue()


CASES = {
    "json": Case(LIGHT),
    "text": Case(LIGHT, _words(response_format="text")),
    "srt": Case(LIGHT, _words(response_format="srt")),
    "vtt": Case(_flac(join("light", "timer")), _words(response_format="vtt")),
    "verbose": Case(LIGHT, _words(response_format="verbose_json")),
    "words": Case(
        LIGHT, _words(response_format="verbose_json", timestamp_granularities="word,segment")
    ),
    "lines": Case(
        _flac(join("light", "timer")),
        _words(response_format="srt", max_line_width="12", max_line_count="2"),
    ),
    "logprobs": Case(LIGHT, _words(include="logprobs")),
    "two-chunks": Case(_flac(speech(12)), _words(response_format="text")),
    "video-container": Case(encode(clip("train"), "mp4", "aac"), _words(response_format="text")),
    "silence": Case(_flac(silence(2.0))),
    "no-vad": Case(LIGHT, _words(vad_filter="false", response_format="text")),
    "clip": Case(_flac(join("light", "timer")), _words(clip_timestamps="0,1.2")),
    "beam": Case(LIGHT, _words(beam_size="4", response_format="verbose_json")),
    "prompt": Case(LIGHT, _words(prompt="lamps", response_format="text")),
    "hotwords": Case(LIGHT, _words(hotwords="lamps", response_format="text")),
    "few-tokens": Case(LIGHT, _words(max_new_tokens="2", response_format="text")),
    "language": Case(LIGHT, _words(language="english", response_format="verbose_json")),
    "truncated": Case(encode(speech(10))[:100_000], _words(response_format="text")),
    "empty-file": Case(b"", (), "empty_file"),
    "no-audio": Case(b"these are words, not sounds", (), "invalid_audio"),
    "random": Case(np.random.default_rng(0).bytes(5000), (), "invalid_audio"),
    "too-short": Case(encode(clip("light")[:1000]), (), "audio_too_short"),
    "format": Case(LIGHT, _words(response_format="xml"), "invalid_value"),
    "beam-range": Case(LIGHT, _words(beam_size="99"), "invalid_value"),
    "unknown-language": Case(LIGHT, _words(language="tr"), "invalid_value"),
    "temperature": Case(LIGHT, _words(temperature="two"), "invalid_value"),
    "twice": Case(LIGHT, _words(hotwords="a", keywords="b"), "invalid_value"),
    "channels": Case(
        _stereo(clip("light"), clip("timer")),
        _words(multichannel="true", response_format="diarized_json"),
    ),
    "speaker-counts": Case(LIGHT, _words(num_speakers="2"), "invalid_value"),
    "model": Case(LIGHT, _words(model="none"), "model_not_found"),
}


@pytest.fixture(scope="module")
def whisper() -> Iterator[local.Whisper]:
    with local.load("embedded") as loaded:
        yield loaded


def _http(case: Case, graph: Graph) -> str:
    answer = graph.post(case.audio, **dict(case.fields))
    return answer.text if answer.ok else str(answer.json()["error"]["code"])


def _request(case: Case) -> TranscriptionRequest:
    return read_fields(group_fields(case.fields), Task.TRANSCRIBE).request


def _handle(case: Case, graph: Graph) -> str:
    try:
        request = _request(case)
        made: Transcript = graph.handle.transcribe.remote(case.audio, request).result(
            timeout_s=TIMEOUT_S
        )
        return render(made, request).content
    except TranscriptionError as error:
        return error.code


def _facade(case: Case, whisper: local.Whisper) -> str:
    try:
        request = _request(case)
        return render(whisper.transcribe(case.audio, request), request).content
    except TranscriptionError as error:
        return error.code


def _command(case: Case, folder: Path, *options: str) -> str:
    path = folder / "clip"
    path.write_bytes(case.audio)
    words = ["transcribe", str(path), "-o", str(folder / "out"), *options]
    fields = {"response_format": "json", **dict(case.fields)}
    words += ["--response-format", fields.pop("response_format")]
    words += [word for pair in fields.items() for word in ("--field", "=".join(pair))]
    answer = CliRunner().invoke(main, words)
    if answer.exit_code:
        [*_, code] = re.findall(r"\((\w+)\)\.?$", answer.stderr, re.MULTILINE)
        return str(code)
    [made] = (folder / "out").iterdir()
    return made.read_text()


@pytest.mark.usefixtures("one_blas_thread")
@pytest.mark.parametrize("name", CASES)
def test_every_door_answers_alike(
    name: str, graph: Graph, whisper: local.Whisper, tmp_path: Path
) -> None:
    case = CASES[name]
    expected = _http(case, graph)
    if case.code:
        assert expected == case.code
    answers = {
        "handle": _handle(case, graph),
        "facade": _facade(case, whisper),
        "command": _command(case, tmp_path, "-m", "embedded"),
    }
    assert answers == dict.fromkeys(answers, expected)


@pytest.mark.parametrize("name", ["words", "two-chunks", "no-audio", "unknown-language"])
def test_the_command_line_passes_on_what_a_server_answers(
    name: str, graph: Graph, tmp_path: Path
) -> None:
    assert _command(CASES[name], tmp_path, "--url", graph.url) == _http(CASES[name], graph)


def test_the_table_is_long_enough_and_has_errors() -> None:
    assert len(CASES) >= 20
    assert len({case.code for case in CASES.values()}) >= 5
