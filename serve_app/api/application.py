"""The Starlette application: which path answers with what. Made by the Ingress."""

from collections.abc import Awaitable, Callable, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from serve_app.admission import ByteBudget
from serve_app.api import detection, diarization, docs, health, metrics, models, transcriptions
from serve_app.api.endpoint import Endpoint
from serve_app.api.errors import EXCEPTION_HANDLERS, on_unexpected
from serve_app.api.keys import Keys
from serve_app.api.middleware import REQUEST_ID, Cors, RequestIds, UploadLimit, Visits
from serve_app.api.service import Service
from serve_app.errors import TranscriptionError
from serve_app.settings import ApiSettings
from serve_app.visits import Record


def create_app(
    service: Service,
    settings: ApiSettings | None = None,
    keys: Keys | None = None,
    *,
    sets_request_id: bool = True,
    record: Record = lambda visit: None,
) -> Starlette:
    """Return the application.

    Args:
        service: what answers.
        settings: limits and origins; None: the defaults.
        keys: who may call; None: everybody.
        sets_request_id: whether answers get an `x-request-id` here, and not from a proxy.
        record: is told of every request that has ended.
    """
    settings, keys = settings or ApiSettings(), keys or Keys()
    endpoints = [
        *transcriptions.endpoints(service),
        *detection.endpoints(service),
        *diarization.endpoints(service),
        *models.endpoints(service),
        *health.endpoints(service),
        *metrics.endpoints(service),
    ]
    endpoints += docs.endpoints(endpoints, needs_key=bool(keys))
    routes = _routes(endpoints, keys)
    visits = Middleware(Visits, routes=routes, record=record)
    return Starlette(
        routes=routes,
        middleware=[visits, *_middleware(settings, sets_request_id=sets_request_id)],
        exception_handlers=EXCEPTION_HANDLERS,
    )


def _routes(endpoints: Sequence[Endpoint], keys: Keys) -> list[Route]:
    """Return one route per path, so that a wrong method is told all that are allowed."""
    by_path: dict[str, dict[str, Callable[[Request], Awaitable[Response]]]] = {}
    for endpoint in endpoints:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = _guard(endpoint, keys)
    return [
        Route(path, _dispatch(answers), methods=list(answers)) for path, answers in by_path.items()
    ]


def _dispatch(
    answers: dict[str, Callable[[Request], Awaitable[Response]]],
) -> Callable[[Request], Awaitable[Response]]:
    async def dispatch(http: Request) -> Response:
        # Starlette lets HEAD through where GET is allowed.
        return await answers["GET" if http.method == "HEAD" else http.method](http)

    return dispatch


def _guard(endpoint: Endpoint, keys: Keys) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint's answer behind its check of the key, before the body is read."""

    async def answer(http: Request) -> Response:
        try:
            if endpoint.role is not None:
                keys.check(http.headers, endpoint.role)
            return await endpoint.answer(http)
        except (TranscriptionError, HTTPException):
            raise
        except ClientDisconnect:  # while it sent its file: nobody reads the answer
            return Response(status_code=499)
        # Here and not in Starlette's outermost handler, which stands outside the middleware: the
        # answer would have neither request id nor CORS headers.
        except Exception as error:  # noqa: BLE001 - whatever a service throws is answered
            return on_unexpected(http, error)

    return answer


def _middleware(settings: ApiSettings, *, sets_request_id: bool) -> list[Middleware]:
    stack = [
        Middleware(
            UploadLimit,
            limit_bytes=settings.max_upload_bytes,
            limit_s=settings.upload_timeout_s,
            held=ByteBudget(settings.max_held_bytes, n_reserved=settings.reserved_bytes),
        )
    ]
    if settings.allow_origins:
        cors = Middleware(
            Cors,
            allow_origins=settings.allow_origins,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=("*",),  # OpenAI's client sends a dozen of its own
            expose_headers=(REQUEST_ID, "Retry-After", "x-should-retry"),
        )
        stack.insert(0, cors)
    return [Middleware(RequestIds), *stack] if sets_request_id else stack
