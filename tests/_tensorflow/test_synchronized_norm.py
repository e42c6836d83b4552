"""Synchronized batch norm in one exchange equals Keras' own, and one replica."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_arch._tensorflow.switch import set_fast_paths


@pytest.fixture(params=[True, False], ids=["one exchange", "stock"])
def in_one(request):
    set_fast_paths(request.param)
    yield request.param
    set_fast_paths(True)


def learn(layer, x, strategy):
    """Output, gradients and moving statistics, and the exchanges of the step."""
    scale = tf.constant(np.linspace(1, 2, x.shape[-1]), x.dtype)

    def replica_step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            # No mean or spread cancels in it.
            loss = tf.reduce_sum(tf.sin(y * scale) ** 2)
        return y, *tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])

    @tf.function
    def step(x):
        return strategy.run(replica_step, args=(x,))

    first = x.shape[0] // 3 if strategy.num_replicas_in_sync > 1 else x.shape[0]
    # Parts of different sizes.
    parts = [x[:first], x[first:]]
    values = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(parts[context.replica_id_in_sync_group])
    )
    y, to_x, to_gamma, to_beta = map(strategy.experimental_local_results, step(values))
    graph = step.get_concrete_function(values).graph
    exchanges = sum(op.type.startswith("CollectiveReduce") for op in graph.get_operations())
    found = [np.concatenate(y), np.concatenate(to_x), sum(to_gamma), sum(to_beta)]
    # The same on all replicas.
    found += [w.numpy() for w in (layer.moving_mean, layer.moving_variance)]
    return found, exchanges // strategy.num_replicas_in_sync


@pytest.mark.parametrize("shape", [pytest.param((12, 5), marks=pytest.mark.slow), (9, 4, 4, 3)])
def test_two_replicas_equal_one(in_one, shape, two_replicas):
    x = np.random.default_rng(0).normal(2, 3, shape).astype("float32")
    keras.utils.set_random_seed(0)
    alone = layers.BatchNormalization()
    alone.build((None, *shape[1:]))
    expected, none = learn(alone, x, tf.distribute.get_strategy())
    with two_replicas.scope():
        layer = layers.BatchNormalization(synchronized=True)
        layer.build((None, *shape[1:]))
    found, exchanges = learn(layer, x, two_replicas)
    assert none == 0
    assert exchanges == (2 if in_one else 5)
    for value, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=2e-4, atol=2e-5)
