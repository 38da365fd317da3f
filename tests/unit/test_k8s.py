"""The manifests: configs that are the profiles', numbers that fit, and names that match."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from k8s import render
from serve_app.cli import main
from serve_app.cli.graph import RAY_ENVIRONMENT
from serve_app.profiles import NAMES
from serve_app.settings import AppSettings
from tests.manifests import (
    K8S,
    OTHERS,
    ROOT,
    Document,
    cluster,
    deployments,
    documents,
    groups,
    manifest,
    profiles,
    served,
)

README = (K8S / "README.md").read_text()
OPENAI_CLIENT_S = 600  # its `timeout`, unless told otherwise


def gib(quantity: str) -> int:
    assert quantity.endswith("Gi")
    return int(quantity.removesuffix("Gi")) * 2**30


# -- configs that are the profiles' --------------------------------------------------------------


@profiles
def test_the_committed_manifest_is_what_render_makes(name: str) -> None:
    assert (K8S / f"{name}.yaml").read_text() == render.render(ROOT / f"configs/{name}.yaml"), (
        "run: python -m k8s.render"
    )


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
    assert configs - set(render.PROFILES) == {"demo", "demo-diarization"}


def test_a_deployment_takes_the_group_of_its_first_word() -> None:
    assert render.tier_of({"name": "WhisperTranscriber-large-v3"}) == "whisper"
    assert render.tier_of({"name": "SpeakerDiarizer"}) == "diarize"


def test_gpu_pods_are_counted_by_whole_replicas_on_a_card() -> None:
    def transcriber(share: float, n: int, cpus: int = 1) -> Document:
        return {
            "name": "WhisperTranscriber-x",
            "ray_actor_options": {"num_gpus": share, "num_cpus": cpus},
            "autoscaling_config": {"max_replicas": n},
        }

    assert render.pods([transcriber(1, 8)], 4, "max_replicas") == 8
    assert render.pods([transcriber(0.55, 8)], 4, "max_replicas") == 8
    assert render.pods([transcriber(0.25, 8)], 4, "max_replicas") == 2
    for gpus, cpus in ((2, 1), (1, 8), (0, 0)):
        with pytest.raises(ValueError, match="one GPU"):
            render.pods([transcriber(gpus, 8, cpus)], 4, "max_replicas")


def with_speakers(*sets: str) -> Document:
    """Return the last worker group of a profile with the shipped overlay and these options."""
    config = CliRunner().invoke(main, ["config", "turbo", "--overlay", "diarization", *sets]).stdout
    template = documents(K8S / "rayservice.yaml")[0]
    document = render.rayservice(yaml.safe_load(config), template)
    group: Document = document["spec"]["rayClusterConfig"]["workerGroupSpecs"][-1]
    assert group["groupName"] == "diarize"
    return group


def test_a_diarizer_without_a_gpu_gets_pods_without_one() -> None:
    group = with_speakers()
    assert (group["minReplicas"], group["maxReplicas"]) == (1, 4)
    [container] = group["template"]["spec"]["containers"]
    assert all(render.GPU not in bounds for bounds in container["resources"].values())
    assert cores(group) <= int(container["resources"]["requests"]["cpu"])


def test_a_diarizer_with_half_a_gpu_gets_a_card_for_two() -> None:
    options = "deployments.SpeakerDiarizer.ray_actor_options"
    group = with_speakers("--set", f"{options}.num_gpus=0.5", "--set", f"{options}.num_cpus=2")
    assert (group["minReplicas"], group["maxReplicas"]) == (1, 2)
    by_cores = with_speakers("--set", f"{options}.num_gpus=0.5")  # 4 cores each, of a pod's 4
    assert by_cores["maxReplicas"] == 4
    [container] = group["template"]["spec"]["containers"]
    assert container["resources"]["limits"][render.GPU] == "1"


def test_a_file_of_ones_own_is_printed_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in K8S.glob("*.yaml")}
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        CliRunner().invoke(main, ["config", "turbo", "--overlay", "diarization"]).stdout
    )
    render.main([str(mine)])
    [made] = yaml.safe_load_all(capsys.readouterr().out)
    assert "diarize" in {
        g["groupName"] for g in made["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    }
    assert before == {path: path.stat().st_mtime_ns for path in K8S.glob("*.yaml")}


SHORT = "applications: [{import_path: 'serve_app.app:app', args: {model: turbo, device: cuda}}]"


def test_a_short_profile_keeps_what_the_code_takes_beside_the_label(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(SHORT)
    [made] = yaml.safe_load_all(render.render(mine))
    config = yaml.safe_load(made["spec"]["serveConfigV2"])
    assert config["http_options"] == {"host": "0.0.0.0", "port": 8000}
    options = {
        one["name"]: {**one["ray_actor_options"]}
        for one in config["applications"][0]["deployments"]
    }
    labels = [one.pop("label_selector")[render.TIER] for one in options.values()]
    assert labels == ["decode", "decode", "whisper"]
    assert options["WhisperTranscriber-turbo"] == {"num_cpus": 1, "num_gpus": 1}
    assert options["Ingress"] == {"num_cpus": 0.25}
    whisper = made["spec"]["rayClusterConfig"]["workerGroupSpecs"][-1]
    [container] = whisper["template"]["spec"]["containers"]
    assert container["resources"]["limits"][render.GPU] == "1"


def test_a_key_in_the_shells_variable_is_not_asked_for_in_a_pod() -> None:
    made = CliRunner().invoke(main, ["config", "turbo"], env={"API_KEY": "s3cret"}).stdout
    document = render.rayservice(yaml.safe_load(made), documents(K8S / "rayservice.yaml")[0])
    [app] = yaml.safe_load(document["spec"]["serveConfigV2"])["applications"]
    assert app["args"]["api"] == {"keys_file": render.KEYS_FILE}


@pytest.mark.parametrize(("number", "pods"), [("2", 2), ("auto", 100), ("null", 1)])
def test_pods_are_counted_for_a_fixed_number_too(number: str, pods: int) -> None:
    deployment = {
        "name": "WhisperTranscriber-x",
        "num_replicas": yaml.safe_load(number),
        "ray_actor_options": {"num_gpus": 1},
    }
    assert render.pods([deployment], 4, "max_replicas") == pods


def test_a_profile_that_cannot_be_served_is_told_in_one_line(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(SHORT.replace("}}]", "}, deployments: [{name: Ingres}]}]"))
    with pytest.raises(SystemExit, match=r"^Error: No deployment 'Ingres'"):
        render.main([str(mine)])


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
def test_a_pod_that_is_told_to_end_ends_what_its_clients_still_wait_for(name: str) -> None:
    for group in groups(name).values():
        spec = group["template"]["spec"]
        [container] = spec["containers"]
        env = {variable["name"]: variable.get("value") for variable in container["env"]}
        drain_s = int(env["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
        assert OPENAI_CLIENT_S <= drain_s < spec["terminationGracePeriodSeconds"]


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


def test_a_front_proxy_starts_when_the_app_is_ready_and_stays_whatever_becomes_of_it() -> None:
    deployment = documents(K8S / "front-proxy/front-proxy.yaml")[0]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["startupProbe"]["httpGet"] == {"path": "/ready", "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/-/alive", "port": "http"}


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


def test_the_images_start_ray_with_what_the_command_line_starts_it_with() -> None:
    dockerfile = (K8S / "Dockerfile").read_text()
    assert all(f"{name}={value} " in dockerfile for name, value in RAY_ENVIRONMENT.items())
