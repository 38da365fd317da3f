import asyncio

import pytest
from starlette.testclient import TestClient
from starlette.types import Message

from serve_app.api import Keys, create_app
from serve_app.errors import QueueFullError, TranscriptionError
from serve_app.settings import ApiSettings
from serve_app.visits import Visit, attended, entered
from tests.fakes import FakeService

URL = "/v1/audio/transcriptions"
FILE = {"file": ("a.wav", b"RIFF")}


@pytest.fixture
def seen() -> list[Visit]:
    return []


@pytest.fixture
def client(service: FakeService, seen: list[Visit]) -> TestClient:
    settings = ApiSettings(max_upload_bytes=10_000)
    app = create_app(service, settings, record=seen.append)
    return TestClient(app, raise_server_exceptions=False)


def test_every_request_is_told_once_by_its_route_and_status(
    client: TestClient, seen: list[Visit]
) -> None:
    client.post(URL, files=FILE)
    client.post(URL, files=FILE, data={"temperature": "9"})
    client.get("/v1/models/some/made/up/name")
    client.put("/v1/models")
    client.get("/made/up")
    assert [(visit.route, visit.code) for visit in seen] == [
        (URL, "200"),
        (URL, "400"),
        ("/v1/models/{id}", "404"),
        ("/v1/models", "405"),
        ("other", "404"),
    ]
    assert all(0 <= visit.took_s < 60 for visit in seen)


def test_the_error_of_a_refusal_is_told(
    client: TestClient, service: FakeService, seen: list[Visit]
) -> None:
    client.post(URL, content=b"x" * 20_000)
    service.error = QueueFullError()
    client.post(URL, files=FILE)
    service.error = ValueError("planted")
    client.post(URL, files=FILE)
    assert [visit.error and (visit.code, visit.error.code) for visit in seen] == [
        ("413", "file_too_large"),
        ("429", "queue_full"),
        ("500", "internal_error"),
    ]


def test_a_stream_that_breaks_is_told_by_its_error_and_not_by_the_200_it_began_with(
    client: TestClient, service: FakeService, seen: list[Visit]
) -> None:
    service.error, service.fails_after = QueueFullError(), 1
    answer = client.post(URL, files=FILE, data={"stream": "true"})
    assert answer.status_code == 200
    assert [visit.code for visit in seen] == ["429"]


async def test_a_caller_who_leaves_amid_an_answer_is_told_as_gone(
    service: FakeService, seen: list[Visit]
) -> None:
    app = create_app(service, record=seen.append)
    body = b'--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\nx\r\n'
    body += b'--b\r\ncontent-disposition: form-data; name="stream"\r\n\r\ntrue\r\n--b--\r\n'
    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    scope = {"type": "http", "method": "POST", "path": URL, "query_string": b"", "headers": headers}

    upload: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    begun = asyncio.Event()

    async def receive() -> Message:
        if not upload:
            await asyncio.Event().wait()
        return upload.pop()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(app(scope, receive, send))
    await begun.wait()
    task.cancel()  # what Serve does to an app whose client has left
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [visit.code for visit in seen] == ["499"]


def test_a_python_callers_request_is_told_with_what_became_of_it(seen: list[Visit]) -> None:
    for error in (None, QueueFullError(), ValueError(), asyncio.CancelledError()):
        try:
            with attended("handle:transcribe", seen.append) as visit:
                visit.model = "demo"
                if error:
                    raise error
        except (TranscriptionError, ValueError, asyncio.CancelledError):
            pass
    assert [visit.code for visit in seen] == ["200", "429", "500", "499"]
    assert {(visit.route, visit.model) for visit in seen} == {("handle:transcribe", "demo")}


def test_a_request_that_came_over_http_is_not_told_twice(seen: list[Visit]) -> None:
    outer = Visit(route=URL)
    with entered(outer), attended("handle:transcribe", seen.append) as visit:
        assert visit is outer
    assert seen == []


def test_the_page_of_metrics_is_prometheuss_and_behind_the_keys(service: FakeService) -> None:
    service.pages = {"10.0.0.1:80": "ray_serve_app_x 1.0\nray_other 2.0\n", "10.0.0.2:80": None}
    answer = TestClient(create_app(service)).get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "ray_serve_app_x 1.0" in answer.text
    assert 'ray_serve_app_node_up{node="10.0.0.2:80"} 0.0' in answer.text
    locked = TestClient(create_app(service, keys=Keys(roles=((b"digest", "use"),))))
    assert locked.get("/metrics").status_code == 401
