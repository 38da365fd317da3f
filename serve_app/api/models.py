"""The routes of the models that the app declares: what they are, whether they are up, start one."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serve_app.api.endpoint import Answer, Endpoint, Schema, object_of
from serve_app.api.keys import Role
from serve_app.api.service import ModelService
from serve_app.domain import ModelCard, ModelState
from serve_app.errors import (
    InvalidRequestError,
    ModelNotCachedError,
    ModelNotFoundError,
    ServiceUnavailableError,
)

# When Whisper was published, 2022-09-21: the files may lie on another machine, and OpenAI's
# clients need a number.
CREATED_S = 1663718400

_TEXT = {"type": "string"}
_MODEL = object_of(
    id=_TEXT,
    object={"const": "model"},
    created={"type": "integer"},
    owned_by=_TEXT,
    state={"type": "string", "enum": list(ModelState)},
    aliases={"type": "array", "items": _TEXT},
)
_MODEL_LIST = object_of(object={"const": "list"}, data={"type": "array", "items": _MODEL})
_LOADED = object_of(id=_TEXT, object={"const": "model"}, state=_TEXT, message=_TEXT)
_DELETED = object_of(id=_TEXT, object={"const": "model"}, deleted={"const": True})
_RUNNING = object_of(
    models={"type": "array", "items": _TEXT},
    replicas={"type": "object", "additionalProperties": {"type": "integer"}},
)
_MESSAGES = {
    ModelState.READY: "The model is loaded and ready.",
    ModelState.LOADING: "The model is being loaded. GET the same path to see its state.",
}


def endpoints(service: ModelService) -> list[Endpoint]:
    """Return the routes of this group."""
    return [*_reading(service), *_changing(service)]


def _reading(service: ModelService) -> list[Endpoint]:
    async def list_models(_: Request) -> Response:
        cards = await service.list_models()
        return JSONResponse({"object": "list", "data": [_body(card) for card in cards]})

    async def get_model(http: Request) -> Response:
        return JSONResponse(_body(await service.get_model(_name(http))))

    async def list_running(_: Request) -> Response:
        replicas = {name: n for name, n in (await service.count_replicas()).items() if n}
        return JSONResponse({"models": list(replicas), "replicas": replicas})

    return [
        Endpoint(
            method="GET",
            path="/v1/models",
            answer=list_models,
            summary="List the models that the app declares.",
            answers={200: _json("All models.", _MODEL_LIST)},
            errors=(ServiceUnavailableError,),
        ),
        Endpoint(
            method="GET",
            path="/v1/models/{id:path}",
            answer=get_model,
            summary="Show one model, by its name, an alias or its source.",
            answers={200: _json("The model.", _MODEL)},
            errors=(InvalidRequestError, ModelNotFoundError, ServiceUnavailableError),
        ),
        Endpoint(
            method="GET",
            path="/api/ps",
            answer=list_running,
            summary="List the models that are in memory, and in how many replicas.",
            answers={200: _json("Those with at least one replica.", _RUNNING)},
            errors=(ServiceUnavailableError,),
        ),
    ]


def _changing(service: ModelService) -> list[Endpoint]:
    async def load_model(http: Request) -> Response:
        card = await service.load_model(_name(http))
        body = {"id": card.name, "object": "model", "state": card.state}
        status = 200 if card.state is ModelState.READY else 202
        return JSONResponse({**body, "message": _MESSAGES[card.state]}, status_code=status)

    async def delete_model(http: Request) -> Response:
        name = _name(http)
        await service.delete_model(name)
        return JSONResponse({"id": name, "object": "model", "deleted": True})

    return [
        Endpoint(
            method="POST",
            path="/v1/models/{id:path}",
            answer=load_model,
            summary="Load a declared model ahead of its first request.",
            description="A first start downloads it. Other models must be declared first.",
            role=Role.ADMIN,
            answers={
                200: _json("It is loaded.", _LOADED),
                202: _json("It is being loaded.", _LOADED),
            },
            errors=(InvalidRequestError, ModelNotFoundError, ServiceUnavailableError),
        ),
        Endpoint(
            method="DELETE",
            path="/v1/models/{id:path}",
            answer=delete_model,
            summary="Delete the cached weights of a model that the app does not declare.",
            description="From the Hugging Face cache of the node where the Ingress runs.",
            role=Role.ADMIN,
            answers={200: _json("They are gone.", _DELETED)},
            errors=(InvalidRequestError, ModelNotCachedError),
        ),
    ]


def _name(http: Request) -> str:
    """Return the model named in the path. Raises InvalidRequestError where there is none."""
    name: str = http.path_params["id"]
    if not name:  # elsewhere an empty name means the first model
        raise InvalidRequestError("model", "The path names no model.")
    return name


def _json(description: str, schema: Schema) -> Answer:
    return Answer(description=description, content={"application/json": schema})


def _body(card: ModelCard) -> dict[str, object]:
    return {
        "id": card.name,
        "object": "model",
        "created": CREATED_S,
        "owned_by": card.owner,
        "state": card.state,
        "aliases": list(card.aliases),
    }
