"""Gradients in closed form and against differences by NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from keras_arch import metrics
from keras_arch.errors import ArgumentError


@settings(deadline=None, max_examples=25)
@given(across=st.floats(-0.1, 0.1), down=st.floats(-0.1, 0.1), count=st.sampled_from([1, 65]))
def test_a_plane_has_its_slope(across, down, count):
    y, x = np.mgrid[:4, :6]
    plane = np.tile(0.5 + (x - 2.5) * across / 5 + (y - 1.5) * down / 5, (count, 1, 1))
    expected = np.hypot(across, down) / 5
    assert metrics.mean_gradient_magnitude(plane) == pytest.approx(expected, abs=1e-12)


def test_by_numpys_differences_on_real_digits():
    from sklearn.datasets import load_digits

    images = load_digits().images[:100] / 16
    right, below = np.diff(images, axis=2)[:, :-1], np.diff(images, axis=1)[:, :, :-1]
    expected = np.sqrt(right**2 + below**2).mean()
    assert metrics.mean_gradient_magnitude(images) == pytest.approx(expected, rel=1e-12)
    blurred = ndimage.gaussian_filter(images, (0, 1, 1))
    assert metrics.mean_gradient_magnitude(blurred) < 0.5 * expected


def test_bytes_floats_grey_and_colour_agree():
    grey = np.random.default_rng(0).integers(0, 256, (3, 5, 5, 1), dtype=np.uint8)
    found = metrics.mean_gradient_magnitude(grey)
    assert metrics.mean_gradient_magnitude(grey / 255) == pytest.approx(found, rel=1e-12)
    assert metrics.mean_gradient_magnitude(grey.repeat(3, 3)) == pytest.approx(found, rel=1e-12)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((0, 5, 5, 1)), r"shape \(0, 5, 5, 1\)"),
        (np.zeros((2, 1, 5, 1)), "at least 2x2 pixels"),
        (np.zeros((2, 5, 5, 2)), r"\(2, 5, 5, 2\)"),
        (np.full((2, 5, 5, 1), -1.0), "values from -1 to -1"),
    ],
)
def test_wrong_images(images, message):
    with pytest.raises(ArgumentError, match=message):
        metrics.mean_gradient_magnitude(images)
