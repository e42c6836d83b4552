import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_arch import layers as shared
from keras_arch.errors import ArgumentError, whole_number
from keras_arch.models.common.checks import check_image_shape


def _maxout(features, units, pieces):
    x = keras.Input((features,))
    return keras.Model(x, shared.maxout(x, units, pieces, name="hidden"))


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
    label, one_hot = shared.label_input(3)
    model = keras.Model(label, one_hot)
    rows = np.asarray(model(np.array([0, 2, 1, 3, -1], "int32")))
    np.testing.assert_array_equal(rows[:3], np.eye(3)[[0, 2, 1]])
    np.testing.assert_array_equal(rows[3:], np.zeros((2, 3)))
    assert model(np.array([1], "int32")).shape == (1, 3)


@pytest.mark.parametrize("shape", [(8, 8), "888", 8, (8, 8, 0), (8, 8, 1.0), None])
def test_image_shapes_that_are_refused(shape):
    with pytest.raises(ArgumentError, match="image_shape must be"):
        check_image_shape(shape)


@given(
    channels=st.integers(1, 12),
    size=st.integers(1, 7),
    alpha=st.floats(1e-4, 1.0),
    beta=st.floats(0.25, 1.5),
    k=st.floats(0.5, 3.0),
    seed=st.integers(0, 99),
)
@settings(max_examples=15, deadline=None)
def test_local_response_norm_is_the_formula_of_the_paper(channels, size, alpha, beta, k, seed):
    """Section 3.3: the sum over channels max(0, i - n/2) to min(N - 1, i + n/2)."""
    x = np.random.default_rng(seed).normal(size=(2, 3, 2, channels)).astype("float32")
    image = keras.Input((3, 2, channels))
    norm = shared.local_response_norm(image, "norm", size=size, alpha=alpha, beta=beta, k=k)
    direct = np.empty(x.shape)
    for i in range(channels):
        first = max(0, i - (size - 1) // 2)
        last = min(channels - 1, i + size // 2)
        total = (x[..., first : last + 1].astype(np.float64) ** 2).sum(-1)
        direct[..., i] = x[..., i] / (k + alpha * total) ** beta
    np.testing.assert_allclose(keras.Model(image, norm)(x), direct, rtol=1e-4)


def test_local_response_norm_is_tensorflows():
    import tensorflow as tf

    x = np.random.default_rng(0).normal(0, 30, size=(2, 4, 4, 96)).astype("float32")
    image = keras.Input((4, 4, 96))
    model = keras.Model(image, shared.local_response_norm(image, "norm"))
    theirs = tf.nn.local_response_normalization(x, 2, bias=2.0, alpha=1e-4, beta=0.75)
    np.testing.assert_allclose(model(x), theirs, rtol=1e-5)
    # Caffe divides alpha by n.
    caffe = shared.local_response_norm(image, "caffe", k=1.0, alpha=1e-4 / 5)
    theirs = tf.nn.local_response_normalization(x, 2, bias=1.0, alpha=2e-5, beta=0.75)
    np.testing.assert_allclose(keras.Model(image, caffe)(x), theirs, rtol=1e-5)


def test_local_response_norm_in_half_precision_squares_in_single():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        image = keras.Input((1, 1, 8))
        x = keras.layers.Activation("relu")(image)
        model = keras.Model(image, shared.local_response_norm(x, "norm"))
    finally:
        keras.config.set_dtype_policy(before)
    # 1000 squared is beyond float16.
    y = np.asarray(model(np.full((1, 1, 1, 8), 1000.0, "float32"))).ravel()
    np.testing.assert_allclose(y[3], 1000 / (2 + 1e-4 * 5e6) ** 0.75, rtol=5e-3)


@given(
    side=st.tuples(st.integers(3, 20), st.integers(3, 20)),
    window=st.sampled_from([(2, 2), (3, 2), (3, 1), (3, 3)]),
    fixed=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_ceil_max_pool_counts_what_is_inside(side, window, fixed):
    size, stride = window
    image = keras.Input((*(side if fixed else (None, None)), 2))
    model = keras.Model(image, shared.ceil_max_pool(image, size, stride, "pool"))
    x = np.random.default_rng(0).uniform(0, 1, (1, *side, 2)).astype("float32")
    y = np.asarray(model(x))
    assert y.shape[1:3] == tuple(-(-(s - size) // stride) + 1 for s in side)
    for row in range(y.shape[1]):
        for column in range(y.shape[2]):
            top, left = row * stride, column * stride
            inside = x[0, top : top + size, left : left + size]
            np.testing.assert_array_equal(y[0, row, column], inside.max((0, 1)))


@pytest.mark.parametrize("number", [np.int64(3), np.uint8(3), np.array(3), 3])
def test_whole_numbers_of_any_type_are_plain_after(number):
    assert type(whole_number("units", number)) is int
    shape = check_image_shape((number, number, number))
    assert shape == (3, 3, 3)
    assert all(type(side) is int for side in shape)


@pytest.mark.parametrize("number", [3.0, np.float32(3), True, np.True_, "3", None, 0, -1])
def test_numbers_that_are_not_positive_and_whole_are_refused(number):
    with pytest.raises(ArgumentError, match="units must be a positive whole number, got"):
        whole_number("units", number)
    with pytest.raises(ArgumentError, match="input_shape must be"):
        check_image_shape((8, number, 1), "input_shape")


@pytest.mark.parametrize(
    ("norm", "axes", "affine"),
    [("instance", (1, 2), True), ("instance", (1, 2), False), ("layer", (1, 2, 3), True)],
)
def test_norms_by_name(norm, axes, affine):
    """Mean and variance over pixels of a channel, or over pixels and channels of an image."""
    image = keras.Input((5, 4, 3))
    x = np.random.default_rng(0).normal(2, 3, (2, 5, 4, 3)).astype("float32")
    model = keras.Model(image, shared.normalize(image, norm, "norm", affine=affine))
    wide = x.astype(np.float64)
    mean, variance = (f(wide, axis=axes, keepdims=True) for f in (np.mean, np.var))
    np.testing.assert_allclose(model(x), (wide - mean) / np.sqrt(variance + 1e-5), atol=1e-5)
    assert [w.shape for w in model.weights] == [(3,)] * (2 if affine else 0)
    assert shared.normalize(image, None, "norm") is image
