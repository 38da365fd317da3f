import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from serve_app.domain import ResponseFormat, TranscriptionRequest, VadOptions
from tests.fakes import FakeService

PATH = "/v1/audio/transcriptions"


def test_every_field_reaches_the_service(client: TestClient, service: FakeService) -> None:
    fields = {
        "model": "demo",
        "language": "tr",
        "multilingual": "true",
        "prompt": "Ankara",
        "hotwords": "Çankaya",
        "temperature": "0.2",
        "response_format": "text",
        "timestamp_granularities[]": ["word", "segment"],
        "without_timestamps": "0",
        "beam_size": "3",
        "best_of": "2",
        "patience": "1.5",
        "length_penalty": "0.9",
        "repetition_penalty": "1.1",
        "no_repeat_ngram_size": "4",
        "max_new_tokens": "50",
        "suppress_tokens": "-1, 9",
        "condition_on_previous_text": "false",
        "vad_filter": "False",
        "vad_parameters": '{"threshold": 0.6, "min_silence_duration_ms": 500}',
        "clip_timestamps": "1,2.5",
    }
    answer = client.post(PATH, files={"file": b"abc"}, data=fields)
    assert answer.text == "3 bytes\n"
    assert service.request == TranscriptionRequest(
        model="demo",
        language="tr",
        multilingual=True,
        prompt="Ankara",
        hotwords="Çankaya",
        temperature=0.2,
        response_format=ResponseFormat.TEXT,
        segments=True,
        words=True,
        without_timestamps=False,
        beam_size=3,
        best_of=2,
        patience=1.5,
        length_penalty=0.9,
        repetition_penalty=1.1,
        no_repeat_ngram_size=4,
        max_new_tokens=50,
        suppress_tokens=(-1, 9),
        vad_filter=False,
        vad=VadOptions(threshold=0.6, min_silence_s=0.5),
        clip_timestamps=(1.0, 2.5),
    )


def test_an_absent_field_has_its_default(client: TestClient, service: FakeService) -> None:
    client.post(PATH, files={"file": b"abc"}, data={"prompt": ""})
    assert service.request == TranscriptionRequest()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("beam_size", "many"),
        ("beam_size", "0.5"),
        ("multilingual", "perhaps"),
        ("suppress_tokens", "1,x"),
        ("suppress_tokens", "-2"),
        ("suppress_tokens", "2147483648"),
        ("beam_size", "9" * 400),
        ("vad_parameters", "[1]"),
        ("vad_parameters", "{"),
        ("vad_parameters", '{"unknown": 1}'),
        ("vad_parameters", '{"threshold": "high"}'),
        ("clip_timestamps", "3,1"),
        ("condition_on_previous_text", "true"),
        ("timestamp_granularities[]", "letter"),
        ("include[]", "segments"),
        ("beam_size", "0"),
        ("max_new_tokens", "0"),
        ("max_line_width", "0"),
        ("chunking_strategy[type]", "none"),
        ("vad_parameters", '{"type": "server_vad"}'),
        ("keywords", '["\\ud800"]'),
        ("languages", '["\\ud800"]'),
        ("suppress_tokens", "11," * 20_000 + "11"),
        ("languages", "tr," * 20_000 + "tr"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(client: TestClient, field: str, value: str) -> None:
    answer = client.post(PATH, files={"file": b"abc"}, data={field: value})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == field.partition("[")[0]


def test_an_unknown_format_names_the_known_ones(client: TestClient) -> None:
    answer = client.post(PATH, files={"file": b"x"}, data={"response_format": "xml"})
    assert all(name in answer.json()["error"]["message"] for name in ResponseFormat)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"timestamp_granularities": "word"}, {"words": True}),
        ({"timestamp_granularities[]": ["word", "segment"]}, {"words": True, "segments": True}),
        ({"timestamp_granularities": "word,segment"}, {"words": True, "segments": True}),
        ({"timestamp_granularities": '["word"]'}, {"words": True}),
        ({"languages[]": ["en", "tr"]}, {"languages": ("en", "tr")}),
        ({"keywords[]": ["Ankara", "Izmir"]}, {"hotwords": "Ankara, Izmir"}),
        ({"include[]": "logprobs"}, {"logprobs": True}),
        ({"include": '["logprobs"]'}, {"logprobs": True}),
        ({"chunking_strategy": "auto"}, {}),
        (
            {"chunking_strategy[type]": "server_vad", "chunking_strategy[threshold]": "0.7"},
            *({"vad": VadOptions(threshold=0.7)},),
        ),
        (
            {"chunking_strategy": '{"type": "server_vad", "silence_duration_ms": 400}'},
            *({"vad": VadOptions(min_silence_s=0.4)},),
        ),
        ({"vad_parameters[threshold]": "0.7"}, {"vad": VadOptions(threshold=0.7)}),
        (
            {"max_line_width": "40", "max_line_count": "2"},
            {"max_line_width": 40, "max_line_count": 2},
        ),
        ({"model": ["first", "last"]}, {"model": "last"}),
        ({"model": ["first", ""]}, {"model": "first"}),
        ({"timestamp_granularities[]": ["word", ""]}, {"words": True}),
    ],
    ids=str,
)
def test_fields_are_read_as_clients_send_them(
    sent: dict[str, Any], expected: dict[str, Any], client: TestClient, service: FakeService
) -> None:
    assert client.post(PATH, files={"file": b"x"}, data=sent).status_code == 200
    assert service.request == TranscriptionRequest(**expected)


def test_an_unknown_field_is_ignored_and_named(client: TestClient) -> None:
    answer = client.post(PATH, files={"file": b"x"}, data={"priority": "1"})
    assert answer.status_code == 200
    assert any("'priority'" in warning for warning in answer.json()["warnings"])


@pytest.mark.parametrize("field", ["url"])
def test_what_is_not_available_is_refused_and_not_ignored(field: str, client: TestClient) -> None:
    answer = client.post(PATH, files={"file": b"x"}, data={field: "1"})
    assert answer.status_code == 400
    assert "not available" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("field", "value", "visible_in"),
    [
        ("timestamp_granularities[]", "word", "verbose_json"),
        ("max_line_width", "40", "srt"),
        ("max_line_count", "2", "srt"),
    ],
)
def test_a_field_that_the_format_cannot_show_is_named(
    field: str, value: str, visible_in: str, client: TestClient, service: FakeService
) -> None:
    def warnings(response_format: str) -> list[str]:
        sent = {field: value, "response_format": response_format, "stream": "true"}
        answer = client.post(PATH, files={"file": b"x"}, data=sent)
        return list(json.loads(answer.text.split("\n\n")[-3][6:]).get("warnings", []))

    [warning] = warnings("json")
    assert field.removesuffix("[]") in warning
    assert warnings(visible_in) == []


def test_log_probabilities_are_for_the_format_json(client: TestClient) -> None:
    sent = {"include[]": "logprobs", "response_format": "verbose_json"}
    error = client.post(PATH, files={"file": b"x"}, data=sent).json()["error"]
    assert (error["param"], "json" in error["message"]) == ("include", True)


def test_two_fields_that_set_the_same_are_refused(client: TestClient) -> None:
    for one, other in (("hotwords", "keywords[]"), ("vad_parameters", "chunking_strategy")):
        value = '{"threshold": 0.5}'
        answer = client.post(PATH, files={"file": b"x"}, data={one: value, other: value})
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == other.removesuffix("[]")
