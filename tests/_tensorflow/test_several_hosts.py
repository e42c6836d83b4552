"""The repairs of Keras for several replicas; those that need two hosts are in tests/distribute.

Each test of stock Keras fails when Keras needs its repair no more: take it out then.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.backend.tensorflow import trainer
from tensorflow.python.util import _pywrap_util_port

from keras_arch import models
from keras_arch._tensorflow import several_hosts

IMAGES = np.random.default_rng(0).normal(size=(5, 6, 6, 1)).astype("float32")
LABELS = np.array([0, 1, 2, 1, 0])


def model(kind=keras.Sequential):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((6, 6, 1)), keras.layers.Conv2D(2, 3), keras.layers.Flatten()]
    built = kind([*layers, keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    built.compile("sgd", loss, metrics=["accuracy"])
    return built


# So that the stock functions are behind the repaired ones.
several_hosts.repair_keras()


class StockStep(keras.Model):
    test_step = trainer.TensorFlowTrainer.test_step.__wrapped__


@pytest.mark.parametrize(
    ("images", "batch_size"),
    [(5, 2), *(pytest.param(*p, marks=pytest.mark.slow) for p in ((1, 4), (3, 3)))],
)
def test_evaluate_and_predict_with_uneven_parts(two_replicas, images, batch_size):
    """Of the last batch, and of the first one, with and without a replica that has no image."""
    data = IMAGES[:images], LABELS[:images]
    one = model()
    with two_replicas.scope():
        two = model()
    expected = one.evaluate(*data, batch_size=batch_size, verbose=0)
    found = two.evaluate(*data, batch_size=batch_size, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    outputs = [each.predict(data[0], batch_size=batch_size, verbose=0) for each in (one, two)]
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(two.predict_on_batch(data[0]), outputs[0], rtol=1e-5, atol=1e-6)


def test_stock_keras_cannot_build_on_uneven_parts(two_replicas):
    with two_replicas.scope():
        built = model()
    batches = trainer.TFEpochIterator(
        x=IMAGES[:3], y=LABELS[:3], batch_size=3, distribute_strategy=two_replicas
    )
    stock = trainer.TensorFlowTrainer._maybe_symbolic_build.__wrapped__
    with pytest.raises((ValueError, tf.errors.OpError)):
        stock(built, iterator=batches)


@pytest.mark.skipif(not _pywrap_util_port.IsMklEnabled(), reason="the kernel is oneDNN's")
def test_stock_keras_cannot_evaluate_without_rows(two_replicas):
    # oneDNN joins convolution, norm and ReLU in one kernel, which refuses no rows.
    with two_replicas.scope():
        network = models.CIFARResNet(depth=8, input_shape=(8, 8, 1), classes=3)
        built = StockStep(network.input, network.output)
        built.compile(loss="mse")
    with pytest.raises(tf.errors.OpError):
        built.evaluate(np.zeros((1, 8, 8, 1)), np.zeros((1, 3)), verbose=0)


def test_another_release_is_left_alone(monkeypatch, caplog):
    monkeypatch.setattr(keras, "__version__", "3.99.0")
    step = trainer.TensorFlowTrainer.test_step
    # Without its memory of having repaired this one.
    assert not several_hosts.repair_keras.__wrapped__()
    assert "3.99.0" in caplog.text
    assert trainer.TensorFlowTrainer.test_step is step
