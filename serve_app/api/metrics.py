"""The page of all metrics, for Prometheus."""

from starlette.requests import Request
from starlette.responses import Response

from serve_app.api.endpoint import Answer, Endpoint
from serve_app.api.service import MetricsService
from serve_app.contexts import make_aside
from serve_app.errors import ServiceUnavailableError
from serve_app.metrics_page import CONTENT_TYPE, merge_pages


def endpoints(service: MetricsService) -> list[Endpoint]:
    """Return the routes of this group."""

    async def show_metrics(_: Request) -> Response:
        pages = await service.export_metrics()
        merged = await make_aside(merge_pages, pages)  # an exporter's page is long
        return Response(merged, headers={"Content-Type": CONTENT_TYPE})

    return [
        Endpoint(
            method="GET",
            path="/metrics",
            answer=show_metrics,
            summary="Return this project's metrics of the whole cluster.",
            description="In Prometheus's text format. Ray reports to them every 10 s.",
            errors=(ServiceUnavailableError,),
            answers={
                200: Answer(
                    description="All metrics, whichever replica answers.",
                    content={"text/plain": {"type": "string"}},
                )
            },
        ),
    ]
