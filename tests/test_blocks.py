import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_arch import blocks
from keras_arch.errors import ArgumentError


def _maxout(features, units, pieces):
    x = keras.Input((features,))
    return keras.Model(x, blocks.maxout(x, units, pieces, name="hidden"))


@given(
    features=st.integers(1, 6),
    units=st.integers(1, 6),
    pieces=st.integers(1, 6),
    seed=st.integers(0, 99),
)
@settings(max_examples=15, deadline=None)
def test_maxout_is_the_largest_of_its_affine_maps(features, units, pieces, seed):
    rng = np.random.default_rng(seed)
    model = _maxout(features, units, pieces)
    w = rng.normal(size=(pieces, features, units))
    b = rng.normal(size=(pieces, units))
    kernel = np.concatenate(list(w), axis=1)
    model.get_layer("hidden_affine").set_weights([kernel, b.reshape(-1)])
    x = rng.normal(size=(3, features)).astype("float32")
    direct = np.max([x @ w[j] + b[j] for j in range(pieces)], axis=0)
    np.testing.assert_allclose(model(x), direct, rtol=1e-4, atol=1e-5)


def test_maxout_can_be_relu_absolute_value_and_a_parabola():
    """Three of the functions in figure 1 of the paper; the last by its tangents."""
    x = np.linspace(-1, 1, 41).astype("float32")[:, None]

    def envelope(slopes, offsets):
        model = _maxout(1, 1, len(slopes))
        model.get_layer("hidden_affine").set_weights([np.array([slopes]), np.array(offsets)])
        return np.asarray(model(x))

    np.testing.assert_allclose(envelope([0.0, 1.0], [0.0, 0.0]), np.maximum(x, 0), atol=1e-6)
    np.testing.assert_allclose(envelope([-1.0, 1.0], [0.0, 0.0]), np.abs(x), atol=1e-6)
    at = np.linspace(-1, 1, 11)
    # A parabola is at most a quarter of the squared spacing above its tangents.
    error = x**2 - envelope(2 * at, -(at**2))
    assert error.min() > -1e-6
    assert error.max() <= 0.2**2 / 4 + 1e-6


def test_maxout_refuses_no_pieces():
    with pytest.raises(ArgumentError, match="pieces must be a positive whole number, got 0"):
        _maxout(2, 2, 0)


def test_label_outside_the_classes_is_all_zeros():
    label, one_hot = blocks.label_input(3)
    model = keras.Model(label, one_hot)
    rows = np.asarray(model(np.array([0, 2, 1, 3, -1], "int32")))
    np.testing.assert_array_equal(rows[:3], np.eye(3)[[0, 2, 1]])
    np.testing.assert_array_equal(rows[3:], np.zeros((2, 3)))
    assert model(np.array([1], "int32")).shape == (1, 3)


@pytest.mark.parametrize("shape", [(8, 8), "888", 8, (8, 8, 0), (8, 8, 1.0), None])
def test_image_shapes_that_are_refused(shape):
    with pytest.raises(ArgumentError, match="three positive whole numbers"):
        blocks.check_image_shape(shape)
