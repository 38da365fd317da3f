import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.testclient import TestClient

from serve_app.api import Keys, create_app
from serve_app.api.detection import LANGUAGE_FIELDS, SPEECH_FIELDS
from serve_app.api.fields import FIELDS
from serve_app.api.keys import Role
from serve_app.errors import all_errors
from tests.fakes import FakeService


@pytest.fixture
def schema(client: TestClient) -> dict[str, Any]:
    made: dict[str, Any] = client.get("/openapi.json").json()
    return made


def test_the_schema_is_valid_openapi(schema: dict[str, Any]) -> None:
    assert schema["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(schema).validate()


def test_the_schema_has_every_route_and_no_other(
    schema: dict[str, Any], service: FakeService
) -> None:
    served = {
        (re.sub(r":path", "", route.path), method)  # type: ignore[attr-defined]
        for route in create_app(service).routes
        for method in route.methods - {"HEAD"}  # type: ignore[attr-defined]
    }
    described = {
        (path, method.upper()) for path, methods in schema["paths"].items() for method in methods
    }
    assert described == served


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/audio/transcriptions", FIELDS),
        ("/v1/audio/translations", FIELDS),
        ("/v1/audio/speech/timestamps", SPEECH_FIELDS),
        ("/v1/audio/language", LANGUAGE_FIELDS),
    ],
)
def test_the_schema_names_just_the_fields_that_are_read(
    path: str, fields: dict[str, Any], schema: dict[str, Any]
) -> None:
    operation = schema["paths"][path]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["properties"]) == {"file", *fields}
    assert {parameter["name"] for parameter in operation["parameters"]} == set(fields)


def test_the_schema_asks_for_a_key_only_where_the_app_has_some(
    schema: dict[str, Any], service: FakeService
) -> None:
    keys = Keys(roles=((b"digest", Role.USE),))
    guarded = TestClient(create_app(service, keys=keys)).get("/openapi.json").json()
    assert "security" not in schema["paths"]["/v1/models"]["get"]
    assert guarded["paths"]["/v1/models"]["get"]["security"]
    assert "security" not in guarded["paths"]["/health"]["get"]


def test_the_page_names_every_route_field_and_error_and_loads_nothing(client: TestClient) -> None:
    answer = client.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    for name in ("/v1/models/{id}", *FIELDS, *SPEECH_FIELDS):
        assert name in answer.text
    assert all(f"<td>{kind.code}</td>" in answer.text for kind in all_errors())
    assert "<script" not in answer.text
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", answer.text)


def test_under_a_prefix_the_paths_begin_with_it(service: FakeService) -> None:
    client = TestClient(create_app(service), root_path="/whisper")
    assert client.get("/openapi.json").json()["servers"] == [{"url": "/whisper"}]
    assert 'href="/whisper/openapi.json"' in client.get("/docs").text


def test_what_a_file_can_be_refused_for_is_documented(schema: dict[str, Any]) -> None:
    for path in ("/v1/audio/transcriptions", "/v1/audio/language", "/v1/audio/diarization"):
        responses = schema["paths"][path]["post"]["responses"]
        assert "audio_too_long" in responses["413"]["description"]
        assert "decode_timeout" in responses["400"]["description"]
