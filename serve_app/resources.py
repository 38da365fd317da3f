"""What a replica of each deployment takes of its node, where a profile does not say it.

Settings in, Ray's actor options out. `app.py` binds the graph with them. Serve puts those of a
config in their place whole, so whoever changes a part lays it on these: an overlay (`profiles`), or
the label of a worker group (`k8s/render.py`).
"""

from typing import Any

from serve_app.settings import AppSettings, ModelSettings

# CTranslate2 allocates its activations anew for each layer. On huge pages, which glibc (2.35 and
# later) asks for only when told, batches cost less core time: `benchmarks huge_pages`. It is read
# when the process starts.
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def actor_options(settings: AppSettings) -> dict[str, dict[str, Any]]:
    """Return the options of every deployment that the settings ask for, by its name."""
    options: dict[str, dict[str, Any]] = {
        # Together with one model on a CPU these fit a machine with two cores.
        "Ingress": {"num_cpus": 0.25},
        "AudioPreprocessor": {"num_cpus": 0.75},
    }
    for model in settings.models:
        options[f"WhisperTranscriber-{model.name}"] = _of_transcriber(model)
    if settings.diarization:
        on_gpu = settings.diarization.device == "cuda"
        options["SpeakerDiarizer"] = {"num_cpus": 1, "num_gpus": 1 if on_gpu else 0}
    return options


def _of_transcriber(model: ModelSettings) -> dict[str, Any]:
    if model.device == "cuda":
        return {"num_cpus": 1, "num_gpus": 1}
    return {"num_cpus": 1, "runtime_env": {"env_vars": dict(HUGE_PAGES)}}
