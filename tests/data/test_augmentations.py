"""Crops and flips, against NumPy slices."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_arch import data
from keras_arch.errors import ArgumentError


def windows(image, padding):
    """Every crop that there can be."""
    height, width, _ = image.shape
    padded = np.pad(image, [(padding, padding), (padding, padding), (0, 0)])
    return [
        padded[y : y + height, x : x + width]
        for y in range(2 * padding + 1)
        for x in range(2 * padding + 1)
    ]


@settings(deadline=None, max_examples=20)
@given(
    padding=st.integers(1, 5),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 2**62),
)
def test_every_crop_is_a_window_of_the_image_with_a_border_of_zeros(
    padding, height, width, channels, seed
):
    images = np.random.default_rng(seed).uniform(0.1, 1, (4, height, width, channels))
    images = images.astype(np.float32)
    for image, crop in zip(images, data.RandomCrop(padding)(images, [seed, 1]), strict=True):
        assert any(np.array_equal(crop, window) for window in windows(image, padding))


def test_crops_are_independent_and_uniform():
    image = np.random.default_rng(0).uniform(size=(8, 8, 1)).astype(np.float32)
    images = tf.constant(np.broadcast_to(image, (8100, 8, 8, 1)))
    crops = data.RandomCrop(4)(images, [1, 2]).numpy()
    counts = [(crops == window).all(axis=(1, 2, 3)).sum() for window in windows(image, 4)]
    assert sum(counts) == 8100
    # 100 expected at each of 81 places, standard deviation 10.
    assert min(counts) > 55
    assert max(counts) < 150


def test_half_of_the_images_are_mirrored_each_on_its_own():
    images = np.random.default_rng(0).uniform(size=(2000, 5, 7, 3)).astype(np.float32)
    flipped = data.RandomFlip()(images, [3, 4]).numpy()
    same = (flipped == images).all(axis=(1, 2, 3))
    mirrored = (flipped == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same ^ mirrored).all()
    # 1,000 expected, standard deviation 22.
    assert 890 < mirrored.sum() < 1110


@pytest.mark.parametrize("change", [data.RandomCrop(2), data.RandomFlip()])
def test_the_seed_alone_decides(change):
    images = np.random.default_rng(0).uniform(size=(64, 8, 8, 3)).astype(np.float32)
    first = change(images, [5, 6]).numpy()
    tf.random.set_seed(123)
    np.testing.assert_array_equal(change(images, [5, 6]), first)
    np.testing.assert_array_equal(tf.function(change)(tf.constant(images), [5, 6]), first)
    assert not np.array_equal(change(images, [5, 7]), first)


def test_names():
    assert data.augmentations(["crop:4", "flip"]) == (data.RandomCrop(4), data.RandomFlip())
    assert data.augmentations(("crop",)) == (data.RandomCrop(4),)
    assert data.augmentations(["randaugment:3,5.5"]) == (data.RandAugment(3, 5.5),)
    assert data.augmentations(["randaugment:2:9"]) == data.augmentations(["randaugment:2,9"])
    assert data.augmentations(["randaugment:1"]) == (data.RandAugment(1, 9),)
    assert data.augmentations(["mixup:1", "cutmix"]) == (data.MixUp(1.0), data.CutMix(1.0))
    assert data.augmentations(()) == ()
    assert data.augmentations([abs]) == (abs,)


def refused(names):
    """What wrong names are refused with."""
    with pytest.raises(ArgumentError) as caught:
        data.augmentations(names)
    return str(caught.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["flipp"], "no augmentation named 'flipp'; there are crop:4, flip, jitter:30,"),
        (["flipp"], "; did you mean flip?"),
        ([3], "no augmentation named 3"),
        ("flip", "must be a list"),
    ],
)
def test_errors_of_wrong_names_list_the_known_ones(names, message):
    assert message in refused(names)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("crop:x", "'crop:x' cannot be read; write crop:4"),
        ("randaugment:2;9", "'randaugment:2;9' cannot be read; write randaugment:2,9"),
        ("randaugment:2,9,1", "cannot be read"),
        ("crop:", "cannot be read"),
        ("flip:2", "cannot be read"),
        ("randaugment:0", "RandAugment: count must be a positive whole number, got 0"),
        ("randaugment:2,11", "RandAugment: strength must be a number in [0, 10], got 11"),
        ("mixup:0", "MixUp: alpha must be a number in (0, 1e+06], got 0"),
        ("cutmix:nan", "CutMix: alpha must be a number in (0, 1e+06], got nan"),
        ("crop:-1", "RandomCrop: padding must be a positive whole number, got -1"),
        ("crop:0", "RandomCrop: padding must be a positive whole number, got 0"),
    ],
)
def test_errors_of_wrong_numbers_say_what_would_be_right(name, message):
    assert message in refused([name])


def test_why_the_crop_of_keras_does_not_serve():
    """It takes one place for the whole batch, from a state that changes with every call.

    When this fails, our own crop may be one class too many.
    """
    crop = keras.layers.RandomCrop(8, 8, seed=0)
    batch = np.broadcast_to(np.arange(256.0).reshape(1, 16, 16, 1), (32, 16, 16, 1))
    corners = np.asarray(crop(batch, training=True))[:, 0, 0, 0]
    assert len(set(corners)) == 1
    assert len(crop.variables) == 1
