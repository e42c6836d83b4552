"""Fused batch normalization equals the stock layer up to the rounding of floats."""

import copy

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from tensorflow.python.framework import config as tf_config

from keras_arch import config, hub, models
from keras_arch import layers as shared
from keras_arch._tensorflow.fused_batch_norm import fuse
from keras_arch.preprocessing import Preprocessing


def pair(shape, **arguments):
    """The stock layer and the fused one, with the same weights that are not as they began."""
    made = [layers.BatchNormalization(**arguments), fuse(layers.BatchNormalization(**arguments))]
    draws = np.random.default_rng(1)
    for layer in made:
        layer.build((None, *shape[1:]))
    values = [np.abs(draws.normal(1, 0.3, w.shape)) for w in made[0].weights]
    for layer in made:
        layer.set_weights(values)
    return made


def learn(layer, x, **arguments):
    """Output, gradients of a function of it that no mean or spread cancels, moving statistics."""
    x = tf.Variable(x)
    with tf.GradientTape() as tape:
        y = layer(x, training=True, **arguments)
        target = tf.sin(tf.cast(y, "float32") * tf.range(1.0, 1.0 + y.shape[-1]))
        loss = tf.reduce_sum(target**2)
    gradients = tape.gradient(loss, [x, *(w.value for w in layer.trainable_weights)])
    return [y, *gradients, *(w.value for w in layer.non_trainable_weights)]


def assert_close(one, other, **tolerance):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


@settings(max_examples=15, deadline=None)
@given(
    st.tuples(*[st.integers(1, 5)] * 3, st.integers(1, 4)),
    st.sampled_from([1e-5, 1e-3]),
    st.sampled_from([0.9, 0.99]),
)
def test_outputs_gradients_and_statistics_are_the_layers_own(shape, epsilon, momentum):
    # Of one or two values a channel nothing but the epsilon is left to divide by.
    if np.prod(shape[:3]) < 4:
        shape = (4, *shape[1:])
    x = np.random.default_rng(0).normal(2, 3, shape).astype("float32")
    stock, fused = pair(shape, epsilon=epsilon, momentum=momentum)
    assert_close(learn(stock, x), learn(fused, x), rtol=2e-3, atol=2e-4)
    # The statistics by their formula: the variance of the batch, not of a population.
    mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    before = pair(shape)[0]
    for name, new in (("moving_mean", mean), ("moving_variance", variance)):
        expected = momentum * np.asarray(getattr(before, name)) + (1 - momentum) * new
        np.testing.assert_allclose(getattr(fused, name), expected, rtol=1e-4)


def test_a_single_value_has_no_variance():
    stock, fused = pair((1, 1, 1, 3))
    x = np.ones((1, 1, 1, 3), "float32")
    assert_close(learn(stock, x), learn(fused, x), rtol=1e-4, atol=1e-5)


def test_in_a_graph_of_open_sizes():
    stock, fused = pair((4, 6, 5, 3))
    x = tf.random.stateless_normal((4, 6, 5, 3), (1, 2))
    open_sizes = tf.TensorSpec((None, None, None, 3))
    outputs = [
        tf.function(lambda x, layer=layer: layer(x, training=True), [open_sizes])(x)
        for layer in (stock, fused)
    ]
    np.testing.assert_allclose(*outputs, atol=1e-5)
    assert_close(stock.get_weights(), fused.get_weights(), rtol=1e-5)


def fused_operations(layer, shape, dtype="float32", **arguments):
    function = tf.function(lambda x: layer(x, **arguments))
    graph = function.get_concrete_function(tf.TensorSpec(shape, dtype)).graph
    return sum(node.type == "FusedBatchNormV3" for node in graph.get_operations())


@pytest.fixture(params=[False, True], ids=["", "deterministic"])
def deterministic(request, monkeypatch):
    """Said to TensorFlow, which other tests may have told already, and cannot take back."""
    monkeypatch.setattr(tf_config, "is_op_determinism_enabled", lambda: request.param)
    return request.param


def test_where_it_is_fused_and_where_not(deterministic):
    images = (2, 4, 4, 3)
    assert fused_operations(pair(images)[1], images, training=True) == 1
    assert fused_operations(pair(images)[0], images, training=True) == 0
    # Its gradient has no deterministic implementation on a GPU.
    assert fused_operations(pair(images)[1], images, training=False) == (not deterministic)
    assert fused_operations(pair((2, 3))[1], (2, 3), training=True) == 0
    assert fused_operations(pair(images, axis=1)[1], images, training=True) == 0
    assert fused_operations(pair(images, scale=False)[1], images, training=True) == 0
    assert fused_operations(pair(images, synchronized=True)[1], images, training=True) == 0
    half = fuse(layers.BatchNormalization(dtype="mixed_float16"))
    assert fused_operations(half, images, "float16", training=True) == 0
    assert half(np.ones(images, "float16"), training=True).dtype == "float16"


@pytest.mark.parametrize("frozen", [True, False])
def test_with_statistics_that_stand_still(frozen):
    shape = (3, 4, 5, 6)
    stock, fused = pair(shape)
    if frozen:
        stock.trainable = fused.trainable = False
    x = tf.Variable(np.random.default_rng(0).normal(size=shape), dtype="float32")
    found = []
    for layer in (stock, fused):
        with tf.GradientTape() as tape:
            y = layer(x, training=frozen)
            loss = tf.reduce_sum(y**3)
        found.append([y, *tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])])
    assert_close(*found, rtol=1e-3, atol=1e-4)
    assert_close(stock.get_weights(), fused.get_weights(), rtol=0)


def test_under_a_mask():
    stock, fused = pair((2, 3, 4, 5))
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype("float32")
    mask = np.random.default_rng(1).integers(0, 2, (2, 3, 4)).astype(bool)
    assert_close(learn(stock, x, mask=mask), learn(fused, x, mask=mask))


def test_gradients_of_gradients():
    """A gradient penalty asks for them."""
    found = []
    x = tf.constant(np.random.default_rng(0).normal(size=(4, 3, 3, 2)), tf.float32)
    for layer in pair((4, 3, 3, 2)):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = tf.reduce_sum(layer(x, training=True) ** 3)
            penalty = tf.reduce_sum(inner.gradient(y, x) ** 2)
        found.append(outer.gradient(penalty, x))
    np.testing.assert_allclose(*found, rtol=1e-3, atol=1e-3)


def test_builders_fuse_and_copies_are_the_layers_own(tmp_path):
    model = models.CIFARResNet(depth=8, input_shape=(8, 8, 1))
    norm = model.get_layer("stem_norm")
    assert fused_operations(norm, (2, 8, 8, 16), training=True) == 1
    for copied in (keras.models.clone_model(model), copy.deepcopy(model)):
        other = copied.get_layer("stem_norm")
        assert type(other) is layers.BatchNormalization
        assert getattr(other.call, "__self__", other) is other
    card = hub.Card("n", "CIFARResNet", {}, "image-classification", Preprocessing((8, 8), 1))
    loaded = hub.load(hub.save(model, tmp_path / "n", card))
    assert fused_operations(loaded.get_layer("stem_norm"), (2, 8, 8, 16), training=True) == 1
    loaded.save(tmp_path / "stock.keras")
    stock = keras.saving.load_model(tmp_path / "stock.keras")
    assert fused_operations(stock.get_layer("stem_norm"), (2, 8, 8, 16), training=True) == 0
    assert shared.fuse_batch_norm(stock) is stock
    assert fused_operations(stock.get_layer("stem_norm"), (2, 8, 8, 16), training=True) == 1


def test_switched_off_it_is_the_stock_layer():
    """Of a layer that was fused before, too."""
    images = (2, 4, 4, 3)
    layer = pair(images)[1]
    config.set_fast_paths(False)
    try:
        assert fused_operations(layer, images, training=True) == 0
        assert fused_operations(layer, images, training=False) == 0
    finally:
        config.set_fast_paths(True)
    assert fused_operations(layer, images, training=True) == 1


def test_a_synchronized_norm_stays_as_it_is():
    norm = shared.batch_norm("norm", synchronized=True)
    assert "call" not in vars(norm)


def test_it_trains_as_the_stock_layer_does():
    keras.utils.set_random_seed(0)
    model = models.CIFARResNet(depth=8, input_shape=(8, 8, 1), classes=3)
    stock = keras.models.clone_model(model)
    stock.set_weights(model.get_weights())
    x = np.random.default_rng(0).normal(size=(12, 8, 8, 1)).astype("float32")
    y = np.arange(12) % 3
    for each in (model, stock):
        each.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
        each.fit(x, y, batch_size=6, epochs=2, shuffle=False, verbose=0)
    assert_close(model.get_weights(), stock.get_weights(), rtol=1e-3, atol=1e-4)
