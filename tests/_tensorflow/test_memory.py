"""Memory that is freed is taken again, unless the environment says otherwise."""

import json
import os
import platform
import subprocess
import sys

import pytest

from keras_arch._tensorflow import memory

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep freed memory"
)

# Blocks of 64 MB, freed and asked for again: what the kernel must clear shows as page faults.
# The module is loaded from its file, without the package and the frameworks that it imports.
PROGRAM = """
import importlib.util, json, resource, sys
spec = importlib.util.spec_from_file_location("memory", sys.argv[1])
memory = importlib.util.module_from_spec(spec)
spec.loader.exec_module(memory)
kept = memory.keep_freed_memory()
import numpy as np
np.ones(2**23)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    np.ones(2**23)
print(json.dumps([kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before]))
"""


def run(**environment):
    kept = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    kept.pop("GLIBC_TUNABLES", None)
    command = [sys.executable, "-c", PROGRAM, memory.__file__]
    done = subprocess.run(command, env=kept | environment, capture_output=True, check=True)
    return json.loads(done.stdout)


def test_a_block_that_was_freed_is_taken_again_without_a_page_fault():
    kept, faults = run()
    if not kept:
        pytest.skip("this glibc refuses to keep blocks of 64 MB")
    # Huge pages would be 32 faults a block, small ones 16,384.
    assert faults < 32


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MALLOC_TRIM_THRESHOLD_", "131072"),
        ("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=131072"),
    ],
)
def test_what_the_environment_says_has_precedence(name, value):
    kept, faults = run(**{name: value})
    assert not kept
    assert faults >= 4 * 32
