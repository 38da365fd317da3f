"""The manifests in k8s/, read, for the tests that hold them against something."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from k8s import render

ROOT = Path(__file__).parents[1]
K8S = ROOT / "k8s"

Document = dict[str, Any]


def documents(path: Path) -> list[Document]:
    return list(yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader))


OTHERS = [
    pytest.param(document, id=f"{path.stem}-{document['kind']}")
    for path in [*sorted(K8S.glob("base/*.yaml")), K8S / "front-proxy/front-proxy.yaml"]
    for document in documents(path)
]
profiles = pytest.mark.parametrize("name", render.PROFILES)


def manifest(name: str) -> Document:
    [document] = documents(K8S / f"{name}.yaml")
    return document


def cluster(name: str) -> Document:
    return manifest(name)["spec"]["rayClusterConfig"]


def groups(name: str) -> dict[str, Document]:
    return {g["groupName"]: g for g in cluster(name)["workerGroupSpecs"]}


def served(name: str) -> Document:
    return yaml.load(manifest(name)["spec"]["serveConfigV2"], Loader=yaml.CSafeLoader)


def deployments(name: str) -> list[Document]:
    return [d for app in served(name)["applications"] for d in app["deployments"]]


def ray_containers(name: str) -> Iterator[Document]:
    specs = [cluster(name)["headGroupSpec"], *groups(name).values()]
    for spec in specs:
        [container] = spec["template"]["spec"]["containers"]
        yield container
