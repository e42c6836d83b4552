"""One step of every trainer agrees on TensorFlow, JAX and PyTorch.

Each backend plays in a process of its own, `backend_step.py`. Where JAX and PyTorch are not
installed (`pip install 'keras_arch[jax,torch]'`) nothing is run.
"""

import functools
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.trainers import backend_step

ROOT = Path(__file__).parents[2]
FOLDER = tempfile.TemporaryDirectory(prefix="keras_arch_backends_")


@functools.cache
def outcome(backend):
    """What a backend's process wrote: arrays by name, and what went wrong."""
    path = Path(FOLDER.name) / backend / "outcome.npz"
    path.parent.mkdir()
    command = [sys.executable, "-m", "tests.trainers.backend_step", str(path)]
    environment = os.environ | {"KERAS_BACKEND": backend}
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-4000:]
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return arrays, json.loads(str(arrays.pop("errors")))


def of(arrays, case, stage):
    prefix = f"{case}/{stage}/"
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


@pytest.fixture(params=["jax", "torch"])
def backend(request):
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed; pip install 'keras_arch[{request.param}]'")
    return request.param


@pytest.mark.parametrize("case", backend_step.CASES)
def test_one_step_and_three_agree_with_tensorflow(backend, case):
    expected, errors = outcome("tensorflow")
    assert case not in errors, errors[case]
    found, errors = outcome(backend)
    assert case not in errors, errors[case]
    for stage in ("one", "all", "evaluated"):
        wanted, got = of(expected, case, stage), of(found, case, stage)
        assert wanted.keys() == got.keys()
        for name, value in wanted.items():
            # Relative for the optimizers' moments, which may be large.
            np.testing.assert_allclose(got[name], value, rtol=1e-4, atol=1e-4, err_msg=name)
    # And the step moved the weights by far more than that.
    one, last = of(found, case, "one"), of(found, case, "all")
    assert max(np.abs(last[name] - one[name]).max() for name in one if name.isdigit()) > 1e-2


@pytest.mark.parametrize("check", backend_step.CHECKS)
def test_by_itself(backend, check):
    _, errors = outcome(backend)
    assert check not in errors, errors[check]


@pytest.mark.parametrize("case", backend_step.SAVED)
def test_a_file_of_another_backend_opens_on_tensorflow(backend, case):
    arrays, _ = outcome(backend)
    loaded = keras.saving.load_model(Path(FOLDER.name) / backend / f"{case}.keras")
    expected = of(arrays, case, "all")
    for position, value in enumerate(backend_step.numbers(loaded)):
        np.testing.assert_allclose(value, expected[str(position)], rtol=0, atol=1e-7)
