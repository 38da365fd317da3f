"""What the official client raises, each by its real cause: a second app with keys and faults.

And a model of that app that starts cold and translates.
"""

import asyncio
import io
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
import requests
import srt
import webvtt
from openai.types.audio import Translation, TranslationVerbose
from ray import serve

from serve_app.deployments import Ingress, WhisperTranscriber
from serve_app.domain import ChunkJob, ChunkTranscript
from serve_app.settings import EMBEDDED, AppSettings
from tests.clips import clip, encode, references, speech
from tests.fakes import EchoEngine
from tests.serve.conftest import TIMEOUT_S, Graph

CLIP = encode(clip("light"))
TEXT = references()["light"]
BATCH_S = 1.5  # of the slow engine
LONG_S = 15  # what a chunk must last for the broken engine
USER, ADMIN = "user-key", "admin-key"


class PlantedEngine(EchoEngine):
    """Has what a WhisperTranscriber asks of its engine; its texts are the chunks' samples."""

    placement = "planted"
    languages = ("en",)

    def largest_batch(self, wanted: int, free_bytes: int | None) -> int:
        return wanted


class BrokenEngine(PlantedEngine):
    """Fails on every chunk that is not long."""

    def transcribe(self, jobs: Sequence[ChunkJob]) -> list[ChunkTranscript | ChunkJob]:
        if any(job.chunk.duration_s < LONG_S for job in jobs):
            raise RuntimeError("planted detail")
        return super().transcribe(jobs)


class Broken(WhisperTranscriber):
    """The real deployment with an engine that fails."""

    def _load(self, revision: str | None) -> Any:
        return BrokenEngine()


class Slow(WhisperTranscriber):
    """The real deployment with an engine that takes its time."""

    def _load(self, revision: str | None) -> Any:
        return PlantedEngine(batch_s=BATCH_S)


class Spare(WhisperTranscriber):
    """The real deployment with the real engine."""


def transcriber(kind: type, settings: AppSettings, **options: Any) -> Any:
    name = kind.__name__.lower()
    [model] = [model for model in settings.models if model.name == name]
    deployment = serve.deployment(
        name=f"WhisperTranscriber-{name}",
        user_config={"max_batch_size": 1},
        ray_actor_options={"num_cpus": 0.1},
        **options,
    )
    return deployment(kind).bind(model)


@pytest.fixture(scope="module")
def url(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    keys: Path = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(f"use:{USER}\nadmin:{ADMIN}\n")
    models = [
        *({"name": name, "source": f"org/{name}", "device": "cpu"} for name in ("broken", "slow")),
        # It knows English only, so what it calls a translation is what was said.
        {"name": "spare", "source": EMBEDDED, "aliases": ["org/spare"], "translates": True},
    ]
    api = {"keys_file": str(keys), "max_upload_bytes": 2**20}
    settings = AppSettings.model_validate({"models": models, "api": api})
    ingress = serve.deployment(max_ongoing_requests=64, ray_actor_options={"num_cpus": 0.1})
    zero = {"min_replicas": 0, "initial_replicas": 0, "max_replicas": 1}
    transcribers = {
        "broken": transcriber(Broken, settings, max_ongoing_requests=4),
        "slow": transcriber(Slow, settings, max_ongoing_requests=1, max_queued_requests=1),
        "spare": transcriber(Spare, settings, max_ongoing_requests=4, autoscaling_config=zero),
    }
    preprocessor = serve.get_deployment_handle("AudioPreprocessor", "whisper")
    serve.run(
        ingress(Ingress).bind(settings, preprocessor, transcribers),
        name="planted",
        route_prefix="/planted",
    )
    yield f"{graph.url}/planted"
    serve.delete("planted")


class Client(openai.OpenAI):
    """The official client, which notes the status of every answer, those it retries included."""

    def __init__(self, url: str, key: str, **options: Any) -> None:
        self.statuses: list[int] = []
        http_client = openai.DefaultHttpxClient(
            event_hooks={"response": [lambda answer: self.statuses.append(answer.status_code)]}
        )
        super().__init__(base_url=f"{url}/v1", api_key=key, http_client=http_client, **options)

    def transcribe(self, model: str) -> str:
        return self.audio.transcriptions.create(model=model, file=CLIP).text


def test_a_wrong_key_is_an_authentication_error(url: str) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        Client(url, "wrong").models.list()
    assert caught.value.code == "invalid_api_key"
    assert caught.value.request_id
    with pytest.raises(openai.AuthenticationError):
        Client(url, "wrong").audio.transcriptions.create(model="broken", file=CLIP)


def test_a_users_key_may_look_but_not_change(url: str) -> None:
    client = Client(url, USER)
    listed = client.models.list().data
    assert [model.id for model in listed] == ["broken", "slow", "spare"]
    assert all(model.object == "model" and isinstance(model.created, int) for model in listed)
    assert [model.owned_by for model in listed] == ["org", "org", "serve_app"]
    with pytest.raises(openai.PermissionDeniedError) as caught:
        client.models.delete("org/other")
    assert caught.value.code == "permission_denied"


def test_an_id_with_a_slash_is_retrieved(url: str) -> None:
    assert Client(url, USER).models.retrieve("org/broken").id == "broken"
    with pytest.raises(openai.NotFoundError) as caught:
        Client(url, USER).models.retrieve("org/none")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_an_admin_deletes_only_what_is_cached_and_not_declared(url: str) -> None:
    with pytest.raises(openai.BadRequestError, match="declares"):
        Client(url, ADMIN).models.delete("org/broken")
    with pytest.raises(openai.NotFoundError) as caught:
        Client(url, ADMIN).models.delete("org/never-downloaded")
    assert caught.value.code == "model_not_cached"


def test_an_engine_that_fails_is_an_internal_error_that_is_not_sent_again(url: str) -> None:
    client = Client(url, USER, max_retries=2)
    with pytest.raises(openai.InternalServerError) as caught:
        client.transcribe("broken")
    assert caught.value.code == "internal_error"
    assert "planted detail" not in str(caught.value)
    assert client.statuses == [500]


def test_an_answer_that_takes_too_long_is_a_timeout(url: str) -> None:
    with pytest.raises(openai.APITimeoutError):
        Client(url, USER, timeout=0.5, max_retries=0).transcribe("slow")


def test_a_full_queue_is_a_rate_limit_and_waiting_as_told_helps(url: str) -> None:
    def ask(_: int) -> str:
        try:
            return Client(url, USER, max_retries=0).transcribe("slow")
        except openai.RateLimitError as error:
            assert error.code == "queue_full"
            assert 0 < int(error.response.headers["retry-after"]) <= 120
            return "refused"

    patient = Client(url, USER, max_retries=5)
    with ThreadPoolExecutor(6) as pool:
        crowd = [pool.submit(ask, i) for i in range(6)]
        time.sleep(0.3)
        began_s = time.monotonic()
        patient.transcribe("slow")
        took_s = time.monotonic() - began_s
    answers = [future.result() for future in crowd]
    assert "refused" in answers
    assert any(answer != "refused" for answer in answers)
    assert patient.statuses[0] == 429
    assert patient.statuses[-1] == 200
    assert took_s >= 2 * (len(patient.statuses) - 1)  # seconds that Retry-After asks for


def test_a_body_over_the_limit_is_refused_with_an_envelope(url: str) -> None:
    answer = requests.post(
        f"{url}/v1/audio/transcriptions",
        data=b"x" * 3 * 2**20,
        headers={"content-type": "audio/wav", "authorization": f"Bearer {USER}"},
        timeout=TIMEOUT_S,
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "file_too_large")


def test_an_error_after_the_first_event_is_raised_with_its_code(url: str) -> None:
    client = Client(url, USER)
    with client.audio.transcriptions.create(
        model="broken", file=encode(speech(40), "mp3", "libmp3lame"), stream=True
    ) as events:
        assert next(iter(events)).type == "transcript.text.delta"
        with pytest.raises(openai.APIError) as caught:
            list(events)
    assert (caught.value.code, client.statuses) == ("internal_error", [200])
    assert not isinstance(caught.value, openai.APIStatusError)


async def test_the_async_client_raises_the_same(url: str) -> None:
    def client(key: str, **options: Any) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, **options)

    async def transcribe(client: openai.AsyncOpenAI, **fields: Any) -> None:
        await client.audio.transcriptions.create(**{"file": CLIP, **fields})

    causes = [
        (openai.BadRequestError, transcribe(client(USER), model="broken", temperature=7)),
        (openai.AuthenticationError, transcribe(client("wrong"), model="broken")),
        (openai.PermissionDeniedError, client(USER).models.delete("org/other")),
        (openai.NotFoundError, transcribe(client(USER), model="none")),
        (openai.InternalServerError, transcribe(client(USER), model="broken")),
        (openai.APITimeoutError, transcribe(client(USER, timeout=0.5), model="slow")),
    ]
    for kind, call in causes:
        with pytest.raises(kind):
            await call
    crowd = [transcribe(client(USER), model="slow") for _ in range(5)]
    outcomes = await asyncio.gather(*crowd, return_exceptions=True)
    assert any(isinstance(outcome, openai.RateLimitError) for outcome in outcomes)
    patient = client(USER).with_options(max_retries=5)
    await transcribe(patient, model="slow")


def test_looking_at_a_cold_model_leaves_it_cold_and_loading_it_starts_it(url: str) -> None:
    def state() -> str:
        return str(Client(url, USER).models.retrieve("org/spare").model_dump()["state"])

    for _ in range(3):
        assert requests.get(f"{url}/ready", timeout=TIMEOUT_S).status_code == 200
        assert "spare" in [model.id for model in Client(url, USER).models.list()]
        assert state() == "cold"
        time.sleep(0.5)
    headers = {"authorization": f"Bearer {ADMIN}"}
    answer = requests.post(f"{url}/v1/models/org/spare", headers=headers, timeout=TIMEOUT_S)
    assert (answer.status_code, answer.json()["state"]) == (202, "loading")
    deadline_s = time.monotonic() + 60
    states = []
    while not states or states[-1] != "ready":
        assert time.monotonic() < deadline_s, "the model did not start"
        states.append(state())
        assert requests.get(f"{url}/ready", timeout=TIMEOUT_S).status_code == 200
        time.sleep(0.2)
    assert set(states[:-1]) <= {"loading"}
    answer = requests.post(f"{url}/v1/models/spare", headers=headers, timeout=TIMEOUT_S)
    assert (answer.status_code, answer.json()["state"]) == (200, "ready")
    running = requests.get(f"{url}/api/ps", headers=headers, timeout=TIMEOUT_S).json()
    assert "spare" in running["models"]
    assert Client(url, USER).transcribe("spare") == TEXT


def test_a_translation_has_every_format_and_openais_types(url: str) -> None:
    def translate(response_format: str) -> Any:
        return Client(url, USER).audio.translations.create(  # type: ignore[call-overload]
            model="spare", file=CLIP, response_format=response_format
        )

    assert Translation.model_validate_json(translate("json").model_dump_json()).text == TEXT
    verbose = TranslationVerbose.model_validate_json(
        translate("verbose_json").model_dump_json(), strict=True
    )
    assert (verbose.text, verbose.language) == (TEXT, "english")
    assert verbose.segments
    assert translate("verbose_json").task == "translate"
    assert translate("text") == f"{TEXT}\n"
    assert [cue.content for cue in srt.parse(translate("srt"))] == [TEXT]
    assert [cue.text for cue in webvtt.from_buffer(io.StringIO(translate("vtt")))] == [TEXT]


def test_a_translation_is_streamed(url: str) -> None:
    answer = requests.post(
        f"{url}/v1/audio/translations",
        files={"file": CLIP},
        data={"model": "spare", "stream": "true"},
        headers={"authorization": f"Bearer {USER}"},
        timeout=TIMEOUT_S,
    )
    *events, done, last, rest = answer.text.split("\n\n")
    assert "".join(json.loads(event[6:])["delta"] for event in events) == TEXT
    assert json.loads(done[6:])["text"] == TEXT
    assert (last, rest) == ("data: [DONE]", "")
