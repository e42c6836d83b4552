"""Distances between two sets of features: Frechet distance (FID) and kernel distance (KID)."""

import dataclasses
import logging
from typing import Any

import numpy as np
from scipy import linalg

from keras_arch.errors import ArgumentError, whole_number
from keras_arch.metrics.checks import check_pair, check_points

_log = logging.getLogger(__name__)


class FeatureStatistics:
    """Mean and covariance of features, updated batch by batch.

    Batches are merged by the update of Chan, Golub and LeVeque (1979), which loses no digits where
    the difference of two large sums would.

    Args:
        features: The first features, `(samples, dimensions)`, or `None`.

    Example:
        >>> statistics = FeatureStatistics([[0.0, 1.0], [2.0, 1.0]])
        >>> statistics.update([[4.0, 1.0]])
        >>> statistics.count, statistics.mean.tolist(), statistics.covariance.tolist()
        (3, [2.0, 1.0], [[4.0, 0.0], [0.0, 0.0]])
    """

    def __init__(self, features: Any = None) -> None:
        self.count = 0
        self._mean: Any = None
        self._scatter: Any = None
        if features is not None:
            self.update(features)

    def update(self, features: Any) -> None:
        """Add a batch of features `(samples, dimensions)`, one sample or more.

        Raises:
            ArgumentError: If they are no features, or of another dimension than before.
        """
        batch = check_points(features, "features", minimum=1).astype(np.float64)
        mean = batch.mean(axis=0)
        batch -= mean
        scatter = batch.T @ batch
        if not self.count:
            self.count, self._mean, self._scatter = len(batch), mean, scatter
            return
        if len(mean) != len(self._mean):
            raise ArgumentError(
                f"features must have {len(self._mean)} dimensions as those before, got {len(mean)}"
            )
        total = self.count + len(batch)
        gap = mean - self._mean
        self._scatter += scatter + np.outer(gap, gap) * (self.count * len(batch) / total)
        self._mean += gap * (len(batch) / total)
        self.count = total

    @property
    def mean(self) -> np.ndarray:
        """`(dimensions,)`, float64; an `ArgumentError` without a sample."""
        self._check_count(1)
        return self._mean.copy()

    @property
    def covariance(self) -> np.ndarray:
        """`(dimensions, dimensions)`, float64, over n - 1; an `ArgumentError` below two samples."""
        self._check_count(2)
        return self._scatter / (self.count - 1)

    def _check_count(self, samples: int) -> None:
        if self.count < samples:
            raise ArgumentError(
                f"statistics of features need at least {samples} samples, got {self.count}"
            )


def frechet_distance(features_a: Any, features_b: Any) -> float:
    """Frechet distance of two Gaussians fitted to features; on Inception features it is the FID.

    `|mean_a - mean_b|^2 + trace(C_a + C_b - 2 (C_a C_b)^(1/2))`. Source: Dowson and Landau 1982;
    Heusel et al. 2017 (GANs Trained by a Two Time-Scale Update Rule), equation 6. The trace of the
    root is the sum of the singular values of `C_b^(1/2) C_a^(1/2)`: the same number as by SciPy's
    root of the product, but real, and exact where a covariance is singular. The estimate is biased
    upwards for few samples: compare values of one sample size only.

    Args:
        features_a: `(samples, dimensions)`, or `FeatureStatistics`.
        features_b: The same for the other set. The two may swap.

    Returns:
        The distance, 0 or more, in squared units of the features.

    Raises:
        ArgumentError: If there are fewer than 2 samples, or the dimensions differ.

    Example:
        >>> a = np.array([[-1.0], [1.0]])  # mean 0, variance 2
        >>> round(frechet_distance(a, 3 * a + 5), 6)  # 5^2 + 2 (3 - 1)^2
        33.0
    """
    sets = []
    for name, features in (("features_a", features_a), ("features_b", features_b)):
        if not isinstance(features, FeatureStatistics):
            features = FeatureStatistics(check_points(features, name))
        sets.append((features.mean, features.covariance))
        if features.count < len(features.mean):
            _log.warning(
                f"Frechet distance: {name} has {features.count} samples for {len(features.mean)} "
                "dimensions, so its covariance is singular and the distance is too large; take "
                "more samples"
            )
    (mean_a, covariance_a), (mean_b, covariance_b) = sets
    if len(mean_a) != len(mean_b):
        raise ArgumentError(
            "features_a and features_b must have the same dimensions, got "
            f"{len(mean_a)} and {len(mean_b)}"
        )
    overlap = linalg.svdvals(_half(covariance_a) @ _half(covariance_b).T).sum()
    spread = np.trace(covariance_a) + np.trace(covariance_b) - 2 * overlap
    return max(0.0, float(np.sum((mean_a - mean_b) ** 2) + spread))


def _half(covariance: np.ndarray) -> np.ndarray:
    """H with `H^T H` = covariance; eigenvalues that are only rounding are 0."""
    values, vectors = linalg.eigh(covariance)
    floor = len(values) * np.finfo(np.float64).eps * max(values[-1], 0)
    values = np.where(values > floor, values, 0)
    return np.sqrt(values)[:, None] * vectors.T


@dataclasses.dataclass(frozen=True)
class KernelDistance:
    """Kernel distance (KID) over random subsets.

    Attributes:
        mean: Mean over the subsets; around 0, also below it, for equal distributions.
        deviation: Standard deviation over the subsets.
        subsets: Number of subsets.
        subset_size: Samples of either set in each.
    """

    mean: float
    deviation: float
    subsets: int
    subset_size: int


def kernel_distance(
    features_a: Any,
    features_b: Any,
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    degree: int = 3,
    gamma: float | None = None,
    coef0: float = 1.0,
    seed: int | None = 0,
) -> KernelDistance:
    """Kernel distance (KID): unbiased squared MMD under a polynomial kernel, over random subsets.

    `k(x, y) = (gamma x.y + coef0)^degree`. Source: Binkowski et al. 2018 (Demystifying MMD GANs),
    section 4 and equation 4. Unlike the FID it is unbiased for any number of samples.

    Args:
        features_a: `(samples, dimensions)`, at least 4 samples.
        features_b: The same for the other set.
        subsets: Number of random subsets.
        subset_size: Samples of either set in each subset, drawn without replacement; at most half
            of the smaller set is taken, as larger subsets would share most of their samples.
        degree: Degree of the kernel.
        gamma: Factor on the inner product. Default: 1 / dimensions.
        coef0: Constant term.
        seed: Seed of the subsets; `None` gives others at each call.

    Returns:
        Mean and deviation over the subsets, and their number and size.

    Raises:
        ArgumentError: If samples are too few, the dimensions differ, or a number is not positive.

    Example:
        >>> features = np.random.default_rng(0).normal(size=(200, 4))
        >>> near, far = (kernel_distance(features[:100], features[100:] + s) for s in (0, 1))
        >>> near.subset_size, near.mean < far.mean
        (50, True)
    """
    a, b = check_pair(features_a, features_b, ("features_a", "features_b"), minimum=4)
    subsets, degree = whole_number("subsets", subsets), whole_number("degree", degree)
    size = min(whole_number("subset_size", subset_size, 2), len(a) // 2, len(b) // 2)
    a, b = a.astype(np.float64), b.astype(np.float64)
    gamma = 1 / a.shape[1] if gamma is None else gamma
    rng = np.random.default_rng(seed)

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (gamma * (x @ y.T) + coef0) ** degree

    def within(x: np.ndarray) -> float:
        values = kernel(x, x)
        return (values.sum() - np.trace(values)) / (size * (size - 1))

    distances = np.empty(subsets)
    for position in range(subsets):
        x = a[rng.choice(len(a), size, replace=False)]
        y = b[rng.choice(len(b), size, replace=False)]
        distances[position] = within(x) + within(y) - 2 * kernel(x, y).mean()
    return KernelDistance(float(distances.mean()), float(distances.std()), subsets, size)
