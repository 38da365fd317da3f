"""Profiles in (`configs/`), a RayService for each out (`k8s/<profile>.yaml`).

`python -m k8s.render` writes them; `python -m k8s.render mine.yaml` prints that of a profile of
your own. A manifest's `serveConfigV2` is the profile with three differences: it listens on the
cluster's network, its deployments name the worker group that they belong in, and its API asks for
the keys in a file. What a short profile leaves to the code is written out.
"""

import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from serve_app import profiles

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CONFIGS = ROOT / "configs"
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
GPU = "nvidia.com/gpu"
KEYS_FILE = "/etc/serve-app/api-keys"  # the secret `whisper-api-keys`

Document = dict[str, Any]


def tier_of(deployment: Document) -> str:
    """Return the worker group of a deployment."""
    return TIERS[deployment["name"].partition("-")[0]]


def serve_config(profile: Document) -> Document:
    """Return a profile, everything in it written out, as the cluster runs it."""
    applications = [
        {
            **app,
            "args": {**app["args"], "api": _with_keys(app["args"].get("api", {}))},
            "deployments": [_placed(deployment) for deployment in app["deployments"]],
        }
        for app in profile["applications"]
    ]
    return {
        **profile,
        "proxy_location": "EveryNode",
        "http_options": {**profile.get("http_options", {}), "host": "0.0.0.0", "port": 8000},
        "applications": applications,
    }


def _with_keys(api: Document) -> Document:
    """Return `args.api` with the keys that a pod has: no variable of them is set in it."""
    return {**{key: api[key] for key in api if key != "keys_env"}, "keys_file": KEYS_FILE}


def _placed(deployment: Document) -> Document:
    options = {**deployment["ray_actor_options"], "label_selector": {TIER: tier_of(deployment)}}
    return {**deployment, "ray_actor_options": options}


def _gpus(deployment: Document) -> float:
    return float(deployment["ray_actor_options"].get("num_gpus") or 0)


def pods(deployments: Iterable[Document], n_cores: int, bound: str) -> int:
    """Return how many pods a group's deployments fill, each pod with one GPU at the most.

    Args:
        deployments: of the group.
        n_cores: of a pod.
        bound: `min_replicas` or `max_replicas`.

    Raises:
        ValueError: a replica takes more than a pod has, or nothing.
    """
    total = 0
    for deployment in deployments:
        n_replicas = profiles.scaling_of(deployment)[bound]
        # A replica lies in one pod: two that take 0.55 of one need two.
        n_cpus = float(deployment["ray_actor_options"].get("num_cpus", 1))
        share = max(_gpus(deployment), n_cpus / n_cores)
        if not 0 < share <= 1:
            raise ValueError(f"{deployment['name']}: a pod has one GPU and {n_cores} cores")
        total += math.ceil(n_replicas / math.floor(1 / share))
    return total


def rayservice(profile: Document, template: Document) -> Document:
    """Return a profile's manifest. The template is changed and returned.

    Raises:
        ValueError: the profile is not one, or a replica takes more than a pod has.
    """
    profile = profiles.with_actor_options(profile)  # Serve would drop what stands only in the code
    spec = template["spec"]
    spec["serveConfigV2"] = _dump(serve_config(profile))
    cluster = spec["rayClusterConfig"]
    deployments = [d for app in profile["applications"] for d in app["deployments"]]
    used = {tier_of(d) for d in deployments}
    groups = {g["groupName"]: g for g in cluster["workerGroupSpecs"] if g["groupName"] in used}
    for tier in groups.keys() - {"decode"}:
        group, mine = groups[tier], [d for d in deployments if tier_of(d) == tier]
        n_cores = int(group["rayStartParams"]["num-cpus"])
        group["minReplicas"] = pods(mine, n_cores, "min_replicas")
        group["maxReplicas"] = pods(mine, n_cores, "max_replicas")
        if not any(map(_gpus, mine)):
            _take_gpu_from(group)
    cores = DECODE_CORES_PER_GPU * groups["whisper"]["maxReplicas"]
    decode = groups["decode"]
    decode["maxReplicas"] = max(decode["minReplicas"], math.ceil(cores / DECODE_CORES_PER_POD))
    cluster["workerGroupSpecs"] = list(groups.values())
    return template


def _take_gpu_from(group: Document) -> None:
    """Let a group's pods run on machines without a GPU."""
    for container in group["template"]["spec"]["containers"]:
        for bounds in container["resources"].values():
            del bounds[GPU]


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, and repeats what YAML would refer back to."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", data, "|" if "\n" in data else None)


_Dumper.add_representer(str, _Dumper.represent_str)


def _dump(document: Document) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=100)


def render(path: Path) -> str:
    """Return the text of the manifest of a profile's file.

    Raises:
        ValueError: as `rayservice` does.
    """
    profile = profiles.render(str(path), profiles.Choices(), count_gpus=lambda: 0).config
    template = yaml.safe_load((HERE / "rayservice.yaml").read_text())
    source = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name
    head = (
        f"# Made by `python -m k8s.render` from k8s/rayservice.yaml and {source}, where the "
        "reasons\n# stand. Change those.\n"
    )
    return head + _dump(rayservice(profile, template))


def main(paths: Sequence[str]) -> None:
    """Print the manifests of these profiles' files; of none, write every shipped one."""
    for path in paths:
        try:
            sys.stdout.write(render(Path(path)))
        except ValueError as error:
            sys.exit(f"Error: {error}")
    if not paths:
        for name in PROFILES:
            (HERE / f"{name}.yaml").write_text(render(CONFIGS / f"{name}.yaml"))


if __name__ == "__main__":
    main(sys.argv[1:])
