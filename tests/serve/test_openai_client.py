"""The official client against the real graph: formats, streaming, errors."""

import time
from collections.abc import AsyncIterator, Iterator

import numpy as np
import openai
import pytest
from openai.types import Model
from openai.types.audio import (
    Transcription,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
    TranscriptionVerbose,
)

from tests.clips import clip, encode, join, references, silence, speech
from tests.serve.conftest import Graph

CLIP = encode(clip("light"))
TEXT = references()["light"]


@pytest.fixture(scope="module")
def client(graph: Graph) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{graph.url}/v1", api_key="none", timeout=60) as client:
        yield client


@pytest.fixture
async def async_client(graph: Graph) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{graph.url}/v1", api_key="none") as client:
        yield client


def test_json_is_a_transcription(client: openai.OpenAI) -> None:
    made = client.audio.transcriptions.create(model="whisper-1", file=CLIP)
    assert made.text == TEXT
    assert made.usage is not None
    assert (made.usage.type, made.usage.seconds) == ("duration", 3)  # type: ignore[union-attr]


@pytest.mark.parametrize("response_format", ["text", "srt", "vtt"])
def test_texts_arrive_verbatim(response_format: str, client: openai.OpenAI) -> None:
    made = client.audio.transcriptions.create(  # type: ignore[call-overload]
        model="whisper-1", file=CLIP, response_format=response_format
    )
    assert isinstance(made, str)
    assert TEXT in made
    assert made.startswith(
        {"text": "turn", "srt": "1\n00:00:00,", "vtt": "WEBVTT\n"}[response_format]
    )


def test_verbose_json_has_strict_types(client: openai.OpenAI) -> None:
    pcm = np.concatenate([silence(2), clip("light"), silence(2), clip("timer")])
    made = client.audio.transcriptions.create(
        model="whisper-1",
        file=encode(pcm),
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    # As strict as pydantic can be: a number sent as a string would fail.
    strict = TranscriptionVerbose.model_validate_json(made.model_dump_json(), strict=True)
    assert strict.language == "english"
    assert strict.duration == pytest.approx(len(pcm) / 16000, abs=0.001)
    assert strict.segments
    assert strict.words
    assert [s.id for s in strict.segments] == list(range(len(strict.segments)))
    assert "".join(s.text for s in strict.segments).strip() == strict.text
    assert " ".join(w.word for w in strict.words) == strict.text
    assert strict.words[0].start > 1.5


def test_log_probabilities_are_told_where_they_are_asked_for(client: openai.OpenAI) -> None:
    asked = {"model": "whisper-1", "file": CLIP, "include": ["logprobs"]}
    made = client.audio.transcriptions.create(**asked)
    strict = Transcription.model_validate_json(made.model_dump_json(), strict=True)
    assert strict.logprobs
    assert "".join(one.token or "" for one in strict.logprobs).strip() == TEXT
    assert all(one.logprob is not None and one.logprob <= 0 for one in strict.logprobs)
    with client.audio.transcriptions.create(**asked, stream=True) as events:
        *deltas, done = list(events)
    assert isinstance(done, TranscriptionTextDoneEvent)
    assert done.logprobs is not None
    told = [one for delta in deltas for one in getattr(delta, "logprobs", None) or []]
    assert [one.token for one in told] == [one.token for one in done.logprobs]
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(**asked, extra_body={"beam_size": 5})
    assert caught.value.param == "include"


def test_a_stream_has_deltas_that_make_the_text_and_one_end(client: openai.OpenAI) -> None:
    data = encode(join("light", "timer", "music", "train", gap_s=1.0))
    whole = client.audio.transcriptions.create(model="whisper-1", file=data).text
    with client.audio.transcriptions.create(model="whisper-1", file=data, stream=True) as events:
        received = list(events)
    *deltas, done = received
    assert len(deltas) > 1
    assert all(isinstance(delta, TranscriptionTextDeltaEvent) for delta in deltas)
    assert isinstance(done, TranscriptionTextDoneEvent)
    assert "".join(delta.delta for delta in deltas) == done.text == whole  # type: ignore[union-attr]


def test_the_first_event_of_a_long_file_comes_long_before_its_end(client: openai.OpenAI) -> None:
    began_s = time.monotonic()
    times_s = []
    with client.audio.transcriptions.create(
        model="whisper-1", file=encode(speech(240)), stream=True
    ) as events:
        for _ in events:
            times_s.append(time.monotonic() - began_s)
    assert len(times_s) > 20
    assert times_s[0] < times_s[-1] / 2


@pytest.mark.parametrize("response_format", ["text", "srt", "vtt", "verbose_json"])
async def test_the_async_client_gets_every_format(
    response_format: str, client: openai.OpenAI, async_client: openai.AsyncOpenAI
) -> None:
    asked = {"model": "whisper-1", "file": CLIP, "response_format": response_format}
    made = await async_client.audio.transcriptions.create(**asked)  # type: ignore[call-overload]
    assert made == client.audio.transcriptions.create(**asked)  # type: ignore[call-overload]


async def test_the_async_client_gets_the_same(async_client: openai.AsyncOpenAI) -> None:
    made = await async_client.audio.transcriptions.create(model="whisper-1", file=CLIP)
    assert made.text == TEXT
    events = await async_client.audio.transcriptions.create(
        model="whisper-1", file=CLIP, stream=True
    )
    received = [event async for event in events]
    assert isinstance(received[-1], TranscriptionTextDoneEvent)
    assert received[-1].text == TEXT


def test_bad_values_are_bad_requests_with_param_and_code(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(model="whisper-1", file=CLIP, temperature=3.0)
    assert (caught.value.param, caught.value.code) == ("temperature", "invalid_value")
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(
            model="whisper-1", file=CLIP, response_format="diarized_json"
        )
    assert caught.value.param == "response_format"
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(model="whisper-1", file=b"no audio")
    assert caught.value.code == "invalid_audio"


def test_an_undeclared_model_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.audio.transcriptions.create(model="large-v9", file=CLIP)
    assert caught.value.code == "model_not_found"
    assert caught.value.request_id


def test_a_model_that_cannot_translate_says_so(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="cannot translate"):
        client.audio.translations.create(model="whisper-1", file=CLIP)


def test_a_broken_file_in_a_stream_is_an_ordinary_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        client.audio.transcriptions.create(model="whisper-1", file=b"no audio", stream=True)


def test_models_are_listed_and_retrieved(client: openai.OpenAI) -> None:
    [listed] = client.models.list().data
    strict = Model.model_validate_json(listed.model_dump_json(), strict=True)
    assert (strict.id, strict.object, strict.owned_by) == ("demo", "model", "serve_app")
    assert client.models.retrieve("whisper-1") == client.models.retrieve("demo") == listed


async def test_the_async_client_lists_models_too(async_client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in async_client.models.list()] == ["demo"]
    assert (await async_client.models.retrieve("whisper-1")).id == "demo"
    with pytest.raises(openai.NotFoundError):
        await async_client.models.delete("org/never-downloaded")
