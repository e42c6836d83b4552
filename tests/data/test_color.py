"""Changes of colour and light against closed forms."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from keras_arch import data
from keras_arch.data.augment import color
from keras_arch.data.augment.color import ColorJitter, RandomLighting
from keras_arch.errors import ArgumentError
from keras_arch.preprocessing import Preprocessing


def test_the_principal_components_are_perpendicular_and_of_length_one():
    np.testing.assert_allclose(color.DIRECTIONS.T @ color.DIRECTIONS, np.eye(3), atol=2e-3)
    # As Caffe's ports write them, in pixels.
    np.testing.assert_allclose(color.DEVIATIONS, [55.46, 4.794, 1.148], rtol=2e-3)


def test_lighting_adds_one_colour_to_an_image_with_the_covariance_of_the_paper():
    images = np.random.default_rng(0).uniform(0, 255, (20_000, 1, 2, 3)).astype(np.float32)
    added = RandomLighting(0.1)(images, [0, 1]).numpy() - images
    np.testing.assert_allclose(added[:, 0, 0], added[:, 0, 1], atol=1e-4)
    found = np.cov(added[:, 0, 0].T)
    variances = (0.1 * color.DEVIATIONS) ** 2
    expected = color.DIRECTIONS @ np.diag(variances) @ color.DIRECTIONS.T
    np.testing.assert_allclose(found, expected, rtol=0.05, atol=0.05)
    assert np.abs(added.mean(axis=(0, 1, 2))).max() < 0.1


def test_brightness_contrast_and_colour_have_factors_of_their_own():
    """Unclipped, all three are linear: means, deviations and differences tell the factors."""
    rng = np.random.default_rng(1)
    picture = (90 + rng.uniform(-8, 8, (6, 6, 3))).astype(np.float32)
    images = np.broadcast_to(picture, (3000, 6, 6, 3))
    made = ColorJitter(0.5)(images, [2, 3]).numpy()
    luma = np.array([0.299, 0.587, 0.114], np.float32)

    def facts(x):
        grey = x @ luma
        deviation = grey[..., 2, 3] - grey.mean(axis=(-1, -2))
        return grey.mean(axis=(-1, -2)), deviation, x[..., 0, 0, 0] - x[..., 0, 0, 1]

    (mean, deviation, difference), before = facts(made), facts(picture)
    brightness = mean / before[0]
    contrast = deviation / before[1] / brightness
    colour = difference / before[2] / brightness / contrast
    for factor in (brightness, contrast, colour):
        assert stats.kstest(factor, stats.uniform(0.5, 1).cdf).pvalue > 0.01
    assert np.abs(np.corrcoef([brightness, contrast, colour]) - np.eye(3)).max() < 0.07


def test_the_order_changes_from_image_to_image():
    """Where clipping makes it matter: a bright edge, brightened first or contrasted first."""
    picture = np.zeros((1, 2, 3), np.float32)
    picture[0, 1] = 250
    made = ColorJitter(1.0)(np.broadcast_to(picture, (2000, 1, 2, 3)), [0, 1]).numpy()
    dark, bright = made[:, 0, 0, 0], made[:, 0, 1, 0]
    # Contrast before brightness darkens the edge's dark side for low contrast; brightness first
    # clips the bright side, so that the middle of both is no longer the same multiple.
    assert ((dark + bright) > 250).any()
    assert ((bright == 255) & (dark > 0)).any()
    assert ((made >= 0) & (made <= 255)).all()


@pytest.mark.parametrize("change", [RandomLighting(), ColorJitter()])
def test_the_same_seed_gives_the_same_and_each_image_its_own(change):
    images = np.full((4, 3, 3, 3), 100, np.uint8)
    one, again, other = (change(images, [0, seed]).numpy() for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)
    assert len(np.unique(one[:, 0, 0, 0].round(3))) == 4


def test_they_change_pixels_before_normalisation():
    images = tf.data.Dataset.from_tensor_slices(np.full((8, 4, 4, 3), 128, np.uint8))
    how = Preprocessing((4, 4), scale=1 / 255, mean=0.5, std=0.25)
    batches = data.train_batches(images, how, 8, seed=0, augment=["lighting:0.1"])
    batch = next(iter(batches.dataset)).numpy()
    # 0.1 * 55 pixels of 255, divided by the standard deviation.
    assert 0.01 < batch.std() < 0.2
    assert abs(batch.mean()) < 0.1


def test_mistakes():
    for wrong, message in (
        ("lighting:0", "RandomLighting: sigma must be a number in .0, inf., got 0.0"),
        ("lighting:-1", "RandomLighting: sigma must be .* got -1.0"),
        ("color_jitter:0", "ColorJitter: strength must be a number in .0, 1., got 0.0"),
        ("color_jitter:1.5", "ColorJitter: strength must be .* got 1.5"),
    ):
        with pytest.raises(ArgumentError, match=message):
            data.augmentations([wrong])
    grey = np.zeros((2, 4, 4, 1), np.float32)
    for change in (RandomLighting(), ColorJitter()):
        with pytest.raises(ArgumentError, match=r"channels to 3, got images of 1 channel$"):
            change(grey, [0, 1])
