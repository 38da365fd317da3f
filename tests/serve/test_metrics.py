"""The metrics of the real graph, as Prometheus would read them from GET /metrics."""

import time
from collections.abc import Callable, Mapping

import pytest
import requests
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from serve_app import metrics
from serve_app.domain import SAMPLE_RATE, TranscriptionRequest
from serve_app.errors import ModelNotFoundError
from tests.clips import DATA, clip
from tests.serve.conftest import TIMEOUT_S, Graph

Page = Mapping[str, Family]
CLIP = (DATA / "light.flac").read_bytes()
TRANSCRIPTIONS = "/v1/audio/transcriptions"


def read(graph: Graph) -> Page:
    answer = requests.get(f"{graph.url}/metrics", timeout=TIMEOUT_S)
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = list(text_string_to_metric_families(answer.text))
    assert len({family.name for family in families}) == len(families)
    return {family.name: family for family in families}


def wait_for(graph: Graph, condition: Callable[[Page], bool]) -> Page:
    """Read until it is so: what is recorded arrives with Ray's next report."""
    deadline = time.monotonic() + 60
    while not condition(page := read(graph)):
        assert time.monotonic() < deadline, sorted(page)
        time.sleep(0.5)
    return page


def values(page: Page, spec: metrics.Metric, label: str, **labels: str) -> set[str]:
    """Return the values of a label in the series that have these labels."""
    family = page.get(spec.exported.removesuffix("_total"))
    return {
        sample.labels[label]
        for sample in (family.samples if family else ())
        if labels.items() <= sample.labels.items()
    }


def count(page: Page, spec: metrics.Metric, **labels: str) -> float:
    """Return the sum of the counter's series that have these labels."""
    family = page.get(spec.exported.removesuffix("_total"))
    return sum(
        sample.value
        for sample in (family.samples if family else ())
        if labels.items() <= sample.labels.items()
    )


@pytest.fixture(scope="module")
def page(graph: Graph) -> Page:
    """What is there after one request of each kind."""
    before = read(graph)
    graph.post(CLIP, response_format="verbose_json", **{"timestamp_granularities[]": "word"})
    graph.post(CLIP, stream="true")
    graph.post(b"no audio")
    graph.post(CLIP, model="made-up")
    for path in ("/v1/audio/language", "/v1/audio/speech/timestamps"):
        requests.post(graph.url + path, files={"file": CLIP}, timeout=TIMEOUT_S)
    requests.get(f"{graph.url}/v1/models/made/up", timeout=TIMEOUT_S)
    requests.get(f"{graph.url}/made/up/path", timeout=TIMEOUT_S)
    graph.handle.transcribe.remote(CLIP, TranscriptionRequest()).result()
    with pytest.raises(ModelNotFoundError):
        graph.handle.detect_language.remote(CLIP, "made-up").result()

    def is_complete(now: Page) -> bool:
        def own(route: str, code: str) -> float:
            labels = {"route": route, "code": code}
            return count(now, metrics.REQUESTS, **labels) - count(
                before, metrics.REQUESTS, **labels
            )

        # A report may have been made between two of the requests: the last ones tell.
        last = (("/v1/models/{id}", "404"), ("other", "404"), ("handle:detect_language", "404"))
        names = {spec.exported.removesuffix("_total") for spec in metrics.ALL}
        return (
            own(TRANSCRIPTIONS, "200") >= 2
            and all(own(*request) for request in last)
            and names <= set(now)
            and "align" in values(now, metrics.STAGE_SECONDS, "stage")
        )

    return wait_for(graph, is_complete)


def test_every_documented_metric_is_there_with_its_labels(page: Page) -> None:
    for spec in metrics.ALL:
        family = page[spec.exported.removesuffix("_total")]
        assert (family.type, family.documentation) == (spec.kind, spec.description)
        for sample in family.samples:
            assert set(spec.labels) <= set(sample.labels), spec.name
    assert set(page) == {spec.exported.removesuffix("_total") for spec in metrics.ALL}


def test_every_replica_process_is_there(page: Page) -> None:
    seen = {
        (spec.name, sample.labels["deployment"])
        for spec in metrics.ALL
        if spec is not metrics.NODE_UP
        for sample in page[spec.exported.removesuffix("_total")].samples
        if sample.labels["application"] == "whisper" and sample.labels["replica"]
    }
    by_deployment = {
        "Ingress": metrics.INGRESS,
        "AudioPreprocessor": metrics.PREPROCESSOR,
        "WhisperTranscriber-demo": metrics.TRANSCRIBER,
    }
    expected = {(spec.name, name) for name, specs in by_deployment.items() for spec in specs}
    assert seen == expected
    assert {sample.value for sample in page[metrics.NODE_UP.exported].samples} == {1.0}


def test_stages_are_timed_where_they_run(page: Page) -> None:
    stages = values(page, metrics.STAGE_SECONDS, "stage") - {"diarize"}  # another app's, beside it
    assert stages == {"decode", "vad", "queue", "features", "encode", "generate", "align"}


def test_requests_are_counted_by_route_model_and_code_whatever_callers_make_up(page: Page) -> None:
    def n(route: str, code: str, model: str) -> float:
        return count(page, metrics.REQUESTS, route=route, code=code, model=model)

    assert n(TRANSCRIPTIONS, "200", "demo") >= 2
    assert n(TRANSCRIPTIONS, "400", "demo") >= 1
    assert n(TRANSCRIPTIONS, "404", "-") >= 1
    assert n("/v1/audio/language", "200", "demo") >= 1
    assert n("/v1/audio/speech/timestamps", "200", "-") >= 1
    assert n("/v1/models/{id}", "404", "-") >= 1
    assert n("other", "404", "-") >= 1
    assert n("handle:transcribe", "200", "demo") >= 1
    assert n("handle:detect_language", "404", "-") >= 1
    assert values(page, metrics.REQUESTS, "model", application="whisper") <= {"demo", "-"}
    assert not any("made" in route for route in values(page, metrics.REQUESTS, "route"))


def test_rejections_are_counted_by_the_errors_code(page: Page) -> None:
    for reason in ("invalid_audio", "model_not_found", "not_found"):
        assert count(page, metrics.REJECTIONS, reason=reason) >= 1
    assert count(page, metrics.REJECTIONS, reason="internal_error") == 0
    reasons = values(page, metrics.REJECTIONS, "reason")
    assert "queue_full" in reasons  # at 0 before the first, as all that is the server's fault
    assert "invalid_api_key" not in reasons


def test_audio_and_chunks_are_counted(graph: Graph) -> None:
    before = read(graph)
    for _ in range(3):
        graph.post(CLIP)

    def grown(spec: metrics.Metric, now: Page) -> float:
        return count(now, spec, application="whisper") - count(before, spec, application="whisper")

    audio_s = 3 * len(clip("light")) / SAMPLE_RATE
    wait_for(graph, lambda now: grown(metrics.AUDIO_SECONDS, now) >= 0.99 * audio_s)
    wait_for(graph, lambda now: grown(metrics.CHUNKS, now) >= 3)
    assert count(before, metrics.MAX_BATCH_SIZE, application="whisper") >= 1
