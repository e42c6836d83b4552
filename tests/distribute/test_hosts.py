"""Several hosts: processes on this machine that train together, against one process."""

import numpy as np
import tensorflow as tf

from tests.distribute import hosts, three_models


def test_two_hosts_train_and_evaluate_as_one_process(tmp_path):
    """A classifier, a segmentation network and a GAN, which draw their own noise."""
    program = three_models.__file__
    with hosts.started([program, tmp_path / "host{}.npz"], 2, tmp_path) as processes:
        one = three_models.results(tf.distribute.get_strategy())
        hosts.finish(processes, tmp_path)
    for number in range(2):
        with np.load(tmp_path / f"host{number}.npz") as found:
            assert set(found.files) == set(one)
            for name, values in one.items():
                np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-5, err_msg=name)
                assert np.isfinite(values).all(), name
