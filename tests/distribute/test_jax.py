"""On JAX two and four devices, and two processes, train what one device trains.

Each number of devices has a process of its own, `jax_games.py`. Where JAX is not installed
(`pip install 'keras_arch[jax]'`) nothing is run.
"""

import functools
import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tests.distribute.jax_games import CASES

ROOT = Path(__file__).parents[2]
FOLDER = tempfile.TemporaryDirectory(prefix="keras_arch_jax_")

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None,
    reason="jax is not installed; pip install 'keras_arch[jax]'",
)


@functools.cache
def outcome(devices):
    """What the process with so many devices wrote: arrays by name, and what went wrong."""
    path = Path(FOLDER.name) / f"{devices}.npz"
    environment = os.environ | {
        "KERAS_BACKEND": "jax",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    command = [sys.executable, "-m", "tests.distribute.jax_games", str(devices), str(path)]
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-4000:]
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return arrays, json.loads(str(arrays.pop("errors")))


def of(arrays, case):
    return {k.removeprefix(f"{case}/"): v for k, v in arrays.items() if k.startswith(f"{case}/")}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("devices", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_as_one_device(devices, case):
    expected, errors = outcome(1)
    assert case not in errors, errors[case]
    found, errors = outcome(devices)
    assert case not in errors, errors[case]
    wanted, got = of(expected, case), of(found, case)
    assert wanted.pop("devices").tolist() == [1]
    assert got.pop("devices").tolist() == [devices]
    assert wanted.keys() == got.keys()
    for name, value in wanted.items():
        # Relative for losses and moments, which may be large.
        np.testing.assert_allclose(got[name], value, rtol=1e-5, atol=1e-5, err_msg=name)
    assert float(wanted["moved"]) > 1e-3


@pytest.mark.parametrize("check", ["doctest", "refusals", "repair"])
@pytest.mark.parametrize("devices", [1, 2])
def test_by_itself(devices, check):
    _, errors = outcome(devices)
    assert check not in errors, errors[check]


@pytest.mark.slow
def test_two_processes_as_one(tmp_path):
    """Trainers on two hosts, each with one device and its part of every batch."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.distribute.jax_hosts"]
    paths = [tmp_path / name for name in ("one.npz", "first.npz", "second.npz")]
    processes = [
        subprocess.Popen(
            [*command, str(path), str(hosts), str(place), str(port)],
            cwd=ROOT,
            env=os.environ | {"KERAS_BACKEND": "jax"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for path, hosts, place in zip(paths, (1, 2, 2), (0, 0, 1), strict=True)
    ]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=600)
            assert process.returncode == 0, errors[-4000:]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    one, first, second = (np.load(path) for path in paths)
    for name in one.files:
        np.testing.assert_allclose(first[name], one[name], rtol=1e-5, atol=1e-5, err_msg=name)
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
