"""Adam in one pass over memory equals Keras' own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_arch._tensorflow import one_pass_adam, switch

SHAPES = ((3, 4), (5,), (2, 1, 3))


def updated(apply, strategy, steps=6, **arguments):
    """Weights and optimizer state after some updates with known gradients, and the graph's ops."""
    rng = np.random.default_rng(0)
    with strategy.scope():
        variables = [keras.Variable(rng.normal(size=s).astype("float32")) for s in SHAPES]
        optimizer = keras.optimizers.Adam(0.01, beta_1=0.5, **arguments)
        optimizer.build(variables)
    replicas = strategy.num_replicas_in_sync
    operations = set()

    @tf.function
    def step(*gradients):
        # Optimizers sum the gradients of the replicas.
        strategy.run(lambda: apply(optimizer, [g / replicas for g in gradients], variables))
        operations.update(
            operation.type
            for operation in tf.Graph.get_operations(tf.compat.v1.get_default_graph())
        )

    for _ in range(steps):
        step(*(tf.constant(rng.normal(size=s), tf.float32) for s in SHAPES))
    found = [*variables, *optimizer.variables]
    return [np.asarray(keras.ops.convert_to_tensor(v)) for v in found], operations


def keras_apply(optimizer, gradients, variables):
    optimizer.apply(gradients, variables)


@pytest.mark.parametrize("replicas", [1, 2])
def test_it_is_keras_adam(replicas, two_replicas):
    strategy = two_replicas if replicas == 2 else tf.distribute.get_strategy()
    found, operations = updated(one_pass_adam.apply, strategy)
    expected, _ = updated(keras_apply, strategy)
    if replicas == 1:
        assert "ResourceApplyAdam" in operations
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        # Six updates of 0.01, each rounded in another order: some units in the last place of 1.
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    "arguments", [{"amsgrad": True}, {"weight_decay": 0.1}, {"clipnorm": 1.0}, {"use_ema": True}]
)
def test_more_than_the_formula_is_left_to_keras(arguments):
    strategy = tf.distribute.get_strategy()
    found, operations = updated(one_pass_adam.apply, strategy, **arguments)
    assert "ResourceApplyAdam" not in operations
    for a, b in zip(found, updated(keras_apply, strategy, **arguments)[0], strict=True):
        np.testing.assert_array_equal(a, b)


def test_switched_off_it_is_keras_own():
    switch.set_fast_paths(False)
    try:
        _, operations = updated(one_pass_adam.apply, tf.distribute.get_strategy(), steps=1)
    finally:
        switch.set_fast_paths(True)
    assert "ResourceApplyAdam" not in operations
