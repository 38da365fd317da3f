import threading
from typing import Any

import pytest
from starlette.testclient import TestClient

from serve_app.api.diarization import _FIELDS as SPEAKER_TABLE
from serve_app.api.fields import FIELDS, Asked, read_fields
from serve_app.api.forms import group_fields
from serve_app.api.readers import Field, Sent
from serve_app.domain import ResponseFormat, Task, TranscriptionRequest, VadChanges
from serve_app.errors import InvalidRequestError
from tests.fakes import FakeService

PATH = "/v1/audio/transcriptions"


def test_every_field_reaches_the_service(client: TestClient, service: FakeService) -> None:
    fields = {
        "model": "demo",
        "language": "auto",
        "multilingual": "true",
        "prompt": "Ankara",
        "hotwords": "Çankaya",
        "temperature": "0.2",
        "response_format": "verbose_json",
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
        "clip_timestamps": "1,2.5",
    }
    answer = client.post(PATH, files={"file": b"abc"}, data=fields)
    assert answer.json()["text"] == "3 bytes"
    assert service.request == TranscriptionRequest(
        model="demo",
        language="auto",
        multilingual=True,
        prompt="Ankara",
        hotwords="Çankaya",
        temperature=0.2,
        response_format=ResponseFormat.VERBOSE_JSON,
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
        ("vad_parameters", '{"threshold": 1}'),
        ("chunking_strategy[threshold]", "1.1"),
        ("chunking_strategy[threshold]", "nan"),
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
        ({"languages[]": ["en", "tr"]}, {"languages": ("en", "tr")}),
        ({"keywords[]": ["Ankara", "Izmir"]}, {"hotwords": "Ankara, Izmir"}),
        ({"include[]": "logprobs"}, {"logprobs": True}),
        ({"include": '["logprobs"]'}, {"logprobs": True}),
        ({"chunking_strategy": "auto"}, {}),
        (
            {"chunking_strategy[type]": "server_vad", "chunking_strategy[threshold]": "0.7"},
            *({"vad": VadChanges(threshold=0.7)},),
        ),
        (
            {"chunking_strategy": '{"type": "server_vad", "silence_duration_ms": 400}'},
            *({"vad": VadChanges(min_silence_s=0.4)},),
        ),
        ({"language": "tr"}, {"language": "tr"}),
        (
            {"vad_parameters": '{"threshold": 0.6, "min_silence_duration_ms": 500}'},
            *({"vad": VadChanges(threshold=0.6, min_silence_s=0.5)},),
        ),
        ({"vad_parameters[threshold]": "0.7"}, {"vad": VadChanges(threshold=0.7)}),
        (
            {"vad_parameters": '{"threshold": 0.7, "speech_pad_ms": null}'},
            *({"vad": VadChanges(threshold=0.7)},),
        ),
        ({"vad_parameters": '{"threshold": null}'}, {}),
        (
            {"chunking_strategy[type]": "server_vad", "chunking_strategy[threshold]": "0.0"},
            *({"vad": VadChanges(threshold=0.01)},),
        ),
        ({"chunking_strategy": '{"threshold": 1}'}, {"vad": VadChanges(threshold=0.99)}),
        ({"multilingual": "on"}, {"multilingual": True}),
        ({"vad_filter": "OFF"}, {"vad_filter": False}),
        (
            {"max_line_width": "40", "max_line_count": "2", "response_format": "srt"},
            {"max_line_width": 40, "max_line_count": 2, "response_format": ResponseFormat.SRT},
        ),
        ({"model": ["first", "last"]}, {"model": "last"}),
        ({"model": ["first", ""]}, {"model": "first"}),
    ],
    ids=str,
)
def test_fields_are_read_as_clients_send_them(
    sent: dict[str, Any], expected: dict[str, Any], client: TestClient, service: FakeService
) -> None:
    assert client.post(PATH, files={"file": b"x"}, data=sent).status_code == 200
    assert service.request == TranscriptionRequest(**expected)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"timestamp_granularities": "word"}, {"words": True}),
        ({"timestamp_granularities[]": ["word", "segment"]}, {"words": True, "segments": True}),
        ({"timestamp_granularities": "word,segment"}, {"words": True, "segments": True}),
        ({"timestamp_granularities": '["word"]'}, {"words": True}),
        ({"timestamp_granularities[]": ["word", ""]}, {"words": True}),
    ],
    ids=str,
)
def test_granularities_are_read_as_clients_send_them(
    sent: dict[str, Any], expected: dict[str, Any], client: TestClient, service: FakeService
) -> None:
    form = {**sent, "response_format": "verbose_json"}
    assert client.post(PATH, files={"file": b"x"}, data=form).status_code == 200
    expected = {**expected, "response_format": ResponseFormat.VERBOSE_JSON}
    assert service.request == TranscriptionRequest(**expected)


@pytest.mark.parametrize(
    ("path", "table"),
    [(PATH, FIELDS), ("/v1/audio/diarization", SPEAKER_TABLE)],
    ids=["transcriptions", "diarization"],
)
def test_fields_are_read_once_and_beside_the_loop(
    client: TestClient, path: str, table: dict[str, Field], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []

    def read(name: str, values: Sent) -> dict[str, Any]:
        threads.append(threading.current_thread().name)
        return {}

    monkeypatch.setitem(table, "num_speakers", Field(read=read, description=""))
    sent = {"num_speakers": "2"}
    if path == PATH:  # where something has no effect, the others are not read again
        sent["max_line_width"] = "40"
    assert client.post(path, files={"file": b"x"}, data=sent).status_code == 200
    assert [name.startswith("serve_app answers") for name in threads] == [True]


def test_an_unknown_field_is_ignored_and_named(client: TestClient) -> None:
    answer = client.post(PATH, files={"file": b"x"}, data={"priority": "1"})
    assert answer.status_code == 200
    assert any("'priority'" in warning for warning in answer.json()["warnings"])


@pytest.mark.parametrize("field", ["url"])
def test_what_is_not_available_is_refused_and_not_ignored(field: str, client: TestClient) -> None:
    answer = client.post(PATH, files={"file": b"x"}, data={field: "1"})
    assert answer.status_code == 400
    assert "not available" in answer.json()["error"]["message"]


def read(**sent: str) -> Asked:
    return read_fields(group_fields(list(sent.items())), Task.TRANSCRIBE)


@pytest.mark.parametrize(
    ("field", "value", "visible_in"),
    [
        ("timestamp_granularities", "word", "verbose_json"),
        ("max_line_width", "40", "srt"),
        ("max_line_count", "2", "srt"),
    ],
)
def test_a_field_that_the_answer_cannot_show_is_named_and_costs_nothing(
    field: str, value: str, visible_in: str
) -> None:
    width = {"max_line_width": "40"} if field == "max_line_count" else {}
    for hidden in ({"response_format": "json"}, {"stream": "true"}):
        asked = read(**{field: value}, **width, **hidden)
        assert any(warning.startswith(f"no_effect: {field} ") for warning in asked.warnings)
        assert not asked.request.needs_words
        assert not asked.request.timestamps
    shown = read(**{field: value}, **width, response_format=visible_in)
    assert shown.warnings == ()
    assert shown.request.needs_words


def test_a_stream_of_a_format_with_times_is_a_stream_of_text() -> None:
    asked = read(response_format="verbose_json", stream="true")
    assert asked.warnings == ("no_effect: response_format changes nothing with stream",)
    assert not asked.request.timestamps
    assert read(response_format="diarized_json", stream="true").request.has_speakers


def test_a_number_of_lines_needs_their_width() -> None:
    asked = read(max_line_count="2", response_format="srt")
    assert asked.warnings == ("no_effect: max_line_count changes nothing with no max_line_width",)
    assert not asked.request.needs_words


@pytest.mark.parametrize(
    ("sent", "name", "why"),
    [
        ({"vad_filter": "false"}, "vad_parameters", "vad_filter=false"),
        ({"clip_timestamps": "1,2"}, "vad_parameters", "clip_timestamps"),
        ({"vad_filter": "false"}, "chunking_strategy", "vad_filter=false"),
        ({"language": "en"}, "multilingual", "language"),
    ],
)
def test_a_field_that_another_one_makes_idle_is_named_and_left_out(
    sent: dict[str, str], name: str, why: str
) -> None:
    value = "true" if name == "multilingual" else '{"threshold": 0.3}'
    asked = read(**sent, **{name: value})
    assert asked.warnings == (f"no_effect: {name} changes nothing with {why}",)
    assert (asked.request.vad, asked.request.multilingual) == (None, False)


def test_a_field_that_no_other_one_makes_idle_is_not_named() -> None:
    assert not read(chunking_strategy="auto", vad_filter="false").warnings
    assert not read(vad_parameters='{"threshold": 0.3}').warnings
    assert not read(multilingual="true", language="auto").warnings


def test_what_is_wrong_with_the_vad_is_told_by_the_names_that_were_sent() -> None:
    with pytest.raises(InvalidRequestError, match="min_silence_duration_ms") as caught:
        read(vad_parameters='{"min_silence_duration_ms": 90000}')
    assert caught.value.param == "vad_parameters"


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
