"""The manifests have only fields that exist: a misspelt one would be dropped without a word."""

import os
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from k8s import render
from tests.manifests import (
    K8S,
    OTHERS,
    Document,
    cluster,
    documents,
    groups,
    manifest,
    profiles,
    ray_containers,
)

KUBERNETES = "1.33"  # whose schemas the built-in kinds are held against


@pytest.mark.parametrize("document", OTHERS)
def test_built_in_kinds_have_only_fields_that_kubernetes_knows(document: Document) -> None:
    kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_an_unknown_field_of_a_built_in_kind_is_found() -> None:
    [document] = documents(K8S / "base/disruption.yaml")
    document["spec"]["minAvailible"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


def closed(properties: Document, *required: str) -> Document:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


TEXT, FLAG, COUNT = {"type": "string"}, {"type": "boolean"}, {"type": "integer", "minimum": 0}
TEXTS = {"type": "object", "additionalProperties": TEXT}
POD = {"type": "object"}  # held against Kubernetes's own schema
GROUP = {"rayStartParams": TEXTS, "labels": TEXTS, "template": POD}
# Written by hand after KubeRay's reference, and narrower than it: what the manifests use.
RAY_SERVICE = closed(
    {
        "apiVersion": {"const": "ray.io/v1"},
        "kind": {"const": "RayService"},
        "metadata": closed({"name": TEXT}, "name"),
        "spec": closed(
            {
                "serveConfigV2": TEXT,
                "excludeHeadPodFromServeSvc": FLAG,
                "upgradeStrategy": closed({"type": {"enum": ["NewCluster", "None"]}}),
                "rayClusterConfig": closed(
                    {
                        "rayVersion": TEXT,
                        "authOptions": closed({"mode": {"enum": ["token", "disabled"]}}),
                        "gcsFaultToleranceOptions": closed(
                            {"redisAddress": TEXT, "redisPassword": {"type": "object"}}
                        ),
                        "enableInTreeAutoscaling": FLAG,
                        "autoscalerOptions": closed(
                            {
                                "version": {"enum": ["v1", "v2"]},
                                "idleTimeoutSeconds": COUNT,
                                "securityContext": {"type": "object"},
                                "resources": {"type": "object"},
                            }
                        ),
                        "headGroupSpec": closed(GROUP, "template"),
                        "workerGroupSpecs": {
                            "type": "array",
                            "items": closed(
                                {
                                    **GROUP,
                                    "groupName": TEXT,
                                    "minReplicas": COUNT,
                                    "maxReplicas": COUNT,
                                    "idleTimeoutSeconds": COUNT,
                                },
                                *("groupName", "minReplicas", "maxReplicas", "template"),
                            ),
                        },
                    },
                    *("headGroupSpec", "rayVersion"),
                ),
            },
            *("rayClusterConfig", "serveConfigV2"),
        ),
    },
    *("apiVersion", "kind", "metadata", "spec"),
)


@profiles
def test_a_rayservice_has_only_known_fields(name: str) -> None:
    jsonschema.validate(manifest(name), RAY_SERVICE)


@profiles
def test_the_pods_of_a_rayservice_have_only_fields_that_kubernetes_knows(name: str) -> None:
    for spec in [cluster(name)["headGroupSpec"], *groups(name).values()]:
        template = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "pod"}}
        template["template"] = spec["template"]
        kubernetes_validate.validate(template, KUBERNETES, strict=True)


@cache
def kuberay() -> jsonschema.Draft202012Validator:
    """Return a check against RayService's schema as KubeRay has it, with every object closed."""
    [crd] = documents(Path(os.environ["KUBERAY_CRD"]))
    [version] = [v for v in crd["spec"]["versions"] if v["name"] == "v1"]
    schema = version["schema"]["openAPIV3Schema"]
    close(schema)
    return jsonschema.Draft202012Validator(schema)


def close(schema: Any) -> None:
    if isinstance(schema, list):
        for part in schema:
            close(part)
    elif isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict) and not schema.get(
            "x-kubernetes-preserve-unknown-fields"
        ):
            schema.setdefault("additionalProperties", False)
        for part in schema.values():
            close(part)


needs_crd = pytest.mark.skipif(
    "KUBERAY_CRD" not in os.environ,
    reason="KUBERAY_CRD names no file: kubectl get crd rayservices.ray.io -o yaml",
)


@needs_crd
@profiles
def test_a_rayservice_holds_against_kuberays_own_schema(name: str) -> None:
    kuberay().validate(manifest(name))


@needs_crd
@pytest.mark.parametrize("place", ["", "rayClusterConfig", "rayClusterConfig.headGroupSpec"])
def test_an_unknown_field_fails_kuberays_own_schema(place: str) -> None:
    document = manifest("turbo")
    part = document["spec"]
    for key in filter(None, place.split(".")):
        part = part[key]
    part["enableEverything"] = True
    with pytest.raises(jsonschema.ValidationError, match="enableEverything"):
        kuberay().validate(document)


# Written by hand after the Prometheus operator's reference: what the manifest uses.
POD_MONITOR = closed(
    {
        "apiVersion": {"const": "monitoring.coreos.com/v1"},
        "kind": {"const": "PodMonitor"},
        "metadata": closed({"name": TEXT, "labels": TEXTS}, "name"),
        "spec": closed(
            {
                "selector": closed({"matchLabels": TEXTS}, "matchLabels"),
                "podMetricsEndpoints": {
                    "type": "array",
                    "items": closed(
                        {
                            "port": TEXT,
                            "interval": {"type": "string", "pattern": "^[0-9]+s$"},
                            "relabelings": {
                                "type": "array",
                                "items": closed(
                                    {
                                        "sourceLabels": {"type": "array", "items": TEXT},
                                        "targetLabel": TEXT,
                                    }
                                ),
                            },
                        },
                        "port",
                    ),
                },
            },
            *("selector", "podMetricsEndpoints"),
        ),
    },
    *("apiVersion", "kind", "metadata", "spec"),
)


def test_the_podmonitor_has_only_known_fields_and_finds_every_ray_pods_exporter() -> None:
    [monitor] = documents(K8S / "podmonitor.yaml")
    jsonschema.validate(monitor, POD_MONITOR)
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    for name in render.PROFILES:
        for container in ray_containers(name):
            assert {"name": endpoint["port"], "containerPort": 8080} in container["ports"]
