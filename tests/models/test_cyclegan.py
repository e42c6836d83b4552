import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_arch import layers as shared
from keras_arch import models
from keras_arch.errors import ArgumentError
from tests.models.tester import Case, ModelTester

WRONG = (
    ({"blocks": 0}, "blocks"),
    ({"image_shape": (32, 30, 3)}, "width of image_shape must be a multiple of 4 pixels, got 30"),
    ({"image_shape": (32, 30, 3)}, "the next is 28 or 32"),
    ({"image_shape": (4, 32, 3)}, "at least 8x8"),
    ({"image_shape": "32"}, "height, width, channels"),
    ({"filters": 0}, "filters"),
)
SMALL = {"blocks": 2, "image_shape": (16, 24, 3), "filters": 2, "output_channels": 1}
CASES = [Case("CycleGANGenerator", SMALL, (16, 24, 1), wrong=WRONG)]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestCycleGAN(ModelTester):
    pass


@given(height=st.integers(2, 5), width=st.integers(2, 5), channels=st.sampled_from([1, 3]))
@settings(max_examples=4, deadline=None)
def test_every_size_comes_out_as_it_went_in(height, width, channels):
    shape = (4 * height, 4 * width, channels)
    model = models.CycleGANGenerator(1, image_shape=shape, output_channels=2, filters=1)
    x = np.random.default_rng(0).uniform(-1, 1, (1, *shape)).astype("float32")
    out = np.asarray(model(x))
    assert out.shape == (1, *shape[:2], 2)
    assert np.abs(out).max() <= 1


def test_every_convolution_but_the_last_is_normalised_without_gain_and_bias():
    model = models.CycleGANGenerator(blocks=2, image_shape=(8, 8, 3), filters=1)
    convolutions = [x for x in model.layers if x.name.endswith("_conv")]
    norms = [x for x in model.layers if x.name.endswith("_norm")]
    assert all(layer.use_bias for layer in convolutions)
    assert [x.name[:-5] for x in convolutions[:-1]] == [x.name[:-5] for x in norms]
    assert not any(layer.weights for layer in norms)


def test_padding_mirrors_the_image():
    image = keras.Input((8, 12, 1))
    padded = keras.Model(image, shared.reflect_pad(image, 3, "pad"))
    assert [operation.name for operation in padded.operations[1:]] == ["pad"]
    again = keras.Model.from_config(padded.get_config())
    x = np.random.default_rng(0).normal(size=(1, 8, 12, 1)).astype("float32")
    expected = np.pad(x, ((0, 0), (3, 3), (3, 3), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(padded(x), expected)
    np.testing.assert_array_equal(again(x), expected)


def test_instance_norm_is_of_each_channel_of_each_image():
    x = np.random.default_rng(0).normal(2, 3, (2, 8, 6, 3)).astype("float32")
    for affine in (False, True):
        out = np.asarray(shared.instance_norm("norm", affine=affine)(x))
        mean = x.mean(axis=(1, 2), keepdims=True, dtype="float64")
        variance = x.var(axis=(1, 2), keepdims=True, dtype="float64")
        np.testing.assert_allclose(out, (x - mean) / np.sqrt(variance + 1e-5), atol=1e-5)


def test_a_map_too_small_to_mirror_is_refused():
    with pytest.raises(ArgumentError, match=r"2x8 cannot be padded .* at least 4x4"):
        shared.reflect_pad(keras.Input((2, 8, 1)), 3, "pad")
