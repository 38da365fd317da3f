"""What is measured: on a GPU, and in small on a CPU, to see that the command runs to its end."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The points of a run. Every chunk is a full window of speech and costs 64 tokens."""

    device: str  # cuda | cpu
    fast: str  # shapes of benchmarks/random_model.py
    large: str
    stored_as: str  # the number type of the weights' file
    compute_type: str
    other_types: tuple[str, ...]
    batches: tuple[int, ...]
    rounds: int  # of each batch that count
    worker_counts: tuple[int, ...]
    worker_batches: tuple[int, ...]
    n_preprocessors: int  # replicas, a core each
    concurrency: tuple[int, ...]  # of the closed loop
    requests_per_s: float  # of the open loop
    load_s: float  # each
    long_s: float  # of the long file's audio

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Plan":
        """Return the plan that `to_dict` gave, after JSON made lists of its tuples."""
        made: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**made)


def choose_plan(*, n_gpus: int, n_cores: int, quick: bool) -> Plan:
    """Return what to measure on such a machine."""
    if n_gpus and not quick:
        return _gpu_plan(n_cores)
    small = _cpu_plan()
    return Plan(**{**vars(small), **_ONE_POINT_EACH}) if quick else small


def _gpu_plan(n_cores: int) -> Plan:
    return Plan(
        device="cuda",
        fast="large-v3-turbo",
        large="large-v3",
        stored_as="float16",
        compute_type="float16",
        other_types=("bfloat16", "int8_float16"),
        batches=(1, 8, 16, 32, 64, 128, 256),
        rounds=3,
        worker_counts=(1, 2, 3),
        worker_batches=(16, 64),
        n_preprocessors=max(1, n_cores - 4),  # Ingress, proxy, engine and the load have the rest
        concurrency=(1, 64, 256),
        requests_per_s=80.0,
        load_s=12.0,
        long_s=9000.0,
    )


def _cpu_plan() -> Plan:
    return Plan(
        device="cpu",
        fast="tiny",
        large="base",
        stored_as="int8",
        compute_type="int8",
        other_types=("float32",),
        batches=(1, 2),
        rounds=1,
        worker_counts=(1, 2),
        worker_batches=(1,),
        n_preprocessors=1,
        concurrency=(1, 4),
        requests_per_s=1.0,
        load_s=5.0,
        long_s=120.0,
    )


_ONE_POINT_EACH: dict[str, Any] = {
    "large": "tiny",
    "batches": (1,),
    "worker_counts": (2,),
    "other_types": (),
    "concurrency": (2,),
    "load_s": 1.0,
    "long_s": 60.0,
}
