"""Replicas that die, hang or are asked for too much, in an app of their own beside the graph."""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import requests
from ray import serve

from benchmarks import faults
from benchmarks.clients import STOCK_RETRIES, Client
from benchmarks.faults import Replicas, wait_until
from benchmarks.load import Load
from benchmarks.utterances import Utterance, record_utterances
from serve_app.deployments import AudioPreprocessor, Ingress, WhisperTranscriber
from serve_app.settings import AppSettings
from tests.clips import clip, digits, encode, speech
from tests.serve.conftest import Graph

APP = "fragile"
POISON = b"this upload kills whoever decodes it"
N_PLACES = 4  # of an Ingress replica
DECODE_S = 0.5  # so that an AudioPreprocessor is hit while it works

SETTINGS = AppSettings.model_validate(
    {
        "models": [
            {
                **{"name": "demo", "source": "embedded", "device": "cpu", "cpu_threads": 1},
                **{"max_chunk_s": 5.0, "max_queued_chunks": N_PLACES},
            }
        ]
    }
)


class FragilePreprocessor(AudioPreprocessor):
    """The real deployment with a decoder that is slow and has a flaw."""

    def _prepare(self, data: Any, *args: Any) -> Any:
        time.sleep(DECODE_S)
        if POISON in data.tobytes():
            os._exit(1)
        return super()._prepare(data, *args)


def _application() -> serve.Application:
    """Bind the graph as the app does, with two replicas of everything and impatient checks."""

    def deployment(kind: type, name: str, **options: Any) -> serve.Deployment:
        return serve.deployment(
            name=name,
            num_replicas=2,
            max_ongoing_requests=64,
            health_check_period_s=1,
            health_check_timeout_s=2,
            graceful_shutdown_timeout_s=SETTINGS.retry.try_timeout_s,
            ray_actor_options={"num_cpus": 0.1},
            **options,
        )(kind)

    batches = {"max_batch_size": 8}
    transcriber = deployment(WhisperTranscriber, "WhisperTranscriber-demo", user_config=batches)
    preprocessor = deployment(FragilePreprocessor, "AudioPreprocessor").bind(SETTINGS.audio)
    transcribers = {"demo": transcriber.bind(SETTINGS.models[0])}
    return deployment(Ingress, "Ingress").bind(SETTINGS, preprocessor, transcribers)


def replicas(deployment: str) -> Replicas:
    return Replicas(deployment=deployment, n=2, app=APP)


@pytest.fixture(scope="module")
def url(graph: Graph) -> Iterator[str]:
    serve.run(_application(), name=APP, route_prefix=f"/{APP}")
    url = f"{graph.url}/{APP}"
    wait_until(lambda: requests.get(f"{url}/ready", timeout=30).ok)
    yield url
    serve.delete(APP)


@pytest.fixture(scope="module")
def utterances(url: str) -> Sequence[Utterance]:
    made = record_utterances(lambda audio: post(url, audio).json()["text"], 12)
    assert len(made) > 8  # so that a mix-up would show
    return made


TRANSCRIPTIONS = "/v1/audio/transcriptions"


def post(url: str, audio: bytes, path: str = TRANSCRIPTIONS) -> requests.Response:
    return requests.post(f"{url}{path}", files={"file": ("clip", audio)}, timeout=100)


def assert_all_answered(load: Load) -> None:
    figures = load.figures()
    assert figures["sent"] == figures["ok"] >= N_PLACES - 2, figures


@pytest.mark.parametrize(
    ("deployment", "client"),
    [
        ("WhisperTranscriber-demo", Client(streams=True)),
        ("AudioPreprocessor", Client(streams=True)),
        ("Ingress", Client(max_retries=STOCK_RETRIES)),
    ],
    ids=["transcriber", "preprocessor", "ingress"],
)
def test_nobody_notices_that_a_replica_was_killed(
    deployment: str, client: Client, url: str, utterances: Sequence[Utterance]
) -> None:
    load = Load(url, utterances, client)
    with load.closed_loop(N_PLACES):
        time.sleep(1.0)
        faults.kill_replica(replicas(deployment), np.random.default_rng(0))
        time.sleep(0.5)
    assert_all_answered(load)


def test_a_replica_that_hangs_is_replaced_and_its_requests_are_answered_elsewhere(
    url: str, utterances: Sequence[Utterance]
) -> None:
    transcribers = replicas("WhisperTranscriber-demo")
    pid = transcribers.pids()[0]
    load = Load(url, utterances, Client())
    with ExitStack() as until_all_are_answered, load.closed_loop(N_PLACES):
        time.sleep(0.5)
        until_all_are_answered.enter_context(faults.stopped(pid))
        wait_until(lambda: transcribers.are_whole(without=pid))
    assert_all_answered(load)


@pytest.mark.parametrize("n", [1, 2])
def test_uploads_that_kill_every_decoder_are_refused_and_their_neighbours_are_answered(
    n: int, url: str, utterances: Sequence[Utterance]
) -> None:
    deadly = encode(clip("light")) + POISON
    load = Load(url, utterances, Client())
    with ThreadPoolExecutor(n) as pool, load.closed_loop(N_PLACES - n):
        time.sleep(0.5)
        answers = list(pool.map(lambda _: post(url, deadly), range(n)))
    errors = [(answer.status_code, answer.json()["error"]["code"]) for answer in answers]
    assert errors == [(400, "unprocessable_audio")] * n
    assert_all_answered(load)


@pytest.mark.parametrize("path", [TRANSCRIPTIONS, "/v1/audio/language"])
def test_what_is_too_much_is_refused_at_once_and_the_rest_is_answered(path: str, url: str) -> None:
    audio = encode(digits("735"))
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: post(url, audio, path), range(40)))
    refused = [answer for answer in answers if answer.status_code != 200]
    assert {answer.status_code for answer in refused} == {429}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
    assert len(answers) - len(refused) >= N_PLACES
    assert post(url, audio).status_code == 200


def test_clients_that_leave_give_their_places_back(url: str) -> None:
    faults.leave_early(url, encode(speech(20.0)), 4 * N_PLACES, np.random.default_rng(0))
    audio = encode(digits("735"))
    wait_until(lambda: post(url, audio).status_code == 200)
    with ThreadPoolExecutor(N_PLACES) as pool:  # any one Ingress has room for them all
        answers = list(pool.map(lambda _: post(url, audio), range(N_PLACES)))
    assert [answer.status_code for answer in answers] == [200] * N_PLACES
