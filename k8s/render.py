"""Profiles in (`configs/`), a RayService for each out (`k8s/<profile>.yaml`).

`python -m k8s.render` writes them. A manifest's `serveConfigV2` is the profile with three
differences: it listens on the cluster's network, its deployments name the worker group that they
belong in, and its API asks for keys.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
CONFIGS = HERE.parent / "configs"
PROFILES = ("turbo", "distil", "large-v3", "all")

TIER = "serve-app/tier"  # the label by which a deployment finds its worker group
# By the first word of a deployment's name; a WhisperTranscriber's ends in the model's.
TIERS = {
    "Ingress": "decode",
    "AudioPreprocessor": "decode",
    "WhisperTranscriber": "whisper",
    "SpeakerDiarizer": "diarize",
}
DECODE_CORES_PER_GPU = 12
DECODE_CORES_PER_POD = 12
KEYS_FILE = "/etc/serve-app/api-keys"  # the secret `whisper-api-keys`

Document = dict[str, Any]


def tier_of(deployment: Document) -> str:
    """Return the worker group of a deployment."""
    return TIERS[deployment["name"].partition("-")[0]]


def serve_config(profile: Document) -> Document:
    """Return a profile as the cluster runs it."""
    applications = [
        {
            **app,
            "args": {**app["args"], "api": {**app["args"].get("api", {}), "keys_file": KEYS_FILE}},
            "deployments": [_placed(deployment) for deployment in app["deployments"]],
        }
        for app in profile["applications"]
    ]
    return {
        **profile,
        "proxy_location": "EveryNode",
        "http_options": {**profile["http_options"], "host": "0.0.0.0", "port": 8000},
        "applications": applications,
    }


def _placed(deployment: Document) -> Document:
    options = {**deployment["ray_actor_options"], "label_selector": {TIER: tier_of(deployment)}}
    return {**deployment, "ray_actor_options": options}


def pods(deployments: Iterable[Document], tier: str, bound: str) -> int:
    """Return how many pods of a GPU group its deployments fill, each pod with one GPU.

    Args:
        deployments: of all groups.
        tier: the group.
        bound: `min_replicas` or `max_replicas`.
    """
    total = 0
    for deployment in deployments:
        if tier_of(deployment) == tier:
            scaling = deployment.get("autoscaling_config") or {}
            n_replicas = scaling.get(bound, deployment.get("num_replicas", 1))
            # A replica's share lies on one card: two of 0.55 need two.
            n_on_card = math.floor(1 / deployment["ray_actor_options"]["num_gpus"])
            total += math.ceil(n_replicas / n_on_card)
    return total


def rayservice(profile: Document, template: Document) -> Document:
    """Return a profile's manifest. The template is changed and returned."""
    spec = template["spec"]
    spec["serveConfigV2"] = _dump(serve_config(profile))
    cluster = spec["rayClusterConfig"]
    deployments = [d for app in profile["applications"] for d in app["deployments"]]
    used = {tier_of(d) for d in deployments}
    groups = {g["groupName"]: g for g in cluster["workerGroupSpecs"] if g["groupName"] in used}
    for tier in groups.keys() - {"decode"}:
        groups[tier]["minReplicas"] = pods(deployments, tier, "min_replicas")
        groups[tier]["maxReplicas"] = pods(deployments, tier, "max_replicas")
    cores = DECODE_CORES_PER_GPU * groups["whisper"]["maxReplicas"]
    decode = groups["decode"]
    decode["maxReplicas"] = max(decode["minReplicas"], math.ceil(cores / DECODE_CORES_PER_POD))
    cluster["workerGroupSpecs"] = list(groups.values())
    return template


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, and repeats what YAML would refer back to."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", data, "|" if "\n" in data else None)


_Dumper.add_representer(str, _Dumper.represent_str)


def _dump(document: Document) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=100)


def render(name: str) -> str:
    """Return the text of a profile's manifest."""
    profile = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    template = yaml.safe_load((HERE / "rayservice.yaml").read_text())
    head = (
        f"# Made by `python -m k8s.render` from k8s/rayservice.yaml and configs/{name}.yaml, where "
        "the reasons\n# stand. Change those.\n"
    )
    return head + _dump(rayservice(profile, template))


def main() -> None:
    """Write every manifest."""
    for name in PROFILES:
        (HERE / f"{name}.yaml").write_text(render(name))


if __name__ == "__main__":
    main()
