"""Intensities that are no pixels of 8 bits."""

import logging

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_arch import data
from keras_arch.config.base import PreprocessingConfig
from keras_arch.data.image_reading import read_image
from keras_arch.errors import ArgumentError
from keras_arch.preprocessing import Preprocessing

RAMP = np.linspace(0, 4095, 16, dtype=np.uint16).reshape(4, 4, 1)


def plain(**options):
    return Preprocessing((4, 4), 1, **options)


def unit(images, **options):
    return plain(**options)(images).numpy()


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.int64, np.float32, np.float64])
def test_a_value_range_becomes_black_to_white(dtype):
    np.testing.assert_allclose(
        unit(RAMP.astype(dtype), value_range=(0, 4095)), RAMP / 4095, atol=1e-6
    )
    np.testing.assert_allclose(
        unit(RAMP / 4095 * 2 - 1, value_range=(-1, 1)), RAMP / 4095, atol=1e-6
    )


def test_sixteen_bits_are_the_whole_range_by_default():
    deep = np.array([0, 257, 25700, 65535], np.uint16).reshape(2, 2, 1).repeat(2, 0).repeat(2, 1)
    np.testing.assert_allclose(unit(deep), deep / 65535, atol=1e-6)
    # Also where a graph reads them, and in the grey of a color image.
    graph = tf.function(plain(), input_signature=[tf.TensorSpec((4, 4, 1), tf.uint16)])
    np.testing.assert_allclose(graph(tf.constant(deep)), deep / 65535, atol=1e-6)
    np.testing.assert_allclose(unit(deep.repeat(3, -1)), deep / 65535, atol=1e-6)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (RAMP / np.float32(4095), r"0 to 1, which are no pixels.*value_range=\(0, 1\)"),
        (RAMP.astype(np.int32), r"int32 have values of 0 to 4095.*value_range=\(0, 4095\)"),
        (RAMP.astype(np.float32) - 9, r"-9 to 4086.*value_range=\(-9, 4095\)"),
        (np.ones((4, 4, 1), np.int64), r"value_range=\(0, 1\)|value_range=\(1, 1\)"),
        (np.full((4, 4, 1), np.nan, np.float32), "finite"),
        (np.ones((4, 4, 1), bool), "booleans"),
    ],
)
def test_what_needs_a_value_range_is_refused(images, message, tmp_path):
    with pytest.raises(ArgumentError, match=message):
        plain()(images)
    # Data sets follow the same rule.
    dataset = tf.data.Dataset.from_tensors(images)
    for batches in (data.train_batches, data.eval_batches):
        with pytest.raises(ArgumentError, match=message):
            batches(dataset, plain(), 1, **({"seed": 0} if batches is data.train_batches else {}))


def test_floats_in_pixels_are_taken_as_before():
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4, 1) * 17
    for dtype in (np.float32, np.int32):
        np.testing.assert_array_equal(unit(pixels.astype(dtype)), unit(pixels))
    # Dark ones are when someone says that they are.
    dark = np.full((4, 4, 1), 0.5, np.float32)
    np.testing.assert_allclose(unit(dark, value_range=(0, 255)), 0.5 / 255)
    assert unit(np.zeros((4, 4, 1), np.float32)).max() == 0


def test_images_that_do_not_fill_their_range_are_told(caplog):
    caplog.set_level(logging.WARNING, "keras_arch")
    plain()(RAMP)
    assert (
        "reach 4095 of 65535 and are dark; with preprocessing value_range=(0, 4095)"
        in (caplog.messages[0])
    )
    plain(value_range=(0, 2047))(RAMP)
    assert "those outside of value_range=(0, 2047) are cut" in caplog.messages[1]
    caplog.clear()
    plain(value_range=(0, 4095))(RAMP)
    plain()(RAMP * 16)
    assert not caplog.messages


def test_scales_for_raw_values_are_refused():
    with pytest.raises(ArgumentError, match=r"give value_range=\(0, 4095\) and leave scale"):
        plain(scale=1 / 4095)(RAMP)


def test_eight_bits_cannot_have_twelve():
    with pytest.raises(ArgumentError, match="images of 8 bits cannot have the intensities"):
        plain(value_range=(0, 4095))(np.zeros((4, 4, 1), np.uint8))
    assert unit(np.full((4, 4, 1), 100, np.uint8), value_range=(100, 200)).max() == 0


@pytest.mark.parametrize("value_range", [(1, 0), (0, 0), (0,), "ab", (0, float("inf")), 5])
def test_ranges_that_are_none_are_refused(value_range):
    with pytest.raises(ArgumentError, match="value_range must be"):
        plain(value_range=value_range)


def test_the_range_is_kept_in_cards_and_configs():
    how = plain(value_range=(0, 4095))
    assert Preprocessing.from_dict(how.to_dict()) == how
    assert "value_range" not in plain().to_dict()
    config = PreprocessingConfig(size=(4, 4), channels=1, value_range=(0, 4095))
    assert config.build().value_range == (0.0, 4095.0)


def test_files_follow_the_rule_of_arrays(tmp_path):
    for name, pixels in (
        ("float.tif", RAMP[..., 0] / np.float32(4095)),
        ("int32.tif", RAMP[..., 0].astype(np.int32)),
    ):
        (tmp_path / name).mkdir()
        Image.fromarray(pixels).save(tmp_path / name / name)
        image = read_image(tmp_path / name / name)
        np.testing.assert_array_equal(image[..., 0], pixels)
        with pytest.raises(ArgumentError, match="no pixels"):
            plain()(image)
        with pytest.raises(ArgumentError, match="no pixels"):
            data.eval_batches(data.load(f"folder:{tmp_path / name}"), plain(), 1)
        how = plain(value_range=(0, float(pixels.max())))
        (batch,) = data.eval_batches(data.load(f"folder:{tmp_path / name}"), how, 1)
        np.testing.assert_allclose(batch[0], RAMP / 4095, atol=1e-6)
