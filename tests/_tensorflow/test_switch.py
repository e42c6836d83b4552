"""Fast paths are off where they are switched off or were not checked, with one line in the log."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from keras_arch import config
from keras_arch._tensorflow import fused_batch_norm, one_pass_adam
from keras_arch._tensorflow.switch import FastPath


@pytest.mark.parametrize("path", [fused_batch_norm.PATH, one_pass_adam.PATH], ids=str)
def test_they_are_on_in_the_versions_of_the_tests(path):
    assert path.enabled


def test_another_version_is_off_with_one_line(caplog):
    path = FastPath("a path of the past", keras=((2, 0), (3, 0)))
    assert not path.enabled
    assert not path.enabled
    (record,) = caplog.records
    assert "a path of the past is off: it was checked for keras 2.0 to before 3.0" in record.message


def test_the_switch():
    path = FastPath("any")
    config.set_fast_paths(False)
    try:
        assert not config.fast_paths()
        assert not path.enabled
    finally:
        config.set_fast_paths(True)
    assert config.fast_paths()
    assert path.enabled


@pytest.mark.parametrize(("value", "expected"), [("0", "False"), ("1", "True"), (None, "True")])
def test_the_environment(value, expected):
    environment = {k: v for k, v in os.environ.items() if k != "KERAS_ARCH_FAST_PATHS"}
    environment |= {} if value is None else {"KERAS_ARCH_FAST_PATHS": value}
    code = "from keras_arch._tensorflow import switch; print(switch.fast_paths())"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == expected, done.stderr
