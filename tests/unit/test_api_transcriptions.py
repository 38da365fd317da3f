import tempfile

import pytest
from starlette.testclient import TestClient

from serve_app.api import forms
from serve_app.api.forms import MAX_FIELD_BYTES, MAX_FILES
from serve_app.api.health import ALIVE_PATHS, READY_PATHS
from serve_app.domain import ResponseFormat, Task, TranscriptionRequest
from serve_app.errors import InvalidAudioError, QueueFullError
from tests.fakes import FakeService

PATH = "/v1/audio/transcriptions"


def test_a_file_is_answered_with_its_transcript(client: TestClient) -> None:
    answer = client.post(PATH, files={"file": b"abc"})
    assert answer.status_code == 200
    assert answer.json()["text"] == "3 bytes"


def test_a_file_of_some_megabytes_touches_no_disk(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", None)
    answer = client.post(PATH, files={"file": b"x" * 5_000_000})
    assert answer.json()["text"] == "5000000 bytes"


def test_a_file_for_which_the_disk_has_no_room_is_told_to_come_again(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_a_full_disk(**_: object) -> object:
        return open("/dev/full", "w+b", buffering=0)

    monkeypatch.setattr(tempfile, "TemporaryFile", on_a_full_disk)
    monkeypatch.setattr(forms._Parser, "spool_max_size", 1000)
    answer = client.post(PATH, files={"file": b"x" * 2000})
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "service_unavailable"
    assert "disk" in answer.json()["error"]["message"]
    assert answer.headers["retry-after"]
    assert client.post(PATH, files={"file": b"x" * 900}).status_code == 200


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


@pytest.mark.parametrize("content_type", ["audio/mpeg", "application/ogg", "application/mp4"])
def test_a_file_may_be_the_body_with_the_fields_in_the_query(
    client: TestClient, service: FakeService, content_type: str
) -> None:
    answer = client.post(
        f"{PATH}?model=demo&response_format=text",
        content=b"abc",
        headers={"content-type": content_type},
    )
    assert answer.text == "3 bytes\n"
    assert service.request == TranscriptionRequest(
        model="demo", response_format=ResponseFormat.TEXT
    )


@pytest.mark.parametrize(
    ("charset", "status"),
    [
        *((name, 400) for name in ("utf-7", "undefined", "idna", "none", "\0", "punycode")),
        *((name, 200) for name in ("UTF-8", "iso-8859-1", '"us-ascii"')),
    ],
)
def test_a_form_is_read_in_the_charsets_of_forms(
    charset: str, status: int, client: TestClient
) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nx\r\n'
        b'--b\r\nContent-Disposition: form-data; name="+2AA-"\r\n\r\n+2AA-\r\n'
        b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n+2AA-\xff\r\n--b--\r\n'
    )
    form = {"content-type": f"multipart/form-data; boundary=b; charset={charset}"}
    answer = client.post(PATH, content=body, headers=form)
    assert answer.status_code == status


def test_of_two_files_in_a_form_neither_is_taken(client: TestClient) -> None:
    answer = client.post(PATH, files=[("file", b"x"), ("file", b"y")])
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "file")
    assert "2 parts named 'file'" in error["message"]


@pytest.mark.parametrize(
    "end", ["", "\r\n", "\r\n--b", "\r\n--b\r\nContent-Disposition: form-data"]
)
def test_a_form_that_was_cut_off_is_told_so(client: TestClient, end: str) -> None:
    answer = client.post(
        PATH,
        content=f'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nx{end}',
        headers={"content-type": "multipart/form-data; boundary=b"},
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "invalid_multipart")
    assert "closing boundary" in error["message"]


def test_a_form_has_a_few_files_at_the_most(client: TestClient) -> None:
    files = [(f"other{i}", b"x") for i in range(MAX_FILES)]
    answer = client.post(PATH, files=[("file", b"x"), *files])
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_multipart")


@pytest.mark.parametrize(
    ("field", "limit"),
    [
        *(("prompt", 1_000_000), ("vad_parameters", 1_000_000)),
        *((name, 50_000) for name in ("keywords", "include", "known_speaker_names")),
        *(("timestamp_granularities[]", 50_000), ("clip_timestamps", 50_000)),
    ],
)
def test_a_field_that_would_take_long_to_read_is_refused(
    field: str, limit: int, client: TestClient
) -> None:
    def error(n: int) -> dict[str, str]:
        answer = client.post(PATH, files={"file": b"x"}, data={field: "," * n})
        return dict(answer.json().get("error", {"message": ""}))

    assert f"at most {limit} characters" in error(limit + 1)["message"]
    assert "characters" not in error(limit)["message"]


def test_a_field_may_be_as_large_as_a_file_in_a_url(client: TestClient) -> None:
    assert MAX_FIELD_BYTES == 16 * 2**20
    url = "x" * MAX_FIELD_BYTES
    sent = {"known_speaker_references": url}
    error = client.post(PATH, files={"file": b"x"}, data=sent).json()["error"]
    assert (error["code"], error["param"]) == ("invalid_value", "known_speaker_references")
    sent = {"known_speaker_references": url + "x"}
    error = client.post(PATH, files={"file": b"x"}, data=sent).json()["error"]
    assert error["code"] == "invalid_multipart"


def test_translations_ask_for_the_other_task(client: TestClient, service: FakeService) -> None:
    client.post("/v1/audio/translations", files={"file": b"x"})
    assert service.request == TranscriptionRequest(task=Task.TRANSLATE)
