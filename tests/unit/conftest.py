"""Unit tests run with Ray blocked: whatever they reach must not need it."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
from hypothesis import settings
from starlette.testclient import TestClient

from serve_app.api import create_app
from serve_app.models import locate_model
from serve_app.settings import EMBEDDED, ModelSettings
from serve_app.stages.vad import SpeechDetector
from serve_app.stages.whisper import WhisperEngine
from tests.fakes import FakeService

# An example that takes long on a busy machine is not wrong.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


class _RayIsBlocked(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "ray" or fullname.startswith("ray."):
            raise ImportError(f"{fullname} must not be imported in a unit test")
        return None


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [_RayIsBlocked(), *sys.meta_path])
    for name in [n for n in sys.modules if n == "ray" or n.startswith("ray.")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.fixture(scope="session")
def engine() -> WhisperEngine:
    """The real engine with the embedded model, at float32."""
    settings = ModelSettings(name="demo", source=EMBEDDED, device="cpu", compute_type="float32")
    return WhisperEngine(locate_model(EMBEDDED), settings, n_cores=2)


@pytest.fixture(scope="session")
def detector() -> SpeechDetector:
    return SpeechDetector()


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def client(service: FakeService) -> TestClient:
    return TestClient(create_app(service), raise_server_exceptions=False)
