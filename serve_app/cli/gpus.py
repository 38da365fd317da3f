"""The GPUs that a graph could use, asked for in processes of their own.

Neither CUDA nor Ray is loaded into the command itself, which has to start the graph afterwards.
"""

import os
import subprocess
import sys

import click

from serve_app.cli.cluster import left_behind
from serve_app.profiles import Rendered

ASK_TIMEOUT_S = 60.0

_OF_THIS_MACHINE = "import ctranslate2; print(ctranslate2.get_cuda_device_count())"
# The cluster that `serve run` would join, where there is one.
_OF_THE_CLUSTER = """
import os, ray
ray.init(os.environ.get("RAY_ADDRESS") or "auto", logging_level="ERROR", log_to_driver=False)
print(ray.cluster_resources().get("GPU", 0))
"""


def count_gpus() -> int:
    """Return the GPUs of this machine that this process may use (CUDA_VISIBLE_DEVICES)."""
    return int(_ask(_OF_THIS_MACHINE))


def check_gpus(profile: str, rendered: Rendered) -> None:
    """Check that there are as many GPUs as the config needs; Serve would wait for them for ever.

    Raises:
        click.ClickException: there are fewer, here and in the Ray cluster that would be joined.
    """
    needed = rendered.gpus_needed
    for ask in (count_gpus, _count_cluster_gpus):
        if needed == 0 or (found := ask()) >= needed:
            return
    raise click.ClickException(
        f"{profile} needs {needed:g} GPU{'s' if needed > 1 else ''}, and here "
        f"{f'are {found:g}' if found else 'is none'}. "
        f"To run it on the CPU: serve-app serve {profile} --device cpu"
    )


def _count_cluster_gpus() -> float:
    return 0 if left_behind() else _ask(_OF_THE_CLUSTER)


def _ask(code: str) -> float:
    """Return the number that a program prints; 0 where it fails."""
    try:
        answer = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=ASK_TIMEOUT_S,
            env=dict(os.environ),
            check=True,
        )
        return float(answer.stdout.split()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError):
        return 0.0
