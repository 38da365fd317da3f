"""Who may call from where, how much, and what every answer carries."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator

import httpx2
import pytest
from starlette.testclient import TestClient
from starlette.types import Message

from serve_app.api import create_app
from serve_app.settings import ApiSettings
from tests.fakes import FakeService

PATH = "/v1/audio/transcriptions"
AUDIO = {"content-type": "audio/mpeg"}


@pytest.fixture
def small(service: FakeService) -> TestClient:
    return TestClient(create_app(service, ApiSettings(max_upload_bytes=1000)))


def pieces(n: int) -> Iterator[bytes]:
    """A body whose length is not told ahead."""
    for _ in range(n):
        yield b"x" * 100


async def in_pieces(n: int) -> AsyncGenerator[bytes]:
    for piece in pieces(n):
        yield piece


def test_a_body_as_large_as_allowed_is_taken(small: TestClient) -> None:
    assert small.post(PATH, content=b"x" * 1000, headers=AUDIO).status_code == 200
    assert small.post(PATH, content=pieces(10), headers=AUDIO).status_code == 200


def test_a_larger_body_is_refused_by_its_length_or_while_it_is_read(
    small: TestClient, service: FakeService
) -> None:
    for answer in (
        small.post(PATH, content=b"x" * 1001, headers=AUDIO),
        small.post(PATH, content=pieces(11), headers=AUDIO),
        small.post(PATH, files={"file": b"x" * 1001}),
        small.post(PATH, content=b"x", headers={**AUDIO, "content-length": "9" * 5000}),
    ):
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (
            *(413, "file_too_large", "file"),
        )
        assert "1000 bytes" in error["message"]
    assert service.n_calls == 0


def test_a_form_without_a_length_is_refused_while_it_is_read(small: TestClient) -> None:
    def form() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        yield from pieces(11)
        yield b"\r\n--b--\r\n"

    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = small.post(PATH, content=form(), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "file_too_large")


async def test_a_body_that_stops_coming_is_answered_and_its_client_told_not_to_retry(
    service: FakeService,
) -> None:
    app = create_app(service, ApiSettings(upload_timeout_s=0.1))
    sent: list[Message] = []
    messages = iter([{"type": "http.request", "body": b"x", "more_body": True}])

    async def receive() -> Message:
        if message := next(messages, None):
            return message
        return await asyncio.Future()  # never

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"content-type", b"audio/mpeg"), (b"content-length", b"100")]
    scope = {
        **{"type": "http", "method": "POST", "path": PATH, "raw_path": PATH.encode()},
        **{"headers": headers, "query_string": b"", "http_version": "1.1", "scheme": "http"},
    }
    await asyncio.wait_for(app(scope, receive, send), 5)
    assert sent[0]["status"] == 408
    assert (b"x-should-retry", b"false") in sent[0]["headers"]
    assert json.loads(sent[1]["body"])["error"]["code"] == "upload_timeout"
    assert service.n_calls == 0


async def test_uploads_that_do_not_fit_beside_the_others_are_told_to_come_again(
    service: FakeService,
) -> None:
    app = create_app(service, ApiSettings(max_upload_bytes=1000, max_held_bytes=2000))
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://test", headers=AUDIO
    ) as client:

        async def others_beside_it() -> AsyncGenerator[bytes]:
            yield b"x" * 1000
            for beside in (b"x" * 501, in_pieces(6)):
                answer = await client.post(PATH, content=beside)
                assert (answer.status_code, answer.json()["error"]["code"]) == (429, "queue_full")
                assert answer.headers["retry-after"]
            assert (await client.post(PATH, content=b"x" * 500)).status_code == 200

        async def small_beside_all() -> AsyncGenerator[bytes]:
            yield b"x" * 500  # beside another one's 1000: all that is not for small ones
            assert (await client.post(PATH, content=b"x" * 32)).status_code == 429
            assert (await client.post(PATH, content=b"x" * 31)).status_code == 200

        async def two() -> AsyncGenerator[bytes]:
            yield b"x" * 1000
            assert (await client.post(PATH, content=small_beside_all())).status_code == 200

        for _ in range(2):  # refused or answered: nothing is held any more
            assert (await client.post(PATH, content=others_beside_it())).status_code == 200
        assert (await client.post(PATH, content=two())).status_code == 200
    assert service.n_calls == 7


async def test_a_promised_length_keeps_no_place(service: FakeService) -> None:
    app = create_app(service, ApiSettings(max_upload_bytes=1000, max_held_bytes=1500))
    begun, ended = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncGenerator[bytes]:
        yield b"x"
        begun.set()
        await ended.wait()
        yield b"x" * 999

    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://test", headers=AUDIO
    ) as client:
        first = asyncio.ensure_future(
            client.post(PATH, content=slow(), headers={"content-length": "1000"})
        )
        await begun.wait()
        assert (await client.post(PATH, content=b"x" * 1000)).status_code == 200
        ended.set()
        assert (await first).status_code == 200


@pytest.mark.parametrize("path", [PATH, "/v1/audio/translations", "/v1/audio/language"])
async def test_a_full_server_refuses_before_it_reads_the_upload(
    path: str, service: FakeService
) -> None:
    service.is_full = True
    n_read = 0

    async def body() -> AsyncGenerator[bytes]:
        nonlocal n_read
        n_read += 1
        yield b"x"

    transport = httpx2.ASGITransport(create_app(service))
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.post(path, content=body(), headers=AUDIO)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.json()["error"]["code"] == "queue_full"
    assert (n_read, service.n_calls) == (0, 0)


def test_an_upload_that_is_allowed_must_fit_when_it_is_alone() -> None:
    with pytest.raises(ValueError, match="one upload must fit"):
        ApiSettings(max_upload_bytes=1000, max_held_bytes=1332)
    assert ApiSettings(max_upload_bytes=1000, max_held_bytes=1334)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("GET", "/v1/nothing", 404),
        ("PUT", PATH, 405),
        ("POST", PATH, 400),
        ("GET", "/v1/models", 500),
    ],
)
def test_every_answer_has_one_request_id(
    method: str, path: str, status: int, client: TestClient, service: FakeService
) -> None:
    service.error = ZeroDivisionError("planted")
    for sent in (None, "my-id"):
        answer = client.request(method, path, headers={"x-request-id": sent} if sent else {})
        assert answer.status_code == status
        [request_id] = answer.headers.get_list("x-request-id")
        assert request_id == sent if sent else len(request_id) == 32


def test_behind_a_proxy_that_names_requests_there_is_no_second_id(service: FakeService) -> None:
    client = TestClient(create_app(service, sets_request_id=False))
    assert "x-request-id" not in client.get("/health").headers


def test_other_origins_are_not_allowed_unless_they_are_set(client: TestClient) -> None:
    answer = client.get("/health", headers={"origin": "https://a.example"})
    assert "access-control-allow-origin" not in answer.headers


def test_origins_that_are_set_may_call_and_read_errors(service: FakeService) -> None:
    settings = ApiSettings(allow_origins=("https://a.example",))
    client = TestClient(create_app(service, settings))
    asks = {
        "origin": "https://a.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,x-stainless-lang",
    }
    refused = client.options(PATH, headers={**asks, "origin": "https://b.example"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_value")
    assert "access-control-allow-origin" not in refused.headers
    preflight = client.options(PATH, headers=asks)
    assert preflight.status_code == 200
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    service.error = ZeroDivisionError("planted")
    failed = client.get("/v1/models", headers={"origin": "https://a.example"})
    assert failed.status_code == 500
    assert failed.headers["access-control-allow-origin"] == "https://a.example"
    other = client.get("/health", headers={"origin": "https://b.example"})
    assert "access-control-allow-origin" not in other.headers
