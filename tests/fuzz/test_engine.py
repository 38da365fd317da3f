"""Fields that are nearly right, or right and odd, on the real stages and the real model.

What a fake service takes for granted breaks here: options that pass every check and that the model
then cannot bear.
"""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from serve_app.api import create_app
from serve_app.api.fields import FIELDS
from serve_app.domain import ResponseFormat
from tests.clips import clip, encode
from tests.fuzz.conftest import N_CASES, cases, count
from tests.fuzz.local import LocalService
from tests.fuzz.test_bodies import AWKWARD

PATH = "/v1/audio/transcriptions"
CLIP = encode(clip("digit-7"))
N_SLOW_CASES = N_CASES // 5  # each is a decode

numbers = st.one_of(
    st.integers(min_value=-2, max_value=20).map(str),
    st.sampled_from(["0.1", "0.5", "1.0", "4.0", "8.0", "224", "448", "2147483647"]),
)
others = {
    "model": st.sampled_from(["demo", "whisper-1", "none"]),
    "response_format": st.sampled_from(list(ResponseFormat)),
    "include": st.just("logprobs"),
    "timestamp_granularities": st.sampled_from(["word", "segment", "word,segment"]),
    "language": st.sampled_from(["en", "english", "auto", "tr", ""]),
    "prompt": st.one_of(st.text(max_size=30), st.just("turn on the light " * 100)),
    "hotwords": st.one_of(st.text(max_size=30), st.just("light " * 300)),
    "keywords": st.one_of(st.text(max_size=30), st.sampled_from(AWKWARD)),
    "suppress_tokens": st.lists(st.integers(-1, 3000), max_size=5).map(
        lambda ids: ",".join(map(str, ids))
    ),
    "clip_timestamps": st.lists(st.floats(0, 3), max_size=4).map(
        lambda times: ",".join(map(str, sorted(times)))
    ),
    "vad_parameters": st.sampled_from(
        ['{"threshold": 0.99}', '{"speech_pad_ms": 60000}', '{"min_speech_duration_ms": 9000}']
    ),
    "stream": st.booleans().map(str),
    "vad_filter": st.booleans().map(str),
    "multilingual": st.booleans().map(str),
    "without_timestamps": st.booleans().map(str),
}
names = [name for name, field in FIELDS.items() if field.description != "Refused."]
fields = st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True).flatmap(
    lambda picked: st.fixed_dictionaries({name: others.get(name, numbers) for name in picked})
)


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(LocalService())) as client:
        yield client


@cases(N_SLOW_CASES)
@given(fields)
def test_whatever_passes_the_checks_can_be_decoded(
    client: TestClient, sent: dict[str, str]
) -> None:
    answer = client.post(PATH, files={"file": CLIP}, data=sent)
    count("fields on the real model", answer.status_code)
    assert answer.status_code < 500, answer.text
    assert '"code": "internal_error"' not in answer.text  # in a stream
