"""Requests that lie about themselves: names, types, lengths, texts. Nothing of them is trusted."""

import logging

import pytest
from starlette.testclient import TestClient

from serve_app.api import create_app
from serve_app.api.forms import MAX_FIELD_BYTES
from serve_app.settings import ApiSettings
from tests.fakes import FakeService

PATH = "/v1/audio/transcriptions"
NAMES = {
    "path": "../../etc/passwd",
    "absolute": "/etc/passwd",
    "nul": "a\0.wav",
    "unicode": "\u202eogg.\u0130\U0001f600",
    "url": "http://127.0.0.1/a.m3u8",
    "64 KiB": "a" * 65_000,
    "quotes": 'a";name="model',
    "none": "",
}


def form(head: str, body: bytes = b"abc", more: str = "") -> dict[str, object]:
    content = f"--b\r\nContent-Disposition: form-data; {head}\r\n{more}\r\n".encode()
    return {
        "content": content + body + b"\r\n--b--\r\n",
        "headers": {"content-type": "multipart/form-data; boundary=b"},
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_files_name_changes_nothing(name: str, client: TestClient, service: FakeService) -> None:
    answer = client.post(PATH, files={"file": (NAMES[name], b"abc")})
    if name in ("64 KiB", "none"):  # the first is over the parser's limit, the second no file
        assert answer.status_code == 400
        assert NAMES[name][:20] not in answer.text or not NAMES[name]
    else:
        assert answer.json()["text"] == "3 bytes"
        assert NAMES[name] not in answer.text
    assert service.n_calls == (answer.status_code == 200)


@pytest.mark.parametrize(
    "content_type", ["text/html", "image/png", "application/x-mpegurl", "audio/wav", "x", "a/b; c"]
)
def test_a_files_type_changes_nothing(content_type: str, client: TestClient) -> None:
    answer = client.post(PATH, files={"file": ("f.m3u8", b"abc", content_type)})
    assert answer.json()["text"] == "3 bytes"


@pytest.mark.parametrize(
    ("head", "more"),
    [
        ('name="file"; filename="a"', "X: " + "x" * 1_000_000 + "\r\n"),
        ('name="file"; filename="a"', "X: y\r\n" * 100_000),
        ('name="' + "n" * 1_000_000 + '"', ""),
        ('filename="a"', ""),
        ("", ""),
        ('name="file"; filename="a', ""),
    ],
    ids=["1 MB header", "100,000 headers", "1 MB name", "no name", "nothing", "open quote"],
)
def test_odd_part_headers_are_refused(head: str, more: str, client: TestClient) -> None:
    answer = client.post(PATH, **form(head, more=more))  # type: ignore[arg-type]
    assert answer.status_code in (200, 400)
    assert answer.status_code == 400 or answer.json()["text"] == "3 bytes"
    assert len(answer.content) < 1000


def test_ten_thousand_fields_are_refused(client: TestClient) -> None:
    answer = client.post(PATH, files={"file": b"x"}, data={f"f{i}": "1" for i in range(10_000)})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_multipart")


def test_a_field_larger_than_any_is_refused(client: TestClient) -> None:
    data = {"prompt": "x" * (MAX_FIELD_BYTES + 1)}
    answer = client.post(PATH, files={"file": b"x"}, data=data)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_multipart")


def test_a_prompt_of_a_megabyte_is_taken(client: TestClient, service: FakeService) -> None:
    answer = client.post(PATH, files={"file": b"x"}, data={"prompt": "word " * 200_000})
    assert answer.status_code == 200
    assert service.request and service.request.prompt


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "99999999999999999999999", "nan", "٣"])
def test_a_length_that_is_none_or_too_large_is_4xx_or_not_believed(
    length: str, service: FakeService
) -> None:
    client = TestClient(create_app(service, ApiSettings(max_upload_bytes=1000)))
    headers = {"content-type": "audio/mpeg", "content-length": length.encode()}
    answer = client.post(PATH, content=b"abc", headers=headers)  # type: ignore[arg-type]
    assert answer.status_code in (200, 400, 413)
    too_long = client.post(PATH, content=b"x" * 1001, headers=headers)  # type: ignore[arg-type]
    assert too_long.status_code == 413


def test_26_mib_over_a_cap_of_25_are_413(service: FakeService) -> None:
    client = TestClient(create_app(service, ApiSettings(max_upload_bytes=25 * 2**20)))
    answer = client.post(PATH, files={"file": bytes(26 * 2**20)})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "file_too_large")
    assert service.n_calls == 0


def test_neither_audio_nor_text_nor_names_are_logged(
    client: TestClient, service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for error in (None, ZeroDivisionError("planted")):
        service.error = error
        client.post(
            PATH,
            files={"file": ("secret-name.wav", b"secret-bytes")},
            data={"prompt": "secret-prompt", "hotwords": "secret-word", "unknown": "secret-value"},
            headers={"authorization": "Bearer secret-key"},
        )
    assert service.n_calls == 2
    assert "planted" in caplog.text  # what nobody foresaw is
    assert "secret" not in caplog.text
