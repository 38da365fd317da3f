"""The manifests as Ray itself reads them; nothing is started."""

from ray.autoscaler._private.kuberay import autoscaling_config
from ray.serve.schema import ServeDeploySchema

from k8s import render
from tests.manifests import manifest, profiles, served


@profiles
def test_serve_accepts_the_config_in_a_manifest(name: str) -> None:
    schema = ServeDeploySchema.model_validate(served(name))
    assert schema.http_options.host == "0.0.0.0"
    deployments = {d.name: d for app in schema.applications for d in app.deployments}
    options = deployments["AudioPreprocessor"].ray_actor_options
    assert options.label_selector == {render.TIER: "decode"}


@profiles
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
    assert decode["resources"]["CPU"] == 16
    assert "GPU" not in decode["resources"]
    assert whisper["resources"]["GPU"] == 1
    assert decode["min_workers"] == 2
    assert whisper["min_workers"] == 1
    assert decode["max_workers"] >= whisper["max_workers"] >= 8
