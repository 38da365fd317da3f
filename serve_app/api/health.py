"""Whether the app is up, for those who start, route to and restart it."""

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from serve_app.api.endpoint import Answer, Endpoint, object_of
from serve_app.api.errors import to_body
from serve_app.api.service import HealthService
from serve_app.errors import ServiceUnavailableError

# The first of each is ours; probes of other speech servers ask for the others.
ALIVE_PATHS = ("/health", "/healthz", "/v1/health/live")
READY_PATHS = ("/ready", "/v1/health/ready")

_TEXT = {"type": "string"}
_WAITING = object_of(status=_TEXT, waiting_for={"type": "array", "items": _TEXT})


def endpoints(service: HealthService) -> list[Endpoint]:
    """Return the routes of this group."""

    async def health(_: Request) -> Response:
        return PlainTextResponse("OK")

    async def ready(_: Request) -> Response:
        waiting = await service.waiting_for()
        if waiting:
            error = ServiceUnavailableError(f"Waiting for {', '.join(waiting)}.")
            body = {"status": "starting", "waiting_for": waiting, **to_body(error)}
            return JSONResponse(body, status_code=error.status, headers={"Retry-After": "2"})
        return JSONResponse({"status": "ready"})

    alive = [
        Endpoint(
            method="GET",
            path=path,
            answer=health,
            summary="Tell that the process is up.",
            role=None,
            answers={200: Answer(description="It is.", content={"text/plain": _TEXT})},
        )
        for path in ALIVE_PATHS
    ]
    able = [
        Endpoint(
            method="GET",
            path=path,
            answer=ready,
            summary="Tell whether every deployment has a replica that has run a real decode.",
            description="A model at zero replicas needs none: its next request starts one.",
            role=None,
            answers={
                200: Answer(
                    description="It has.", content={"application/json": object_of(status=_TEXT)}
                ),
                503: Answer(description="Who is missing.", content={"application/json": _WAITING}),
            },
        )
        for path in READY_PATHS
    ]
    return [*alive, *able]
