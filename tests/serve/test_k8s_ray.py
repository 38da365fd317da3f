"""The manifests as Ray itself reads them; nothing is started."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.kuberay import autoscaling_config
from ray.serve.schema import ServeDeploySchema

from k8s import render


def manifest(name: str) -> dict[str, Any]:
    text = (Path(render.__file__).parent / f"{name}.yaml").read_text()
    return yaml.load(text, Loader=yaml.CSafeLoader)


@pytest.mark.parametrize("name", render.PROFILES)
def test_serve_accepts_the_config_in_a_manifest(name: str) -> None:
    config = yaml.safe_load(manifest(name)["spec"]["serveConfigV2"])
    schema = ServeDeploySchema.model_validate(config)
    assert schema.http_options.host == "0.0.0.0"
    deployments = {d.name: d for app in schema.applications for d in app.deployments}
    options = deployments["AudioPreprocessor"].ray_actor_options
    assert options.label_selector == {render.TIER: "decode"}


@pytest.mark.parametrize("name", render.PROFILES)
def test_rays_autoscaler_reads_cores_gpus_labels_and_bounds_from_a_manifest(name: str) -> None:
    spec = manifest(name)["spec"]["rayClusterConfig"]
    cluster = {"metadata": {"name": "whisper", "namespace": "whisper"}, "spec": spec}
    types = autoscaling_config._derive_autoscaling_config_from_ray_cr(cluster)[
        "available_node_types"
    ]
    assert types["headgroup"]["resources"]["CPU"] == 0
    decode, whisper = types["decode"], types["whisper"]
    assert decode["labels"] == {render.TIER: "decode"}
    assert whisper["labels"] == {render.TIER: "whisper"}
    assert decode["resources"]["CPU"] == 14
    assert "GPU" not in decode["resources"]
    assert whisper["resources"]["GPU"] == 1
    assert decode["min_workers"] == 2
    assert whisper["min_workers"] == 1
    assert decode["max_workers"] >= whisper["max_workers"] >= 8
