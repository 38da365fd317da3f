import logging
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from serve_app.api import Keys, create_app, read_keys
from serve_app.settings import ApiSettings
from tests.fakes import FakeService

FILE = """
# the house
use:alice-key   # a user
bob-key
admin:root-key
"""


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    path = tmp_path / "keys"
    path.write_text(FILE)
    return read_keys(ApiSettings(keys_file=str(path)), {})


@pytest.fixture
def guarded(keys: Keys, service: FakeService) -> TestClient:
    return TestClient(create_app(service, keys=keys))


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize("key", ["alice-key", "bob-key", "root-key"])
def test_every_key_may_use(key: str, guarded: TestClient) -> None:
    for headers in (bearer(key), {"x-api-key": key}, {"authorization": f"bearer  {key}"}):
        assert guarded.get("/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize("key", ["", "wrong-key", "alice", "use:alice-key", "é"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_missing_or_wrong_key_is_401_everywhere(
    method: str, key: str, guarded: TestClient
) -> None:
    headers = {"x-api-key": key.encode()} if key else {}
    answer = guarded.request(method, "/v1/models/turbo", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_file_is_not_read_without_a_key(guarded: TestClient, service: FakeService) -> None:
    answer = guarded.post("/v1/audio/transcriptions", files={"file": b"x"})
    assert (answer.status_code, service.n_calls) == (401, 0)


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_changing_models_needs_an_admins_key(method: str, guarded: TestClient) -> None:
    name = "/v1/models/turbo" if method == "POST" else "/v1/models/org/old"
    answer = guarded.request(method, name, headers=bearer("alice-key"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")
    assert guarded.request(method, name, headers=bearer("root-key")).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/ready", "/docs", "/openapi.json"])
def test_what_says_nothing_secret_stays_open(path: str, guarded: TestClient) -> None:
    assert guarded.get(path).status_code == 200


def test_without_keys_the_door_is_open(client: TestClient) -> None:
    assert read_keys(ApiSettings(), {"ANY": "key"}) == Keys()
    assert client.post("/v1/models/turbo").status_code == 200


def test_keys_come_from_the_environment_too(keys: Keys) -> None:
    settings = ApiSettings(keys_env="HOUSE_KEYS")
    from_environment = read_keys(settings, {"HOUSE_KEYS": "use:alice-key,bob-key\nadmin:root-key"})
    assert from_environment == keys


@pytest.mark.parametrize(
    "content", ["", "# nobody\n\n", "amdin:oops-key", "admin:", "a key of words", "use:schlüssel"]
)
def test_keys_that_cannot_be_read_stop_the_start_and_are_not_shown(
    content: str, tmp_path: Path
) -> None:
    path = tmp_path / "keys"
    path.write_text(content)
    for settings, environment in (
        (ApiSettings(keys_file=str(path)), {}),
        (ApiSettings(keys_env="HOUSE_KEYS"), {"HOUSE_KEYS": content}),
    ):
        with pytest.raises(ValueError, match=r"api\.keys_") as caught:
            read_keys(settings, environment)
        assert "oops-key" not in str(caught.value)
        assert "words" not in str(caught.value)


def test_a_keys_file_that_is_not_there_or_a_variable_not_set_stops_the_start(
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError, match=r"none cannot be read: FileNotFoundError"):
        read_keys(ApiSettings(keys_file=str(tmp_path / "none")), {})
    with pytest.raises(ValueError, match="HOUSE_KEYS"):
        read_keys(ApiSettings(keys_env="HOUSE_KEYS"), {})


def test_no_key_is_in_a_repr_an_answer_or_a_log(
    keys: Keys, guarded: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    denied = guarded.post("/v1/models/turbo", headers=bearer("alice-key"))
    wrong = guarded.get("/v1/models", headers=bearer("wrong-key"))
    seen = repr(keys) + denied.text + wrong.text + caplog.text
    assert not any(key in seen for key in ("alice-key", "bob-key", "root-key", "wrong-key"))
