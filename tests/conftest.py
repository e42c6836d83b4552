"""Two logical CPU devices, which stand in for two GPUs, before TensorFlow looks at the machine."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest
import tensorflow as tf
from tensorflow.python.data.ops import iterator_ops
from tensorflow.python.util import tf_stack

# A package of its own, which `test_plugin.py` installs for other processes.
collect_ignore = ["plugin"]

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


_create_iterator = iterator_ops.OwnedIterator._create_iterator


def _without_tuning(self, dataset):
    """Iterators of Keras and of tests, too, end at once; see `keras_arch.data.epochs.prefetch`."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return _create_iterator(self, dataset.with_options(options))


iterator_ops.OwnedIterator._create_iterator = _without_tuning

# Every operation of a graph keeps the Python stack for error messages. Below pytest's own frames
# that is a tenth of the time.
_one_stack = tf_stack.extract_stack()
tf_stack.extract_stack = lambda *_, **__: _one_stack


def pytest_collection_finish():
    """Exempt imported modules from garbage collection: a full one takes seconds with TensorFlow."""
    gc.set_threshold(20_000, 20, 100)
    gc.collect()
    gc.freeze()


def pytest_runtest_teardown(item, nextitem):
    """Collect what a module leaves, and exempt the rest, which later modules share."""
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session")
def two_replicas():
    """A mirrored strategy over the two devices."""
    from keras_arch import distribute

    return distribute.strategy("mirrored", devices=["CPU:0", "CPU:1"])
