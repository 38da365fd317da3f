import pytest
from prometheus_client.parser import text_string_to_metric_families

from serve_app.metrics_page import merge_pages

HEAD = """# HELP ray_node_mem Not ours.
# TYPE ray_node_mem gauge
ray_node_mem{ip="10.0.0.1"} 1.0
# HELP ray_serve_app_requests_total Requests.
# TYPE ray_serve_app_requests_total counter
ray_serve_app_requests_total{code="200",replica="a"} 3.0
ray_serve_app_requests_total{code="404",replica="a"} 1.0
"""
WORKER = r"""# HELP ray_serve_app_requests_total Requests.
# TYPE ray_serve_app_requests_total counter
ray_serve_app_requests_total{code="200",replica="b \"}\\"} 5.0
# HELP ray_serve_app_batch_chunks Chunks in a batch.
# TYPE ray_serve_app_batch_chunks histogram
ray_serve_app_batch_chunks_bucket{le="1.0",replica="b"} 1.0
ray_serve_app_batch_chunks_bucket{le="+Inf",replica="b"} 2.0
ray_serve_app_batch_chunks_count{replica="b"} 2.0
ray_serve_app_batch_chunks_sum{replica="b"} 3.0
"""


def test_every_series_of_every_node_is_on_one_page_with_its_labels() -> None:
    page = merge_pages({"10.0.0.1:80": HEAD, "10.0.0.2:80": WORKER})
    families = {family.name: family for family in text_string_to_metric_families(page)}
    requests = families["ray_serve_app_requests"]
    assert (requests.type, requests.documentation) == ("counter", "Requests.")
    assert {(s.name, s.labels["code"], s.labels["replica"], s.value) for s in requests.samples} == {
        ("ray_serve_app_requests_total", "200", "a", 3.0),
        ("ray_serve_app_requests_total", "404", "a", 1.0),
        ("ray_serve_app_requests_total", "200", 'b "}\\', 5.0),
    }
    batches = families["ray_serve_app_batch_chunks"]
    assert batches.type == "histogram"
    assert len(batches.samples) == 4


def test_a_metric_has_one_head_however_many_nodes_have_it() -> None:
    page = merge_pages({"a": HEAD, "b": HEAD.replace('replica="a"', 'replica="b"'), "c": WORKER})
    heads = [line for line in page.splitlines() if line.startswith("#")]
    assert len(heads) == len(set(heads)) == 6  # three metrics, HELP and TYPE of each


def test_what_is_not_ours_is_left_out() -> None:
    assert "ray_node_mem" not in merge_pages({"a": HEAD})


@pytest.mark.parametrize("other", [None, "ray_serve_app_requests{code= 3"])
def test_a_node_without_a_page_that_can_be_read_is_said(other: str | None) -> None:
    page = merge_pages({"10.0.0.1:80": HEAD, "10.0.0.2:80": other})
    assert 'ray_serve_app_node_up{node="10.0.0.1:80"} 1.0' in page
    assert 'ray_serve_app_node_up{node="10.0.0.2:80"} 0.0' in page
    assert 'code="404"' in page
