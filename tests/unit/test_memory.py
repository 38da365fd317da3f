"""Whether freed memory is kept, told by the page faults of allocating it again, or given back."""

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

# Blocks below the threshold, all but the last of which are freed: the heap's end does not move.
_GIVEN_BACK = """
import psutil
from serve_app.deployments.memory import give_back_freed_memory
blocks = [bytearray(100_000) for _ in range(1000)]
del blocks[:-1]
before = psutil.Process().memory_full_info().uss
give_back_freed_memory()
print(before - psutil.Process().memory_full_info().uss)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="these calls are glibc's")


def test_a_replica_that_keeps_freed_memory_does_not_fault_its_pages_in_again() -> None:
    assert _n_faults("keep") * 5 < _n_faults()


def test_what_lies_free_in_the_midst_of_the_heap_is_given_back() -> None:
    assert _printed(_GIVEN_BACK) > 50e6


def _n_faults(*args: str) -> int:
    return _printed(_FAULTS, *args)


def _printed(program: str, *args: str) -> int:
    command = [sys.executable, "-c", program, *args]
    made = subprocess.run(command, env=dict(RAY_ENVIRONMENT), check=True, capture_output=True)
    return int(made.stdout)
