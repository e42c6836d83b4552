"""Distances of features against closed forms, SciPy's matrix root and sums written out."""

import logging

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_arch import metrics
from keras_arch.errors import ArgumentError


def gaussian(mean, covariance, count, seed=0):
    """Samples whose mean and covariance are exactly these, so that closed forms hold exactly."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(size=(count, len(mean)))
    raw -= raw.mean(axis=0)
    raw = raw @ np.linalg.inv(np.linalg.cholesky(np.cov(raw.T).reshape(len(mean), -1))).T
    return raw @ np.linalg.cholesky(covariance).T + mean


def by_scipy(a, b):
    """Equation 6 of Heusel et al. with the root of the product, as their code takes it."""
    covariances = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    gap = a.mean(axis=0) - b.mean(axis=0)
    return gap @ gap + np.trace(covariances[0] + covariances[1] - 2 * root)


@pytest.mark.parametrize("count", [200, 9, 2])
def test_frechet_distance_of_equal_sets_is_zero(count):
    features = np.random.default_rng(0).normal(size=(count, 16)) * 50 + 1000
    assert metrics.frechet_distance(features, features) == pytest.approx(0, abs=1e-7)
    assert metrics.frechet_distance(features, features[::-1]) == pytest.approx(0, abs=1e-7)


@settings(deadline=None, max_examples=25)
@given(
    means=st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=5),
    data=st.data(),
)
def test_frechet_distance_of_diagonal_gaussians(means, data):
    """sum (m1 - m2)^2 + (s1 - s2)^2"""
    scales = st.lists(st.floats(0.1, 3), min_size=len(means), max_size=len(means))
    s1, s2 = np.array(data.draw(scales)), np.array(data.draw(scales))
    m1, m2 = np.array(means).T
    a, b = gaussian(m1, np.diag(s1**2), 40, 1), gaussian(m2, np.diag(s2**2), 30, 2)
    expected = ((m1 - m2) ** 2 + (s1 - s2) ** 2).sum()
    assert metrics.frechet_distance(a, b) == pytest.approx(expected, abs=1e-8)


def test_frechet_distance_as_by_scipys_root_and_by_eigenvalues():
    rng = np.random.default_rng(1)
    a = rng.normal(size=(300, 12)) @ rng.normal(size=(12, 12))
    b = rng.normal(size=(250, 12)) @ rng.normal(size=(12, 12)) + 0.5
    found = metrics.frechet_distance(a, b)
    assert found == pytest.approx(by_scipy(a, b), rel=1e-9)
    assert found == pytest.approx(metrics.frechet_distance(b, a), rel=1e-9)
    product = np.cov(a.T) @ np.cov(b.T)
    overlap = np.sqrt(np.linalg.eigvals(product).real).sum()
    gap = a.mean(axis=0) - b.mean(axis=0)
    trace = np.trace(np.cov(a.T)) + np.trace(np.cov(b.T))
    assert found == pytest.approx(gap @ gap + trace - 2 * overlap, rel=1e-9)


def test_frechet_distance_of_singular_covariances():
    """Two lines at 60 degrees in 20 dimensions: trace of the root is s1 s2 cos 60."""
    rng = np.random.default_rng(2)
    axes = np.linalg.qr(rng.normal(size=(20, 2)))[0].T
    first, second = axes[0], 0.5 * axes[0] + np.sqrt(0.75) * axes[1]
    line = gaussian(np.zeros(1), np.eye(1), 50)
    found = metrics.frechet_distance(2 * line * first, 3 * line * second)
    assert found == pytest.approx(4 + 9 - 2 * 6 * 0.5, abs=1e-10)


def test_warning_for_too_few_samples(caplog):
    features = np.random.default_rng(0).normal(size=(5, 8))
    with caplog.at_level(logging.WARNING):
        metrics.frechet_distance(features, np.concatenate([features, features]))
    (record,) = caplog.records
    assert "features_a has 5 samples for 8 dimensions" in record.getMessage()


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((1, 3)), np.zeros((5, 3)), "features_a must have at least 2 samples, got 1"),
        (np.zeros((5, 3)), metrics.FeatureStatistics(np.zeros((1, 3))), "at least 2 samples"),
        (np.zeros((5, 3)), np.zeros((5, 4)), "same dimensions, got 3 and 4"),
        (np.zeros((5, 3, 2)), np.zeros((5, 3)), r"got shape \(5, 3, 2\)"),
        (np.zeros((5, 3)), np.full((5, 3), np.nan), "features_b must be finite numbers, got 15"),
        (np.zeros((5, 3)), np.array([["x"] * 3] * 5), "an array of <U1"),
    ],
)
def test_frechet_distance_of_wrong_arguments(a, b, message):
    with pytest.raises(ArgumentError, match=message):
        metrics.frechet_distance(a, b)


@settings(deadline=None, max_examples=30)
@given(cuts=st.lists(st.integers(1, 99), max_size=5, unique=True), shift=st.floats(-1e4, 1e4))
def test_statistics_in_batches_are_those_of_the_whole(cuts, shift):
    features = np.random.default_rng(0).normal(size=(100, 4)) + shift
    statistics = metrics.FeatureStatistics()
    for batch in np.split(features, sorted(cuts)):
        statistics.update(batch)
    assert statistics.count == 100
    np.testing.assert_allclose(statistics.mean, features.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(statistics.covariance, np.cov(features.T), atol=1e-9)


def test_statistics_refuse_other_dimensions_and_nothing():
    statistics = metrics.FeatureStatistics(np.zeros((2, 3)))
    with pytest.raises(ArgumentError, match="must have 3 dimensions as those before, got 4"):
        statistics.update(np.zeros((2, 4)))
    with pytest.raises(ArgumentError, match="at least 1 samples, got 0"):
        _ = metrics.FeatureStatistics().mean


def mmd(x, y, degree, gamma, coef0):
    """Equation 4 of Binkowski et al., sum by sum."""

    def kernel(a, b):
        return (gamma * float(a @ b) + coef0) ** degree

    m, n = len(x), len(y)
    same = sum(kernel(x[i], x[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    same += sum(kernel(y[i], y[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    return same - 2 * sum(kernel(a, b) for a in x for b in y) / (m * n)


@pytest.mark.parametrize(
    "options", [{}, {"degree": 2, "gamma": 0.5, "coef0": 0.0}, {"subset_size": 3}]
)
def test_kernel_distance_is_the_mean_over_subsets_of_the_written_out_sum(options):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(14, 3)), rng.normal(size=(16, 3)) + 0.3
    found = metrics.kernel_distance(a, b, subsets=6, seed=5, **options)
    size = options.get("subset_size", 7)
    assert (found.subsets, found.subset_size) == (6, size)
    kernel = {"degree": 3, "gamma": 1 / 3, "coef0": 1.0} | options
    kernel.pop("subset_size", None)
    draws = np.random.default_rng(5)
    expected = []
    for _ in range(6):
        x = a[draws.choice(14, size, replace=False)]
        y = b[draws.choice(16, size, replace=False)]
        expected.append(mmd(x, y, **kernel))
    assert found.mean == pytest.approx(np.mean(expected), rel=1e-10)
    assert found.deviation == pytest.approx(np.std(expected), rel=1e-10)


def test_kernel_distance_is_unbiased_and_seeded():
    """Of equal distributions it is 0 on average, where the biased estimate never is below 0."""
    rng = np.random.default_rng(0)
    means = [
        metrics.kernel_distance(rng.normal(size=(40, 4)), rng.normal(size=(40, 4)), subsets=5).mean
        for _ in range(200)
    ]
    assert abs(np.mean(means)) < 3 * np.std(means) / np.sqrt(200)
    assert min(means) < 0 < max(means)
    a, b = rng.normal(size=(2, 40, 4))
    assert metrics.kernel_distance(a, b) == metrics.kernel_distance(a, b)
    assert metrics.kernel_distance(a, b) != metrics.kernel_distance(a, b, seed=1)


def test_kernel_distance_in_closed_form():
    """Degree 1, coef0 0: the squared gap of the means times gamma, on average over subsets."""
    a = np.full((10, 2), 3.0)
    b = np.full((10, 2), 1.0)
    found = metrics.kernel_distance(a, b, degree=1, gamma=1.0, coef0=0.0)
    assert (found.mean, found.deviation) == (pytest.approx(8), pytest.approx(0, abs=1e-12))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subsets": 0}, "subsets must be a positive whole number, got 0"),
        ({"subset_size": 1}, "subset_size must be a whole number of at least 2, got 1"),
        ({"degree": 0.5}, "degree must be a positive whole number, got 0.5"),
    ],
)
def test_kernel_distance_of_wrong_arguments(options, message):
    with pytest.raises(ArgumentError, match=message):
        metrics.kernel_distance(np.zeros((9, 2)), np.zeros((9, 2)), **options)
    with pytest.raises(ArgumentError, match="features_b must have at least 4 samples, got 3"):
        metrics.kernel_distance(np.zeros((9, 2)), np.zeros((3, 2)))
