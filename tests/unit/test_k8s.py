"""The manifests: fields that exist, configs that are the profiles', and numbers that fit."""

import os
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from k8s import render
from serve_app.profiles import NAMES
from serve_app.settings import AppSettings

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
README = (K8S / "README.md").read_text()
KUBERNETES = "1.33"  # whose schemas the built-in kinds are held against

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


def gib(quantity: str) -> int:
    assert quantity.endswith("Gi")
    return int(quantity.removesuffix("Gi")) * 2**30


# -- fields that exist ---------------------------------------------------------------------------


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


# -- configs that are the profiles' --------------------------------------------------------------


@profiles
def test_the_committed_manifest_is_what_render_makes(name: str) -> None:
    assert (K8S / f"{name}.yaml").read_text() == render.render(name), "run: python -m k8s.render"


@profiles
def test_the_cluster_runs_the_profile_but_for_network_placement_and_keys(name: str) -> None:
    profile = yaml.safe_load((ROOT / f"configs/{name}.yaml").read_text())
    config = served(name)
    assert config.pop("proxy_location") == "EveryNode"
    assert config.pop("http_options") == {**profile.pop("http_options"), "host": "0.0.0.0"}
    profile.pop("proxy_location")
    for app in config["applications"]:
        assert app["args"]["api"].pop("keys_file") == render.KEYS_FILE
        if not app["args"]["api"]:
            app["args"].pop("api")
        for deployment in app["deployments"]:
            assert deployment["ray_actor_options"].pop("label_selector")
    assert config == profile


@profiles
def test_the_settings_accept_the_args(name: str) -> None:
    for app in served(name)["applications"]:
        assert AppSettings.model_validate(app["args"]).api.keys_file == render.KEYS_FILE


def test_every_profile_that_needs_a_gpu_has_a_manifest() -> None:
    configs = {path.stem for path in (ROOT / "configs").glob("*.yaml")}
    assert configs - set(render.PROFILES) == {"demo"}


def test_a_deployment_takes_the_group_of_its_first_word() -> None:
    assert render.tier_of({"name": "WhisperTranscriber-large-v3"}) == "whisper"
    assert render.tier_of({"name": "SpeakerDiarizer"}) == "diarize"


def test_gpu_pods_are_counted_by_whole_replicas_on_a_card() -> None:
    def transcriber(share: float, n: int) -> Document:
        return {
            "name": "WhisperTranscriber-x",
            "ray_actor_options": {"num_gpus": share},
            "autoscaling_config": {"max_replicas": n},
        }

    assert render.pods([transcriber(1, 8)], "whisper", "max_replicas") == 8
    assert render.pods([transcriber(0.55, 8)], "whisper", "max_replicas") == 8
    assert render.pods([transcriber(0.25, 8)], "whisper", "max_replicas") == 2
    assert render.pods([transcriber(0.25, 8)], "diarize", "max_replicas") == 0


def test_a_profile_with_a_diarizer_has_the_group_for_it() -> None:
    profile = yaml.safe_load((ROOT / "configs/turbo.yaml").read_text())
    profile["applications"][0]["deployments"].append(
        {
            "name": "SpeakerDiarizer",
            "autoscaling_config": {"min_replicas": 0, "max_replicas": 3},
            "ray_actor_options": {"num_cpus": 1, "num_gpus": 1},
        }
    )
    document = render.rayservice(profile, documents(K8S / "rayservice.yaml")[0])
    jsonschema.validate(document, RAY_SERVICE)
    [*_, group] = document["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    assert (group["groupName"], group["minReplicas"], group["maxReplicas"]) == ("diarize", 0, 3)


# -- numbers that fit ----------------------------------------------------------------------------


def cores(group: Document) -> int:
    return int(group["rayStartParams"]["num-cpus"])


def most(deployment: Document, resource: str) -> float:
    n = deployment["autoscaling_config"]["max_replicas"]
    return n * deployment["ray_actor_options"].get(resource, 0)


@profiles
def test_every_deployment_belongs_to_exactly_one_worker_group(name: str) -> None:
    for deployment in deployments(name):
        selector = deployment["ray_actor_options"]["label_selector"].items()
        homes = [g for g in groups(name).values() if selector <= g["labels"].items()]
        assert len(homes) == 1, deployment["name"]


@profiles
def test_the_head_runs_no_replica_and_takes_no_requests(name: str) -> None:
    assert cluster(name)["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert manifest(name)["spec"]["excludeHeadPodFromServeSvc"] is True


@profiles
def test_two_proxies_or_more_on_machines_that_the_scheduler_spreads(name: str) -> None:
    decode = groups(name)["decode"]
    assert served(name)["proxy_location"] == "EveryNode"  # that holds a replica
    assert decode["minReplicas"] >= 2
    [ingress] = [d for d in deployments(name) if d["name"] == "Ingress"]
    assert ingress["autoscaling_config"]["min_replicas"] >= 2
    assert decode["template"]["spec"]["topologySpreadConstraints"]


@profiles
def test_twelve_cores_decode_for_every_gpu(name: str) -> None:
    decode, whisper = groups(name)["decode"], groups(name)["whisper"]
    [ingress] = [d for d in deployments(name) if d["name"] == "Ingress"]
    for bound in ("minReplicas", "maxReplicas"):
        left = decode[bound] * cores(decode) - most(ingress, "num_cpus")
        assert left >= 12 * whisper[bound]


@profiles
def test_all_replicas_that_autoscaling_may_ask_for_find_room(name: str) -> None:
    decode, whisper = groups(name)["decode"], groups(name)["whisper"]
    wanted = [d for d in deployments(name) if render.tier_of(d) == "decode"]
    assert sum(most(d, "num_cpus") for d in wanted) <= decode["maxReplicas"] * cores(decode)
    models = [d["ray_actor_options"] for d in deployments(name) if render.tier_of(d) == "whisper"]
    assert sum(options["num_gpus"] for options in models) <= 1  # one of each on one card
    assert sum(options["num_cpus"] for options in models) <= cores(whisper)


@profiles
def test_the_object_store_fits_into_shared_memory_and_that_into_the_pod(name: str) -> None:
    for group in groups(name).values():
        spec = group["template"]["spec"]
        [shm] = [v["emptyDir"] for v in spec["volumes"] if v["name"] == "shm"]
        store = int(group["rayStartParams"]["object-store-memory"])
        limit = gib(spec["containers"][0]["resources"]["limits"]["memory"])
        assert store <= gib(shm["sizeLimit"]) < limit / 2


@profiles
def test_ray_is_told_fewer_cores_than_the_pod_asks_for(name: str) -> None:
    for group in groups(name).values():
        [container] = group["template"]["spec"]["containers"]
        assert cores(group) <= int(container["resources"]["requests"]["cpu"])


# -- names that match ----------------------------------------------------------------------------


@profiles
def test_the_control_plane_is_guarded_and_its_state_outlives_the_head(name: str) -> None:
    assert cluster(name)["authOptions"] == {"mode": "token"}
    [_, service] = documents(K8S / "base/redis.yaml")
    address = f"{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert cluster(name)["gcsFaultToleranceOptions"]["redisAddress"] == address


def named(part: Any, key: str) -> Iterator[Any]:
    """Yield what stands under a key, wherever it is."""
    if isinstance(part, list):
        for item in part:
            yield from named(item, key)
    elif isinstance(part, dict):
        if key in part:
            yield part[key]
        for item in part.values():
            yield from named(item, key)


def test_the_readme_tells_how_to_make_every_secret() -> None:
    parts = [manifest("turbo"), *(p.values[0] for p in OTHERS)]
    wanted = {(ref["name"], ref["key"]) for ref in named(parts, "secretKeyRef")}
    wanted |= {(name, Path(render.KEYS_FILE).name) for name in named(parts, "secretName")}
    assert len(wanted) == 3
    for name, key in wanted:
        made = re.search(rf"create secret generic {name} .*?--from-\w+=([\w-]+)=", README)
        assert made, name
        assert made[1] == key


def test_the_keys_file_lies_where_the_ingress_pods_mount_it() -> None:
    [container] = groups("turbo")["decode"]["template"]["spec"]["containers"]
    [mount] = [m for m in container["volumeMounts"] if m["name"] == "api-keys"]
    assert mount["mountPath"] == str(Path(render.KEYS_FILE).parent)


@profiles
def test_every_volume_claim_is_made_by_the_base(name: str) -> None:
    claims = {c["claimName"] for c in named(manifest(name), "persistentVolumeClaim")}
    assert claims == {documents(K8S / "base/cache.yaml")[0]["metadata"]["name"]}


@profiles
def test_the_job_fetches_the_weights_of_every_profile(name: str) -> None:
    script = documents(K8S / "base/cache.yaml")[1]["spec"]["template"]["spec"]["containers"][0]
    for app in served(name)["applications"]:
        for model in app["args"]["models"]:
            assert f"hf download {model['source']}\n" in script["args"][0]


@profiles
def test_a_change_of_profile_keeps_the_address_that_the_front_proxy_asks(name: str) -> None:
    config = (K8S / "front-proxy/nginx.conf").read_text()
    assert f"server {manifest(name)['metadata']['name']}-serve-svc:8000 " in config


def test_readiness_is_the_apps_own() -> None:
    deployment = documents(K8S / "front-proxy/front-proxy.yaml")[0]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "http"}


def test_images_and_ray_are_of_the_versions_in_this_repository() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    compose = documents(K8S / "compose.yaml")[0]
    parts = [compose, *(manifest(name) for name in render.PROFILES)]
    assert {image.rpartition("-c")[0] for image in named(parts, "image")} == {
        f"serve-app:{version}"
    }
    for name in render.PROFILES:
        assert f"ray=={cluster(name)['rayVersion']}" in pins


def test_the_image_copies_what_the_build_sees_and_installs_extras_that_exist() -> None:
    dockerfile = (K8S / "Dockerfile").read_text()
    seen = re.findall(r"^!(\S+)$", (K8S / "Dockerfile.dockerignore").read_text(), re.M)
    sources = [s for line in re.findall(r"^COPY (.+) \S+$", dockerfile, re.M) for s in line.split()]
    assert sorted(sources) == sorted(seen)
    assert all((ROOT / source).exists() for source in sources)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for names in re.findall(r"EXTRAS=([\w,]+)", dockerfile):
        assert set(names.split(",")) <= extras["optional-dependencies"].keys()
    assert 'ENTRYPOINT ["serve-app", "serve"]' in dockerfile
    assert dockerfile.count("USER 1000") == len(re.findall("^FROM base", dockerfile, re.M))


def test_compose_passes_on_every_variable_that_has_an_effect() -> None:
    [compose] = documents(K8S / "compose.yaml")
    wanted = {name.name for name in NAMES if not name.no_meaning}
    inside = {"UVICORN_HOST", "UVICORN_PORT"}  # the container's address is the image's and `ports:`
    for service in compose["services"].values():
        assert set(service["environment"]) - {"HF_TOKEN"} == wanted - inside
        assert service["ports"] == ["127.0.0.1:8000:8000"]
        assert service["volumes"] == ["cache:/cache"]
    assert "UVICORN_HOST=0.0.0.0" in (K8S / "Dockerfile").read_text()
