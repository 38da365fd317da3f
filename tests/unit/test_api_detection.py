import math
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from serve_app.domain import SpeechRequest, VadOptions
from serve_app.stages.assemble import NO_SPEECH
from tests.fakes import FakeService

SPEECH = "/v1/audio/speech/timestamps"
LANGUAGE = "/v1/audio/language"


def test_speech_is_a_list_of_whole_milliseconds(client: TestClient) -> None:
    answer = client.post(SPEECH, files={"file": b"x"})
    assert answer.json() == [{"start": 500, "end": 1250}, {"start": 2000, "end": 3000}]


def test_halkspeechs_defaults_are_ours(client: TestClient, service: FakeService) -> None:
    client.post(SPEECH, files={"file": b"x"}, data={"model": "silero_vad_v5"})
    vad = VadOptions(threshold=0.75, min_speech_s=0, min_silence_s=1.0, speech_pad_s=0)
    assert service.speech_request == SpeechRequest(vad=vad, max_speech_s=math.inf)


@pytest.mark.parametrize(
    ("field", "value", "changed"),
    [
        ("threshold", "0.6", {"threshold": 0.6}),
        ("neg_threshold", "0.3", {"neg_threshold": 0.3}),
        ("min_speech_duration_ms", "250", {"min_speech_s": 0.25}),
        ("min_silence_duration_ms", "300", {"min_silence_s": 0.3}),
        ("speech_pad_ms", "30", {"speech_pad_s": 0.03}),
    ],
)
def test_every_field_of_the_vad_reaches_the_service(
    field: str, value: str, changed: dict[str, float], client: TestClient, service: FakeService
) -> None:
    assert client.post(SPEECH, files={"file": b"x"}, data={field: value}).status_code == 200
    assert service.speech_request == SpeechRequest(vad=replace(SpeechRequest().vad, **changed))


@pytest.mark.parametrize(("value", "expected"), [("20", 20.0), ("inf", math.inf)])
def test_the_longest_span_reaches_the_service(
    value: str, expected: float, client: TestClient, service: FakeService
) -> None:
    client.post(SPEECH, files={"file": b"x"}, data={"max_speech_duration_s": value})
    assert service.speech_request == SpeechRequest(max_speech_s=expected)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "pyannote"),
        ("threshold", "1.5"),
        ("threshold", "nan"),
        ("neg_threshold", "-1"),
        ("min_speech_duration_ms", "-5"),
        ("max_speech_duration_s", "0"),
        ("max_speech_duration_s", "nan"),
        ("min_silence_duration_ms", "1e9"),
        ("speech_pad_ms", "much"),
    ],
)
def test_a_bad_field_of_speech_is_named_as_it_was_sent(
    field: str, value: str, client: TestClient
) -> None:
    answer = client.post(SPEECH, files={"file": b"x"}, data={field: value})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)


def test_a_language_comes_with_all_probabilities(client: TestClient, service: FakeService) -> None:
    answer = client.post(LANGUAGE, files={"file": b"x"}, data={"model": "turbo"})
    assert answer.json() == {
        "language": "turkish",
        "language_code": "tr",
        "language_probability": 0.75,
        "probabilities": {"tr": 0.75, "en": 0.25},
    }
    assert service.language_model == "turbo"


def test_no_speech_has_no_language(client: TestClient, service: FakeService) -> None:
    service.probabilities = ()
    body: dict[str, Any] = client.post(LANGUAGE, files={"file": b"x"}).json()
    assert (body["language"], body["language_code"], body["probabilities"]) == (None, None, {})
    assert body["warnings"] == [NO_SPEECH]


def test_an_unknown_field_of_language_is_named(client: TestClient) -> None:
    answer = client.post(LANGUAGE, files={"file": b"x"}, data={"colour": "red"})
    assert any("'colour'" in warning for warning in answer.json()["warnings"])


@pytest.mark.parametrize("path", [SPEECH, LANGUAGE])
def test_a_file_may_be_the_body(path: str, client: TestClient) -> None:
    answer = client.post(path, content=b"x", headers={"content-type": "audio/mpeg"})
    assert answer.status_code == 200


@pytest.mark.parametrize("path", [SPEECH, LANGUAGE])
def test_a_file_is_needed(path: str, client: TestClient) -> None:
    answer = client.post(path, files={"other": b"x"})
    assert answer.json()["error"]["code"] == "missing_required_parameter"
