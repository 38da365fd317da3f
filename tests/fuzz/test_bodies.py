"""Bodies that no schema would make: broken forms, fields of any name, size, number and content."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from serve_app.api import create_app
from serve_app.api.detection import SPEECH_FIELDS
from serve_app.api.fields import FIELDS
from tests.fakes import FakeService
from tests.fuzz.conftest import N_CASES, cases, count

PATHS = (
    *("/v1/audio/transcriptions", "/v1/audio/translations"),
    *("/v1/audio/speech/timestamps", "/v1/audio/language"),
)
CASES = cases(N_CASES)
client = TestClient(create_app(FakeService()))

names = st.one_of(
    st.sampled_from([*FIELDS, *SPEECH_FIELDS, "file"]),
    st.builds("{}[{}]".format, st.sampled_from(list(FIELDS)), st.sampled_from(["", "type", "a]["])),
    st.text(max_size=20),
)
AWKWARD = (
    *("x" * 10_000, "9" * 4000, "9" * 10_000, "[" * 10_000, '{"a":' * 10_000),
    *("[1," * 3000 + "1]", "nan", "-inf", "1e400", "0x10", "true", "null", "[]", "{}", '["a"]'),
    *("[null]", '{"threshold": []}', '{"threshold": 1e999}', "1,2,", "-1", "2147483648", "\0"),
)
CHARSETS = ("utf-7", "utf-16", "idna", "undefined", "none", "\0")
values = st.one_of(
    st.text(max_size=50),
    st.sampled_from(AWKWARD),
    st.integers().map(str),
    st.floats().map(str),
)
headers = st.sampled_from(
    [
        *(
            "multipart/form-data; boundary=b",
            "multipart/form-data",
            "multipart/form-data; boundary=",
        ),
        *(f"multipart/form-data; boundary=b; charset={charset}" for charset in CHARSETS),
        *("multipart/form-data; boundary=" + "b" * 300, "audio/mpeg", "video/mp4", "text/plain"),
        *("application/json", "application/x-www-form-urlencoded", "", ";", "audio/"),
    ]
)
part_heads = st.sampled_from(
    [
        *('form-data; name="file"; filename="a"', 'form-data; name="file"', "form-data", ""),
        *('form-data; name="model"', 'form-data; name=""; filename=""', "attachment; name=file"),
        *('form-data; name="temperature"; filename="x"', "form-data; name*=utf-8''file"),
    ]
)


def check(kind: str, path: str, **sent: object) -> None:
    answer = client.post(path, **sent)  # type: ignore[arg-type]
    count(kind, answer.status_code)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@CASES
@given(st.sampled_from(PATHS), st.lists(st.tuples(names, values), max_size=8), st.booleans())
def test_any_fields_are_answered(path: str, fields: list[tuple[str, str]], in_query: bool) -> None:
    if in_query:
        params = [(name, value[:1000]) for name, value in fields]
        audio = {"content-type": "audio/mpeg"}
        check("any fields", path, content=b"x", params=params, headers=audio)
        return
    grouped: dict[str, list[str]] = {}
    for name, value in fields:
        grouped.setdefault(name, []).append(value)
    check("any fields", path, files={"file": b"x"}, data=grouped)


@CASES
@given(st.sampled_from(PATHS), headers, st.binary(max_size=300))
def test_any_bytes_are_answered(path: str, content_type: str, body: bytes) -> None:
    check("any bytes", path, content=body, headers={"content-type": content_type})


@CASES
@given(
    st.sampled_from(PATHS),
    st.lists(st.tuples(part_heads, st.binary(max_size=100)), max_size=4),
    st.integers(min_value=0, max_value=60),
    st.sampled_from(["", *(f"; charset={name}" for name in CHARSETS)]),
)
def test_forms_that_are_broken_anywhere_are_answered(
    path: str, parts: list[tuple[str, bytes]], cut: int, charset: str
) -> None:
    body = b"".join(
        b"--b\r\nContent-Disposition: " + head.encode() + b"\r\n\r\n" + content + b"\r\n"
        for head, content in parts
    )
    body = (body + b"--b--\r\n")[: -cut or None]
    form = {"content-type": f"multipart/form-data; boundary=b{charset}"}
    check("broken forms", path, content=body, headers=form)


@pytest.mark.parametrize("value", AWKWARD, ids=lambda value: value[:12])
def test_every_field_survives_every_awkward_value(value: str) -> None:
    for path, table in (("transcriptions", FIELDS), ("speech/timestamps", SPEECH_FIELDS)):
        for name in table:
            check("awkward values", f"/v1/audio/{path}", files={"file": b"x"}, data={name: value})


@pytest.mark.parametrize("path", PATHS)
def test_thousands_of_fields_are_refused(path: str) -> None:
    fields = {f"field{i}": "1" for i in range(3000)}
    assert client.post(path, files={"file": b"x"}, data=fields).status_code == 400
