"""Scores of generated samples: inception score, precision and recall, density and coverage."""

import dataclasses
from typing import Any

import numpy as np

from keras_arch.errors import ArgumentError, whole_number
from keras_arch.metrics.checks import check_pair, check_points
from keras_arch.metrics.neighbors import rounding_of, squared_distances


@dataclasses.dataclass(frozen=True)
class InceptionScore:
    """Inception score over splits.

    Attributes:
        mean: Mean over the splits, from 1 to the number of classes.
        deviation: Standard deviation over the splits.
    """

    mean: float
    deviation: float


@dataclasses.dataclass(frozen=True)
class PrecisionRecall:
    """Precision and recall of generated samples: fidelity and diversity.

    Attributes:
        precision: Share of the generated samples that lie in the real manifold.
        recall: Share of the real samples that lie in the generated manifold.
    """

    precision: float
    recall: float


@dataclasses.dataclass(frozen=True)
class DensityCoverage:
    """Density and coverage: precision and recall that are robust to outliers.

    Attributes:
        density: Mean number of real neighborhoods around a generated sample, over k: 1 is
            expected of equal distributions, and it may be more.
        coverage: Share of the real samples with a generated one in their neighborhood.
    """

    density: float
    coverage: float


def inception_score(probabilities: Any, splits: int = 10, seed: int | None = 0) -> InceptionScore:
    """Inception score: the exponential of the mean divergence KL(p(y|x) || p(y)).

    Source: Salimans et al. 2016 (Improved Techniques for Training GANs), section 4. Its authors
    split the samples in their order; here they are shuffled first, since samples that are sorted by
    class would score 1 in every split.

    Args:
        probabilities: `(samples, classes)`, each row summing to 1.
        splits: Number of parts, each with its own score; at most the number of samples.
        seed: Seed of the shuffle, or `None` to leave the order.

    Returns:
        Mean and standard deviation over the splits.

    Raises:
        ArgumentError: If a row is no distribution, or there are more splits than rows.

    Example:
        >>> certain_of_four_classes = np.eye(4)
        >>> round(inception_score(certain_of_four_classes, splits=1).mean, 6)
        4.0
    """
    rows = check_points(probabilities, "probabilities", minimum=1).astype(np.float64)
    if (rows < 0).any() or not np.allclose(rows.sum(axis=1), 1, atol=1e-3):
        raise ArgumentError(
            "probabilities must not be negative and sum to 1 in each row, got values from "
            f"{rows.min():.4g} to {rows.max():.4g} and sums from {rows.sum(axis=1).min():.4g} to "
            f"{rows.sum(axis=1).max():.4g}; of logits take the softmax first"
        )
    splits = whole_number("splits", splits)
    if splits > len(rows):
        raise ArgumentError(f"splits must be 1 to the {len(rows)} samples, got {splits!r}")
    if seed is not None:
        rows = rows[np.random.default_rng(seed).permutation(len(rows))]
    scores = [np.exp(_divergence(part)) for part in np.array_split(rows, splits)]
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))


def _divergence(rows: np.ndarray) -> float:
    """Mean KL(p(y|x) || p(y)) in nats; where p(y|x) is 0 it adds nothing."""
    mean = np.broadcast_to(rows.mean(axis=0), rows.shape)
    ratio = np.divide(rows, mean, out=np.ones_like(rows), where=rows > 0)
    return float((rows * np.log(ratio)).sum(axis=1).mean())


def precision_recall(real: Any, generated: Any, k: int = 3) -> PrecisionRecall:
    """Precision and recall by neighborhoods.

    A set's manifold is the union of balls around its samples, each as wide as the distance to its
    sample's k-th nearest neighbor. Source: Kynkaanniemi et al. 2019 (Improved Precision and Recall
    Metric for Assessing Generative Models), equations 1 and 2, with n = m, on which values depend.

    Args:
        real: Features of real images, `(n, dimensions)`, n > k.
        generated: Features of generated images, `(m, dimensions)`, m > k.
        k: Number of neighbors; the paper's choice is 3.

    Returns:
        Both values in [0, 1].

    Raises:
        ArgumentError: If there are no more than k samples, or the dimensions differ.

    Example:
        >>> real = np.array([[0.0], [1.0], [2.0], [3.0]])
        >>> collapsed = np.full((4, 1), 1.5)
        >>> precision_recall(real, collapsed, k=1)
        PrecisionRecall(precision=1.0, recall=0.0)
    """
    real, generated = _centered(real, generated, k)
    rounding = rounding_of(real, generated)
    real_radii, generated_radii = _radii(real, k), _radii(generated, k)
    inside_real = np.zeros(len(generated), bool)
    inside_generated = np.zeros(len(real), bool)
    for block, distances in squared_distances(generated, real):
        inside_real[block] = (distances <= real_radii + rounding).any(axis=1)
        inside_generated |= (distances <= generated_radii[block, None] + rounding).any(axis=0)
    return PrecisionRecall(float(inside_real.mean()), float(inside_generated.mean()))


def density_coverage(real: Any, generated: Any, k: int = 5) -> DensityCoverage:
    """Density and coverage by neighborhoods of the real samples alone.

    Source: Naeem et al. 2020 (Reliable Fidelity and Diversity Metrics for Generative Models),
    equations 3 and 4; a ball excludes its border, as in the authors' code.

    Args:
        real: Features of real images, `(n, dimensions)`, n > k.
        generated: Features of generated images, `(m, dimensions)`.
        k: Number of neighbors; the paper's choice is 5.

    Returns:
        Density, 0 or more, and coverage in [0, 1].

    Raises:
        ArgumentError: If there are no more than k samples, or the dimensions differ.

    Example:
        >>> real = np.array([[0.0], [1.0], [2.5], [4.5]])
        >>> density_coverage(real, real, k=1)
        DensityCoverage(density=1.0, coverage=1.0)
    """
    real, generated = _centered(real, generated, k, generated_minimum=1)
    rounding = rounding_of(real, generated)
    radii = _radii(real, k)
    count = 0
    covered = np.zeros(len(real), bool)
    for _, distances in squared_distances(generated, real):
        inside = distances < radii - rounding
        count += int(inside.sum())
        covered |= inside.any(axis=0)
    return DensityCoverage(count / (k * len(generated)), float(covered.mean()))


def _centered(
    real: Any, generated: Any, k: int, generated_minimum: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Check both sets and center them at the mean of the real one."""
    k, names = whole_number("k", k), ("real features", "generated features")
    real, generated = check_pair(real, generated, names, minimum=1)
    check_points(real, names[0], minimum=k + 1)
    check_points(generated, names[1], minimum=generated_minimum or k + 1)
    real, generated = real.astype(np.float64), generated.astype(np.float64)
    center = real.mean(axis=0)
    return real - center, generated - center


def _radii(points: np.ndarray, k: int) -> np.ndarray:
    """Squared distance of each point to its k-th nearest other point."""
    radii = np.empty(len(points))
    for block, distances in squared_distances(points, points):
        distances[np.arange(len(distances)), np.arange(block.start, block.stop)] = np.inf
        radii[block] = np.partition(distances, k - 1, axis=1)[:, k - 1]
    return radii
