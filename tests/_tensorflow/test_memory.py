"""Freed memory is taken again, unless the environment has a setting."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_arch import trainers
from keras_arch._tensorflow import memory

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc has these settings"
)

# Blocks of 64 MB, freed and asked for again: what the kernel must clear shows as page faults.
PROGRAM = """
import json, resource
from keras_arch._tensorflow import memory
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
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        command, cwd=ROOT, env=kept | environment, capture_output=True, check=True
    )
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
        ("KERAS_ARCH_FAST_PATHS", "0"),
    ],
)
def test_the_environment_has_precedence(name, value):
    kept, faults = run(**{name: value})
    assert not kept
    assert faults >= 4 * 32


def test_compiling_a_trainer_leaves_the_users_process_alone(monkeypatch):
    def refuse():
        raise AssertionError("a setting of the whole process")

    monkeypatch.setattr(memory, "keep_freed_memory", refuse)
    generator = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    discriminator = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    gan = trainers.GAN(generator, discriminator)
    gan.compile()
    gan.fit(np.zeros((4, 3), np.float32), verbose=0)
