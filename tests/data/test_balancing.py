"""Balanced epochs and weights of classes."""

import numpy as np
import pytest
import tensorflow as tf

from keras_arch import data
from keras_arch.data.balancing import Balance, labels_of
from keras_arch.errors import ArgumentError
from keras_arch.preprocessing import Preprocessing

RAW = Preprocessing((2, 2), 1, scale=1.0)
# 60 images: 3 of class 0, 15 of class 1, 42 of class 2.
LABELS = np.repeat([0, 1, 2], [3, 15, 42])


def images():
    pixels = np.broadcast_to(np.arange(60, dtype=np.uint8)[:, None, None, None], (60, 2, 2, 1))
    return tf.data.Dataset.from_tensor_slices((pixels, LABELS))


def epochs_of(count, **more):
    batches = data.train_batches(images(), RAW, 10, seed=5, balanced=True, **more)
    assert (batches.steps_per_epoch, batches.examples) == (6, 60)
    taken = [(x[:, 0, 0, 0].numpy(), y.numpy()) for x, y in batches.dataset.take(6 * count)]
    pixels, labels = (np.concatenate(part).reshape(count, 60) for part in zip(*taken, strict=True))
    np.testing.assert_array_equal(LABELS[pixels.astype(int)], labels)
    return pixels.astype(int), labels


@pytest.mark.parametrize("cache", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_epoch_has_as_many_images_of_each_class(cache):
    pixels, labels = epochs_of(12, cache=cache)
    for epoch, found in zip(pixels, labels, strict=True):
        assert np.bincount(found).tolist() == [20, 20, 20]
        times = np.bincount(epoch, minlength=60)
        # 20 draws from 3, 15 and 42 images, as evenly as that goes.
        assert set(times[:3]) == {6, 7}
        assert set(times[3:18]) == {1, 2}
        assert set(times[18:]) == {0, 1}
    # Another part of the frequent class each time: all of it in 12 epochs.
    assert np.bincount(pixels.ravel(), minlength=60).min() > 0
    assert not np.array_equal(pixels[0], pixels[1])


@pytest.mark.parametrize("cache", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_restart_goes_on_with_the_same_images(cache):
    pixels, _ = epochs_of(2, cache=cache)
    rest, _ = epochs_of(1, cache=cache, start_epoch=1)
    np.testing.assert_array_equal(rest[0], pixels[1])


def test_what_is_left_of_an_even_share_goes_to_some_classes():
    balance = Balance(np.repeat([0, 1, 3], [1, 2, 8]))
    for number in range(5):
        sums = np.bincount(np.repeat([0, 1, 3], [1, 2, 8]), balance.repeats([7, number]).numpy())
        assert sorted(sums[[0, 1, 3]]) == [3, 4, 4]


def test_weights_of_classes():
    balanced = data.class_weights("balanced", LABELS, ["a", "b", "c"])
    np.testing.assert_allclose(balanced, [60 / 9, 60 / 45, 60 / 126], rtol=1e-6)
    assert balanced[LABELS].mean() == pytest.approx(1, rel=1e-6)
    assert data.class_weights([1, 0, 2.5], LABELS, ["a", "b", "c"]).tolist() == [1, 0, 2.5]
    assert data.class_weights({"b": 4}, LABELS, ["a", "b", "c"]).tolist() == [1, 4, 1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("even", "class_weights must be balanced, a list or weights by name, got 'even'"),
        ("balanced", "needs an image of each class, 'd' has none in the training split"),
        ([1, 2], "must have one weight for each of 4 classes, got 2"),
        ([1, 2, -1, 1], r"at least 0, and not all of them 0, got \[1.0, 2.0, -1.0, 1.0\]"),
        ([0, 0, 0, 0], "not all of them 0"),
        ([1, 1, 1, float("nan")], "must be numbers of at least 0"),
        ({"dog": 2}, "class_weights names 'dog'; the classes are a, b, c, d"),
    ],
)
def test_weights_that_do_not_fit(given, message):
    with pytest.raises(ArgumentError, match=message):
        data.class_weights(given, LABELS, ["a", "b", "c", "d"])


def test_images_without_class_numbers_cannot_be_balanced():
    plain = images().map(lambda image, label: image)
    with pytest.raises(ArgumentError, match="balanced is for images with labels; the data set has"):
        data.train_batches(plain, RAW, 10, seed=0, balanced=True)
    with pytest.raises(ArgumentError, match="balanced by a class number for each image"):
        labels_of(plain)
