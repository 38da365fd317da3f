import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
from starlette.responses import StreamingResponse
from starlette.testclient import TestClient

from serve_app.api.forms import MAX_FIELD_BYTES
from serve_app.api.health import ALIVE_PATHS, READY_PATHS
from serve_app.api.streaming import PING_S, stream_events
from serve_app.domain import (
    ResponseFormat,
    Task,
    Transcript,
    TranscriptDelta,
    TranscriptionRequest,
    VadOptions,
)
from serve_app.errors import InvalidAudioError, QueueFullError
from tests.fakes import FakeService

PATH = "/v1/audio/transcriptions"


def test_a_file_is_answered_with_its_transcript(client: TestClient) -> None:
    answer = client.post(PATH, files={"file": b"abc"})
    assert answer.status_code == 200
    assert answer.json()["text"] == "3 bytes"


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
    ],
)
def test_a_field_that_cannot_be_read_is_named(client: TestClient, field: str, value: str) -> None:
    answer = client.post(PATH, files={"file": b"abc"}, data={field: value})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == field.partition("[")[0]


@pytest.mark.parametrize(
    ("form", "code", "param"),
    [
        ({"data": {"model": "m"}}, "invalid_multipart", None),
        ({"files": {"other": b"x"}}, "missing_required_parameter", "file"),
        ({"files": {"x": b"x"}, "data": {"file": "a"}}, "missing_required_parameter", "file"),
        ({"files": {"file": b""}}, "empty_file", "file"),
        (
            {"files": {"file": b"x"}, "data": {"response_format": "xml"}},
            *("invalid_value", "response_format"),
        ),
        (
            {"files": {"file": b"x"}, "data": {"temperature": "hot"}},
            *("invalid_value", "temperature"),
        ),
        (
            {"files": {"file": b"x"}, "data": {"temperature": "NaN"}},
            *("invalid_value", "temperature"),
        ),
        ({"files": {"file": b"x", "model": b"y"}}, "invalid_value", "model"),
        (
            {"content": b"{}", "headers": {"content-type": "application/json"}},
            *("invalid_multipart", None),
        ),
        ({"content": b"", "headers": {"content-type": "audio/mpeg"}}, "empty_file", "file"),
        (
            {"content": b"no form", "headers": {"content-type": "multipart/form-data"}},
            *("invalid_multipart", None),
        ),
        (
            {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}},
            *("invalid_multipart", None),
        ),
    ],
)
def test_a_bad_form_is_refused_in_openais_shape(
    client: TestClient, form: dict[str, object], code: str, param: str | None
) -> None:
    answer = client.post(PATH, **form)  # type: ignore[arg-type]
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)


def test_an_unknown_format_names_the_known_ones(client: TestClient) -> None:
    answer = client.post(PATH, files={"file": b"x"}, data={"response_format": "xml"})
    assert all(name in answer.json()["error"]["message"] for name in ResponseFormat)


def test_the_services_error_becomes_its_status(client: TestClient, service: FakeService) -> None:
    service.error = InvalidAudioError()
    answer = client.post(PATH, files={"file": b"x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_audio")


def test_a_full_queue_says_when_to_come_back(client: TestClient, service: FakeService) -> None:
    service.error = QueueFullError()
    answer = client.post(PATH, files={"file": b"x"})
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 120


def test_an_unexpected_error_tells_nothing_and_is_not_to_be_retried(
    client: TestClient, service: FakeService
) -> None:
    service.error = ZeroDivisionError("secret detail")
    answer = client.post(PATH, files={"file": b"x"})
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert "secret" not in answer.text
    assert answer.headers["x-should-retry"] == "false"


def test_an_unknown_path_and_a_wrong_method_have_the_same_envelope(client: TestClient) -> None:
    unknown, wrong = client.get("/v1/nothing"), client.get(PATH)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "POST"


def test_health_is_up_while_ready_still_waits(client: TestClient, service: FakeService) -> None:
    service.waiting = ["WhisperTranscriber-demo"]
    assert {client.get(path).status_code for path in ALIVE_PATHS} == {200}
    answer = client.get("/ready")
    assert {client.get(path).status_code for path in READY_PATHS} == {503}
    assert answer.json()["waiting_for"] == ["WhisperTranscriber-demo"]
    assert "WhisperTranscriber-demo" in answer.json()["error"]["message"]
    service.waiting = []
    assert {client.get(path).status_code for path in READY_PATHS} == {200}


def test_a_file_may_be_the_body_with_the_fields_in_the_query(
    client: TestClient, service: FakeService
) -> None:
    answer = client.post(
        f"{PATH}?model=demo&response_format=text",
        content=b"abc",
        headers={"content-type": "audio/mpeg"},
    )
    assert answer.text == "3 bytes\n"
    assert service.request == TranscriptionRequest(
        model="demo", response_format=ResponseFormat.TEXT
    )


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


def test_the_warnings_of_a_stream_stand_in_its_end(client: TestClient) -> None:
    answer = client.post(PATH, files={"file": b"x"}, data={"priority": "1", "stream": "true"})
    done = json.loads(answer.text.split("\n\n")[-3][6:])
    assert done["type"] == "transcript.text.done"
    assert any("'priority'" in warning for warning in done["warnings"])


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


@pytest.mark.parametrize("charset", ["utf-7", "undefined", "idna", "none", "\0"])
def test_a_charset_of_any_kind_is_read_or_refused(charset: str, client: TestClient) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nx\r\n'
        b'--b\r\nContent-Disposition: form-data; name="+2AA-"\r\n\r\n+2AA-\r\n'
        b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n+2AA-\xff\r\n--b--\r\n'
    )
    form = {"content-type": f"multipart/form-data; boundary=b; charset={charset}"}
    answer = client.post(PATH, content=body, headers=form)
    assert answer.status_code in (200, 400)


def test_two_fields_that_set_the_same_are_refused(client: TestClient) -> None:
    for one, other in (("hotwords", "keywords[]"), ("vad_parameters", "chunking_strategy")):
        value = '{"threshold": 0.5}'
        answer = client.post(PATH, files={"file": b"x"}, data={one: value, other: value})
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == other.removesuffix("[]")


def test_a_field_may_be_as_large_as_a_file_in_a_url(
    client: TestClient, service: FakeService
) -> None:
    assert MAX_FIELD_BYTES == 16 * 2**20
    prompt = "x" * MAX_FIELD_BYTES
    assert client.post(PATH, files={"file": b"x"}, data={"prompt": prompt}).status_code == 200
    assert service.request == TranscriptionRequest(prompt=prompt)
    answer = client.post(PATH, files={"file": b"x"}, data={"prompt": prompt + "x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_multipart")


def test_translations_ask_for_the_other_task(client: TestClient, service: FakeService) -> None:
    client.post("/v1/audio/translations", files={"file": b"x"})
    assert service.request == TranscriptionRequest(task=Task.TRANSLATE)


def stream(client: TestClient) -> Any:
    return client.post(PATH, files={"file": b"abc"}, data={"stream": "true"})


def test_a_stream_is_typed_events_and_ends_with_done(
    client: TestClient, service: FakeService
) -> None:
    answer = stream(client)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    *events, last = [line[6:] for line in answer.text.split("\n\n") if line]
    assert [json.loads(event) for event in events] == [
        {"type": "transcript.text.delta", "delta": "one"},
        {"type": "transcript.text.delta", "delta": " two"},
        {"type": "transcript.text.done", "text": "3 bytes"},
    ]
    assert last == "[DONE]"
    assert service.closed


def test_an_error_before_the_first_event_is_an_ordinary_error(
    client: TestClient, service: FakeService
) -> None:
    service.error = InvalidAudioError()
    answer = stream(client)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_audio")


@pytest.mark.parametrize(
    ("error", "code"),
    [(QueueFullError(), "queue_full"), (ZeroDivisionError("x"), "internal_error")],
)
def test_an_error_in_a_stream_is_its_last_event(
    error: Exception, code: str, client: TestClient, service: FakeService
) -> None:
    service.error, service.fails_after = error, 1
    answer = stream(client)
    first, last = [json.loads(line[6:]) for line in answer.text.split("\n\n") if line]
    assert first["delta"] == "one"
    assert last["error"]["code"] == code
    assert service.closed


async def test_silence_is_filled_with_comments() -> None:
    async def slow() -> AsyncGenerator[TranscriptDelta | Transcript]:
        await asyncio.sleep(0.1)
        yield TranscriptDelta(text="late")
        yield Transcript(text="late", language="en", duration_s=1.0, model="m")

    assert PING_S == 15
    response = await stream_events(slow(), ping_s=0.02)
    assert isinstance(response, StreamingResponse)
    sent = [part async for part in response.body_iterator]
    assert sent[0] == ": ping\n\n"
    assert json.loads(str(sent[-1]).split("\n\n")[0][6:])["text"] == "late"


async def test_a_reader_that_goes_away_ends_the_transcription() -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncGenerator[TranscriptDelta | Transcript]:
        try:
            while True:
                yield TranscriptDelta(text="on")
                await asyncio.sleep(0.001)
        finally:
            closed.set()

    response = await stream_events(endless())
    assert isinstance(response, StreamingResponse)
    async with aclosing(response.body_iterator) as body:  # type: ignore[type-var]
        await anext(body)
    assert closed.is_set()
