"""RandAugment: each change against Pillow's, and how they are drawn."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from keras_arch import data
from keras_arch.data.augment.rand_augment import OPERATIONS, operate
from keras_arch.preprocessing import Preprocessing

GREY = (128, 128, 128)


def pictures(channels=3):
    """A bright one, a dark one, and one of a single level."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 200, (3, 32, 24, channels)).astype(np.uint8)
    images[1] //= 3
    images[2] = 77
    return images


def affine(*numbers):
    """Pillow's transform, which takes the middle of a pixel and not its corner for its place."""
    a, b, c, d, e, f = numbers
    c, f = c - (a + b - 1) / 2, f - (d + e - 1) / 2
    return lambda image: image.transform(
        image.size, Image.Transform.AFFINE, (a, b, c, d, e, f), fillcolor=GREY
    )


@pytest.mark.parametrize(
    ("name", "strength", "pillow", "within"),
    [
        ("identity", 9, lambda image: image, 0),
        # Pillow cuts fractions off where we round.
        ("auto_contrast", 9, ImageOps.autocontrast, 1),
        ("equalize", 9, ImageOps.equalize, 0),
        ("solarize", 5, lambda image: ImageOps.solarize(image, 128), 0),
        ("solarize", 10, ImageOps.invert, 0),
        ("posterize", 5, lambda image: ImageOps.posterize(image, 6), 0),
        ("posterize", 10, lambda image: ImageOps.posterize(image, 4), 0),
        ("color", 10, lambda image: ImageEnhance.Color(image).enhance(1.9), 1),
        ("color", -5, lambda image: ImageEnhance.Color(image).enhance(0.55), 1),
        ("contrast", 5, lambda image: ImageEnhance.Contrast(image).enhance(1.45), 1),
        ("brightness", -10, lambda image: ImageEnhance.Brightness(image).enhance(0.1), 1),
        ("sharpness", 9, lambda image: ImageEnhance.Sharpness(image).enhance(1.81), 1),
        ("rotate", 10, lambda image: image.rotate(30, fillcolor=GREY), 0),
        ("rotate", -3, lambda image: image.rotate(-9, fillcolor=GREY), 0),
        ("translate_x", 10, affine(1, 0, 11, 0, 1, 0), 0),
        ("translate_y", -10, affine(1, 0, 0, 0, 1, -14), 0),
        ("shear_x", 9, affine(1, 0.27, 0, 0, 1, 0), 0),
        ("shear_y", -9, affine(1, 0, 0, -0.27, 1, 0), 0),
    ],
)
def test_changes_are_those_of_pillow(name, strength, pillow, within):
    images = pictures()
    made = operate(name, tf.constant(images, tf.float32), tf.fill([3], float(strength))).numpy()
    wanted = np.stack([np.asarray(pillow(Image.fromarray(image)), int) for image in images])
    different = np.abs(made - wanted) > within
    # Of sheared pixels some lie just between two.
    assert different.mean() <= (0.02 if "shear" in name else 0)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_ranges_and_no_change_without_strength(name, channels):
    images = tf.constant(pictures(channels), tf.float32)
    for strength in (10.0, -10.0):
        made = operate(name, images, tf.fill([3], strength)).numpy()
        assert made.shape == images.shape
        np.testing.assert_array_equal(made, np.clip(np.rint(made), 0, 255))
    same = operate(name, images, tf.zeros([3])).numpy()
    if name not in ("auto_contrast", "equalize"):
        np.testing.assert_array_equal(same, images)
    # Some change is drawn by no image of a batch.
    assert operate(name, images[:0], tf.zeros([0])).shape == (0, *images.shape[1:])


def test_each_image_draws_changes_of_its_own():
    image = pictures()[:1]
    images = np.repeat(image, 1400, axis=0)
    made = data.RandAugment(1, 10)(tf.constant(images), [3, 4]).numpy()
    kinds = {}
    for name in OPERATIONS:
        ends = [
            operate(name, tf.constant(image, tf.float32), tf.constant([s])).numpy()
            for s in (10.0, -10.0)
        ]
        kinds[name] = sum(
            (made == end).all(axis=(1, 2, 3)).sum() for end in np.unique(ends, axis=0)
        )
    # Of 1,400 each 100, standard deviation 10; all of them are one of the fourteen.
    assert all(60 < count < 140 for count in kinds.values()), kinds
    assert sum(kinds.values()) == 1400


def test_the_seed_alone_decides():
    images = tf.constant(np.repeat(pictures(), 10, axis=0))
    change = data.RandAugment(2, 9)
    first = change(images, [5, 6]).numpy()
    tf.random.set_seed(123)
    np.testing.assert_array_equal(change(images, [5, 6]), first)
    assert not np.array_equal(change(images, [5, 7]), first)


@pytest.mark.slow
def test_in_the_pipeline_it_changes_pixels_at_any_place():
    images = np.repeat(pictures(1)[:1], 16, axis=0)
    dataset = tf.data.Dataset.from_tensor_slices(images)
    to_tanh = Preprocessing((32, 24), 1, scale=1 / 127.5, mean=1.0)
    seen = []
    for augment in (["randaugment:2,9"], [lambda batch, seed: batch, "randaugment:2,9"]):
        (batch,) = data.train_batches(dataset, to_tanh, 16, seed=1, augment=augment).dataset.take(1)
        batch = batch.numpy()
        pixels = (batch + 1) * 127.5
        np.testing.assert_allclose(pixels, np.rint(pixels), atol=1e-3)
        assert batch.min() >= -1
        assert batch.max() <= 1
        seen.append(batch)
    assert len(np.unique(seen[0], axis=0)) > 4


def test_why_the_layer_of_keras_does_not_serve():
    """It draws one sequence of changes for the whole batch, from a state.

    When this fails, our own may be one class too many.
    """
    layer = keras.layers.RandAugment(seed=0)
    layer.build((None, 32, 24, 3))
    drawn = layer.get_random_transformation(tf.constant(pictures(), tf.float32))
    assert drawn["layer_idxes"].shape == (layer.num_ops,)
