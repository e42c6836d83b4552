"""Several hosts: processes on this machine that train together, against one process."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tests.distribute import hosts, replicas, three_models
from tests.trainers import games


@pytest.mark.parametrize(
    # A GAN draws its own noise.
    "names",
    [("classifier",), pytest.param(("segmenter", "gan"), marks=pytest.mark.slow)],
    ids=" and ".join,
)
def test_two_hosts_train_and_evaluate_as_one_process(names, tmp_path):
    command = [three_models.__file__, tmp_path / "host{}.npz", *names]
    with hosts.started(command, 2, tmp_path) as processes:
        one = three_models.results(tf.distribute.get_strategy(), names)
        hosts.finish(processes, tmp_path)
    for number in range(2):
        with np.load(tmp_path / f"host{number}.npz") as found:
            assert set(found.files) == set(one)
            for name, values in one.items():
                np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-5, err_msg=name)
                assert np.isfinite(values).all(), name


@pytest.mark.slow
def test_four_mirrored_replicas_end_as_one(tmp_path):
    """Every trainer in ordinary `fit`; `tests/trainers` has two replicas."""
    (output,) = hosts.run([replicas.__file__, 4], 1, tmp_path)
    found = json.loads(output.strip().rpartition("\n")[2])
    assert len(found) == len(games.ALL)
    assert max(found.values()) < 1e-5, found
