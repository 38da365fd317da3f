"""The pages of all nodes' exporters in, one page out. Pure; called by the Ingress for /metrics."""

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from serve_app.metrics import NODE_UP, PREFIX

CONTENT_TYPE = CONTENT_TYPE_LATEST
OURS = f"{PREFIX}serve_app_"


def merge_pages(pages: Mapping[str, str | None]) -> str:
    """Merge the exporters' pages: one HELP and TYPE per metric, every series as its node gave it.

    Args:
        pages: each node's page by its address; None where it did not answer.

    Returns:
        This project's metrics and whether each node is among them, in Prometheus's text format.
    """
    families: dict[str, Metric] = {}
    up = GaugeMetricFamily(NODE_UP.exported, NODE_UP.description, labels=NODE_UP.labels)
    for node, page in sorted(pages.items()):
        found = _parse(page)
        up.add_metric([node], float(found is not None))
        for family in found or ():
            known = families.setdefault(family.name, family)
            if known is not family:
                known.samples.extend(family.samples)
    return generate_latest(_Page([*families.values(), up])).decode()


def _parse(page: str | None) -> list[Metric] | None:
    """Return what a page holds of ours; None where there is no page, or it cannot be read."""
    if page is None:
        return None
    try:
        return list(text_string_to_metric_families(_ours(page)))
    except ValueError:
        return None


def _ours(page: str) -> str:
    """Keep the lines of this project's metrics: an exporter's page is some thousand others."""
    starts = (OURS, f"# HELP {OURS}", f"# TYPE {OURS}")
    lines = (line for line in page.splitlines() if line.startswith(starts))
    return "".join(f"{line}\n" for line in lines)


class _Page(Collector):
    """What `generate_latest` writes: the families that it is given."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Return the families."""
        return self._families
