"""What the Ingress knows of its models. Only the calls into Ray are planted."""

import asyncio
import contextvars
from types import SimpleNamespace
from typing import Any

import pytest

from serve_app.deployments import catalog
from serve_app.deployments.catalog import Catalog
from serve_app.domain import ModelInfo, ModelState
from serve_app.errors import ModelLoadingError
from serve_app.retries import Retries
from serve_app.settings import AppSettings

SETTINGS = AppSettings()
NAME = SETTINGS.models[0].name
INFO = ModelInfo(name=NAME, languages=("en",), translates=False)


class Cluster:
    """One model with one replica, which answers as long as it is free."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_up = self.is_free = True
        self.asked_by: list[str] = []
        monkeypatch.setattr(catalog, "call", self._call)
        monkeypatch.setattr(catalog, "WAKE_TIMEOUT_S", 0.05)
        monkeypatch.setattr(catalog, "FRESH_S", -1.0)  # always ask
        monkeypatch.setattr(catalog.serve, "status", self._status)
        context = SimpleNamespace(app_name="whisper")
        monkeypatch.setattr(catalog.serve, "get_replica_context", lambda: context)
        handle: Any = SimpleNamespace(info=None, deployment_name="WhisperTranscriber")
        self.catalog = Catalog(SETTINGS.models, {NAME: handle}, Retries(SETTINGS.retry))

    async def _call(self, _: Any) -> ModelInfo:
        if not self.is_free:
            await asyncio.Event().wait()
        return INFO

    def _status(self) -> Any:
        self.asked_by.append(request.get())
        replicas = {"RUNNING": int(self.is_up)}
        deployment = SimpleNamespace(replica_states=replicas, status="HEALTHY")
        application = SimpleNamespace(deployments={"WhisperTranscriber": deployment})
        return SimpleNamespace(applications={"whisper": application})


request = contextvars.ContextVar("request", default="none")


async def test_a_model_that_is_up_but_busy_is_not_told_as_loading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = Cluster(monkeypatch)
    assert await cluster.catalog.info(NAME, 0.1) == INFO
    cluster.is_free = False
    assert await cluster.catalog.info(NAME, 0.1) == INFO
    cluster.is_up = False
    with pytest.raises(ModelLoadingError):
        await cluster.catalog.info(NAME, 0.1)


async def test_a_model_that_never_answered_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.is_free = False
    with pytest.raises(ModelLoadingError):
        await cluster.catalog.info(NAME, 0.1)


async def test_loading_a_model_that_is_up_but_busy_finds_it_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = Cluster(monkeypatch)
    cluster.is_free = False
    assert (await cluster.catalog.load(NAME)).state is ModelState.READY
    cluster.is_up = False
    assert (await cluster.catalog.load(NAME)).state is ModelState.LOADING


async def test_the_question_that_requests_share_is_the_call_of_none_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = Cluster(monkeypatch)
    request.set("first")
    assert await cluster.catalog.count_replicas() == {NAME: 1}
    assert cluster.asked_by == ["none"]
