"""Models beside each other, models at zero replicas, and changes of a running app under load."""

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import openai
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from ray import serve

from serve_app import metrics
from serve_app.models import asset
from serve_app.scheduler import GateStats
from tests.clips import clip, encode, references
from tests.serve.conftest import TIMEOUT_S, Graph, deploy
from tests.servers import wait_until

CLIP = encode(clip("light"))
SAID = references()["light"]
# What the models write where they hear "light", so that an answer tells whose it is.
FIRST, FIRST_V2, SECOND = "light", "torch", "lamp"
N_CLIENTS = 4

Change = dict[str, Any]  # of a deployment's options


def written(by: str) -> str:
    """The text of the clip, as that model writes it."""
    return SAID.replace("light", by)


def write_model(directory: Path, word: str) -> None:
    """Copy the embedded model, but let it write `word` in the place of "light"."""
    shutil.copytree(asset("whisper-demo-en"), directory)
    path = directory / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    swap = {"type": "Replace", "pattern": {"String": "light"}, "content": word}
    tokenizer["decoder"] = {"type": "Sequence", "decoders": [tokenizer["decoder"], swap]}
    path.write_text(json.dumps(tokenizer))


def write_cache(home: Path) -> None:
    """Write a Hugging Face cache that holds two revisions of `tests/first`."""
    repo = home / "hub/models--tests--first"
    (repo / "refs").mkdir(parents=True)
    for revision, commit, word in (("v1", "1" * 40, FIRST), ("v2", "2" * 40, FIRST_V2)):
        write_model(repo / "snapshots" / commit, word)
        (repo / "refs" / revision).write_text(commit)


class App:
    """An app with two models, of which the second rests at zero replicas."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url = url
        write_cache(directory)
        write_model(directory / "second", SECOND)
        small = {"device": "cpu", "cpu_threads": 1, "max_chunk_s": 5.0}
        self._first = {"source": "tests/first", **small}
        self._second = {"name": "second", "source": str(directory / "second"), **small}
        self._cache = {"HF_HOME": str(directory), "HF_HUB_OFFLINE": "1"}

    def deploy(
        self,
        *,
        user_config: Change | None = None,
        wait_s: float = 0.0,
        idle_s: float = 60.0,
        name: str = "first",
    ) -> None:
        """Deploy from a config.

        Args:
            user_config: what is to change in the first model's.
            wait_s: how long a request waits for a model at zero replicas. Another value replaces
                every replica of the app.
            idle_s: after which the second model goes to zero replicas.
            name: of the first model. Another one takes away the model that was the first.
        """
        two = {"num_replicas": 2, "ray_actor_options": {"num_cpus": 0.1}}
        first = {
            "num_replicas": 1,
            "ray_actor_options": {"num_cpus": 0.1, "runtime_env": {"env_vars": self._cache}},
            "user_config": {"max_batch_size": 2, "revision": "v1", **(user_config or {})},
        }
        at_zero = {
            "min_replicas": 0,
            "max_replicas": 1,
            **{"metrics_interval_s": 0.2, "look_back_period_s": 1, "downscale_delay_s": idle_s},
        }
        second = {"autoscaling_config": at_zero, "ray_actor_options": {"num_cpus": 0.1}}
        deploy(
            {
                "name": "scaling",
                "route_prefix": "/scaling",
                "import_path": "serve_app.app:app",
                "args": {
                    "models": [{"name": name, **self._first}, self._second],
                    "cold_start_wait_s": wait_s,
                },
                "deployments": [
                    {"name": "Ingress", **two},
                    {"name": "AudioPreprocessor", "ray_actor_options": {"num_cpus": 0.1}},
                    {"name": f"WhisperTranscriber-{name}", **first},
                    {"name": "WhisperTranscriber-second", **second},
                ],
            }
        )

    def ask(self, model: str) -> requests.Response:
        return requests.post(
            f"{self.url}/v1/audio/transcriptions",
            files={"file": ("upload", CLIP)},
            data={"model": model},
            timeout=TIMEOUT_S,
        )

    def text(self, model: str) -> str:
        """Ask once, without another try."""
        answer = self.ask(model)
        answer.raise_for_status()
        return str(answer.json()["text"])

    def official_client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none")

    def ask_first(self) -> str:
        return self.text("first")

    def stats(self, model: str) -> GateStats:
        handle = serve.get_deployment_handle(f"WhisperTranscriber-{model}", "scaling")
        stats: GateStats = handle.gate_stats.remote().result(timeout_s=TIMEOUT_S)
        return stats

    def exported_batch_sizes(self) -> set[float]:
        """What /metrics tells of the first model's replicas."""
        page = requests.get(f"{self.url}/metrics", timeout=TIMEOUT_S).text
        own = {"application": "scaling", "deployment": "WhisperTranscriber-first"}
        return {
            sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name == metrics.MAX_BATCH_SIZE.exported
            and own.items() <= sample.labels.items()
        }

    def n_replicas(self, model: str) -> int:
        deployments = serve.status().applications["scaling"].deployments
        return sum(deployments[f"WhisperTranscriber-{model}"].replica_states.values())


@contextmanager
def under_load(ask: Callable[[], str]) -> Iterator[Callable[[], None]]:
    """Let clients ask without a pause for the time of the block; no request may fail.

    Yields:
        what waits until so many answers have come that each client had one.
    """
    stop = Event()
    texts: list[str] = []

    def client() -> None:
        while not stop.is_set():
            texts.append(ask())

    def go_on() -> None:
        n = len(texts) + 2 * N_CLIENTS
        wait_until(lambda: len(texts) >= n or any(future.done() for future in clients))

    with ThreadPoolExecutor(N_CLIENTS) as pool:
        clients = [pool.submit(client) for _ in range(N_CLIENTS)]
        try:
            go_on()
            yield go_on
        finally:
            stop.set()
    for future in clients:
        future.result()
    assert set(texts) <= {written(FIRST), written(FIRST_V2)}


@pytest.fixture(scope="module")
def app(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    yield App(f"{graph.url}/scaling", tmp_path_factory.mktemp("scaling"))
    serve.delete("scaling")


def test_a_model_that_wakes_for_longer_than_requests_wait_says_when_to_come_again(
    app: App,
) -> None:
    app.deploy()
    refused = app.ask("second")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "model_loading")
    assert int(refused.headers["retry-after"]) > 0
    with app.official_client() as client:
        made = client.audio.transcriptions.create(model="second", file=CLIP)
    assert made.text == written(SECOND)


def test_each_request_reaches_the_model_it_names_and_no_batch_holds_another_models(
    app: App,
) -> None:
    app.deploy()
    wait_until(lambda: app.ask("second").ok)
    before = {model: app.stats(model).n_jobs for model in ("first", "second")}
    names = ["first", "second"] * 8
    with ThreadPoolExecutor(len(names)) as pool:
        texts = list(pool.map(app.text, names))
    assert texts == [written(FIRST), written(SECOND)] * 8
    for model, n_before in before.items():
        assert app.stats(model).n_jobs - n_before == 8


def test_a_new_batch_size_under_load_fails_no_request_and_is_soon_on_the_metrics_page(
    app: App,
) -> None:
    app.deploy()
    with under_load(app.ask_first) as go_on:
        n_before = app.stats("first").n_jobs
        app.deploy(user_config={"max_batch_size": 3})
        stats = app.stats("first")
        assert stats.max_batch_size == 3
        assert stats.n_jobs >= n_before  # the same replica, with its counters
        wait_until(lambda: 3.0 in app.exported_batch_sizes(), limit_s=30)
        go_on()


def test_a_new_revision_under_load_fails_no_request(app: App) -> None:
    app.deploy()
    with under_load(app.ask_first) as go_on:
        app.deploy(user_config={"revision": "v2"})
        assert app.text("first") == written(FIRST_V2)
        go_on()


def test_a_revision_that_cannot_be_loaded_leaves_the_old_one_in_force(app: App) -> None:
    app.deploy()
    n_before = app.stats("first").n_jobs
    app.deploy(user_config={"revision": "v3"})
    assert app.text("first") == written(FIRST)
    assert app.stats("first").n_jobs == n_before + 1  # the same replica


def test_new_settings_under_load_fail_no_request(app: App) -> None:
    app.deploy()
    with under_load(app.ask_first) as go_on:
        app.deploy(wait_s=30, idle_s=1)
        go_on()


def test_a_model_at_zero_replicas_answers_and_goes_back_to_zero(app: App) -> None:
    app.deploy(wait_s=30, idle_s=1)
    wait_until(lambda: app.n_replicas("second") == 0)
    assert app.text("second") == written(SECOND)
    assert app.n_replicas("second") == 1
    wait_until(lambda: app.n_replicas("second") == 0)


def test_another_profile_under_load_fails_no_request_of_the_official_client(app: App) -> None:
    app.deploy(wait_s=30, idle_s=1)
    with app.official_client() as client:

        def ask() -> str:
            return client.audio.transcriptions.create(model="whisper-1", file=CLIP).text

        with under_load(ask) as go_on:
            app.deploy(wait_s=30, idle_s=1, name="other")
            go_on()
    assert app.ask("first").status_code == 404
