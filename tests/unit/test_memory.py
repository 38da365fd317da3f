"""Whether freed memory is kept, told by the page faults of allocating it again."""

import subprocess
import sys

import pytest

from serve_app.cli.graph import RAY_ENVIRONMENT

# 2 MB: above the threshold that Ray's processes start with, below the one that is set later.
_FAULTS = """
import resource, sys
from serve_app.deployments.memory import keep_freed_memory
if "keep" in sys.argv:
    keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    bytearray(b"x" * (2 << 20))
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_a_replica_that_keeps_freed_memory_does_not_fault_its_pages_in_again() -> None:
    assert _n_faults("keep") * 5 < _n_faults()


def _n_faults(*args: str) -> int:
    command = [sys.executable, "-c", _FAULTS, *args]
    made = subprocess.run(command, env=dict(RAY_ENVIRONMENT), check=True, capture_output=True)
    return int(made.stdout)
