import pytest
from starlette.testclient import TestClient

from serve_app.domain import ModelState
from serve_app.errors import ServiceUnavailableError
from tests.fakes import DECLARED, FakeService

SOURCE = "deepdml/faster-whisper-large-v3-turbo-ct2"


def test_the_declared_models_are_listed_with_openais_keys_their_state_and_aliases(
    client: TestClient,
) -> None:
    answer = client.get("/v1/models").json()
    assert answer["object"] == "list"
    assert [model["id"] for model in answer["data"]] == [model.name for model in DECLARED]
    first, second = answer["data"]
    assert first["object"] == "model"
    assert isinstance(first["created"], int)
    assert (first["owned_by"], first["state"]) == ("deepdml", "ready")
    assert {SOURCE, "whisper-1"} <= set(first["aliases"])
    assert (second["owned_by"], second["aliases"]) == ("local", ["house-model", "/models/mine"])


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("turbo", "turbo"),
        (SOURCE, "turbo"),
        (SOURCE.replace("/", "%2F"), "turbo"),
        ("whisper-1", "turbo"),
        ("house-model", "mine"),
    ],
)
def test_a_model_is_retrieved_by_name_alias_or_source(
    name: str, id_: str, client: TestClient
) -> None:
    answer = client.get(f"/v1/models/{name}")
    assert (answer.status_code, answer.json()["id"]) == (200, id_)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_undeclared_model_is_not_found(method: str, client: TestClient) -> None:
    answer = client.request(method, "/v1/models/org/none")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert "source: org/none" in error["message"]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_path_without_a_name_is_not_the_first_model(method: str, client: TestClient) -> None:
    assert client.request(method, "/v1/models/").status_code == 400


@pytest.mark.parametrize(("state", "status"), [(ModelState.READY, 200), (ModelState.LOADING, 202)])
def test_loading_a_model_answers_whether_it_is_there(
    state: ModelState, status: int, client: TestClient, service: FakeService
) -> None:
    service.state = state
    answer = client.post("/v1/models/mine")
    assert answer.status_code == status
    assert (answer.json()["id"], answer.json()["state"]) == ("mine", state)
    assert answer.json()["message"]


def test_cached_weights_are_deleted_in_openais_shape(
    client: TestClient, service: FakeService
) -> None:
    answer = client.delete("/v1/models/org/old")
    assert answer.json() == {"id": "org/old", "object": "model", "deleted": True}
    assert service.deleted == ["org/old"]


def test_weights_that_are_not_cached_are_not_found(client: TestClient) -> None:
    answer = client.delete("/v1/models/org/never")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_cached")


def test_only_models_with_a_running_replica_are_listed_as_running(client: TestClient) -> None:
    assert client.get("/api/ps").json() == {"models": ["turbo"], "replicas": {"turbo": 2}}


def test_a_controller_that_does_not_answer_is_503_with_a_time(
    client: TestClient, service: FakeService
) -> None:
    service.error = ServiceUnavailableError("not known")
    answer = client.get("/v1/models")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_a_wrong_method_is_told_all_that_are_allowed(client: TestClient) -> None:
    answer = client.put("/v1/models/turbo")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST", "DELETE"}


def test_head_is_answered_where_get_is(client: TestClient) -> None:
    assert client.head("/v1/models").status_code == 200
