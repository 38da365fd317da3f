"""Requests made from /openapi.json, valid ones and others: no answer is a 5xx or undocumented."""

import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from serve_app.api import create_app
from tests.fakes import FakeService
from tests.fuzz.conftest import N_CASES, cases, count


@schemathesis.serializer("audio/*")
def send_bytes(_: object, value: object) -> bytes:
    return bytes(getattr(value, "data", b"")) or str(value).encode()


app = create_app(FakeService())
schema = schemathesis.openapi.from_asgi("/openapi.json", app)
N_OPERATIONS = sum(len(methods) for methods in schema.raw_schema["paths"].values())


@schema.parametrize()
@cases(-(-N_CASES // N_OPERATIONS))
def test_no_request_breaks_the_app_or_the_schema(case: schemathesis.Case) -> None:
    answer = case.call_and_validate(
        checks=[
            not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
        ]
    )
    count("the schema", answer.status_code)
