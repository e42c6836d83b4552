"""Parzen windows against scikit-learn's and SciPy's densities, and closed forms."""

import numpy as np
import pytest
from scipy import stats
from sklearn.neighbors import KernelDensity

from keras_arch import metrics
from keras_arch.errors import ArgumentError


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    images = load_digits().images / 16
    return images[:300], images[300:500], images[500:700]


def test_log_density_is_that_of_scikit_learn(digits):
    samples, validation, test = digits
    found = metrics.parzen_log_likelihood(samples, validation, test)
    rows = [images.reshape(len(images), -1) for images in digits]
    # One leaf: over many, its running bounds leave rounding that hides densities below e^-36.
    by_sigma = {}
    for sigma in np.logspace(-1, 0, 10):
        density = KernelDensity(bandwidth=sigma, rtol=0, atol=0, leaf_size=1000).fit(rows[0])
        by_sigma[sigma] = density.score_samples(rows[1]).mean()
    np.testing.assert_allclose(list(found.validation), list(by_sigma), rtol=1e-12)
    np.testing.assert_allclose(
        list(found.validation.values()), list(by_sigma.values()), rtol=1e-9, atol=1e-9
    )
    assert found.sigma == pytest.approx(max(by_sigma, key=by_sigma.get))
    scores = KernelDensity(bandwidth=found.sigma, rtol=0, leaf_size=1000).fit(rows[0])
    scores = scores.score_samples(rows[2])
    assert found.mean == pytest.approx(scores.mean(), rel=1e-9)
    assert found.standard_error == pytest.approx(scores.std() / np.sqrt(len(scores)), rel=1e-9)


def test_two_gaussians_by_scipy():
    samples, test = np.array([[0.2, 0.2], [0.9, 0.4]]), np.array([[0.5, 0.5], [0.0, 1.0]])
    found = metrics.parzen_log_likelihood(samples, test, test, [0.25])
    densities = [
        np.mean([stats.multivariate_normal.pdf(x, mean, 0.25**2) for mean in samples]) for x in test
    ]
    assert found.mean == pytest.approx(np.log(densities).mean(), rel=1e-12)


def test_no_density_underflows():
    """784 pixels, all off by one, at the smallest bandwidth: e^-39,200 is no float."""
    found = metrics.parzen_log_likelihood(
        np.zeros((3, 28, 28)), np.ones((2, 28, 28)), np.ones((2, 28, 28)), [0.1]
    )
    expected = -784 / (2 * 0.01) - 784 * np.log(0.1 * np.sqrt(2 * np.pi))
    assert found.mean == pytest.approx(expected, rel=1e-12)
    assert found.standard_error == 0


def test_pixels_as_bytes_and_as_floats_are_the_same(digits):
    as_bytes = [np.rint(images * 255).astype(np.uint8) for images in digits]
    as_floats = [images.astype(np.float64) / 255 for images in as_bytes]
    first = metrics.parzen_log_likelihood(*as_bytes)
    assert first.mean == pytest.approx(metrics.parzen_log_likelihood(*as_floats).mean, rel=1e-12)


@pytest.mark.parametrize(
    ("samples", "sigmas", "message"),
    [
        (np.full((2, 4), -1.0), [0.1], "samples must be uint8 or pixels in .* got values from -1"),
        (np.full((2, 4), np.nan), [0.1], "got values from nan"),
        (np.zeros((2, 5)), [0.1], "same dimensions, got 5 and 4"),
        (np.zeros((2, 4)), [], "sigmas must be positive numbers, at least one"),
        (np.zeros((2, 4)), [0.1, 0.0], "sigmas must be positive"),
        (np.zeros((0, 4)), [0.1], r"array of images, got shape \(0, 4\)"),
    ],
)
def test_wrong_arguments(samples, sigmas, message):
    with pytest.raises(ArgumentError, match=message):
        metrics.parzen_log_likelihood(samples, np.zeros((2, 4)), np.zeros((2, 4)), sigmas)
