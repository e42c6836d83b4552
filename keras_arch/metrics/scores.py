"""Scores of images: inception, precision, recall, density, coverage, likelihood and sharpness."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import logsumexp

from keras_arch.errors import ArgumentError, whole_number
from keras_arch.metrics.checks import check_pair, check_points
from keras_arch.metrics.neighbors import rounding_of, squared_distances

# Bandwidths that Goodfellow et al. choose among.
SIGMAS = tuple(np.logspace(-1, 0, 10).tolist())
# Rec. 601, as in `Preprocessing`.
_LUMA = (0.299, 0.587, 0.114)
# Images in a block: as float64 a whole training set would not fit into memory.
_IMAGES = 64


@dataclasses.dataclass(frozen=True)
class InceptionScore:
    """Inception score: mean (from 1 to the number of classes) and deviation over the splits."""

    mean: float
    deviation: float


@dataclasses.dataclass(frozen=True)
class PrecisionRecall:
    """Precision, the share of generated samples in the real manifold; recall, the reverse."""

    precision: float
    recall: float


@dataclasses.dataclass(frozen=True)
class DensityCoverage:
    """Density and coverage: precision and recall that are robust to outliers.

    Attributes:
        density: Mean number of real neighborhoods around a generated sample, over k.
        coverage: Share of the real samples with a generated one in their neighborhood.
    """

    density: float
    coverage: float


def inception_score(probabilities: Any, splits: int = 10, seed: int | None = 0) -> InceptionScore:
    """Inception score: the exponential of the mean divergence KL(p(y|x) || p(y)).

    Source: Salimans et al. 2016 (Improved Techniques for Training GANs), section 4. Its authors do
    not shuffle; but samples that are sorted by class would score 1 in every split.

    Args:
        probabilities: `(samples, classes)`, each row summing to 1.
        splits: Number of parts, each with its own score; at most the number of samples.
        seed: Seed of the shuffle, or `None` to leave the order.

    Returns:
        Mean and standard deviation over the splits.

    Raises:
        ArgumentError: If a row is no distribution, or there are more splits than rows.

    Example:
        >>> round(inception_score(np.eye(4), splits=1).mean, 6)  # certain of four classes
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
        >>> precision_recall([[0.0], [1.0], [2.0], [3.0]], [[1.5]] * 4, k=1)
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
        Density, 0 or more and about 1 for equal distributions, and coverage in [0, 1].

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


@dataclasses.dataclass(frozen=True)
class ParzenEstimate:
    """Parzen estimate of a log-likelihood, in nats per image.

    Attributes:
        mean: Mean log-likelihood of the test images.
        standard_error: Standard deviation over the test images, by the root of their number.
        sigma: The chosen bandwidth.
        validation: Mean log-likelihood of the validation images by bandwidth.
    """

    mean: float
    standard_error: float
    sigma: float
    validation: dict[float, float]


def parzen_log_likelihood(
    samples: Any, validation: Any, test: Any, sigmas: Sequence[float] = SIGMAS
) -> ParzenEstimate:
    """Log-likelihood of test images under Gaussians around a generator's samples.

    Source: Goodfellow et al. 2014 (Generative Adversarial Nets), section 5 and the authors' code,
    after Breuleux et al. 2011, with 10,000 samples and 1,000 validation images; on MNIST 225 +- 2
    for the GAN. The estimate has a high variance and favours samples near the training images: use
    it only for comparison with the papers.

    Args:
        samples: Generated images, `(n, ...)`: `uint8`, or floats in [0, 1].
        validation: Real images for the choice of the bandwidth, in the samples' shape.
        test: Real images to score.
        sigmas: Bandwidths to choose from, in pixel values. Default: `logspace(-1, 0, 10)`.

    Returns:
        The estimate. If its bandwidth is the first or last of `sigmas`, the range was too small.

    Raises:
        ArgumentError: If pixels are not in [0, 1], shapes differ, or a bandwidth is not positive.

    Example:
        >>> estimate = parzen_log_likelihood([[0.5]] * 2, [[0.5]] * 2, [[0.5]] * 2, sigmas=[0.1])
        >>> round(estimate.mean, 4), estimate.standard_error  # -log(0.1 sqrt(2 pi))
        (1.3836, 0.0)
    """
    sigmas = [float(sigma) for sigma in sigmas]
    if not sigmas or not all(0 < sigma < math.inf for sigma in sigmas):
        raise ArgumentError(f"sigmas must be positive numbers, at least one, got {sigmas}")
    samples, validation, test = (
        _pixels(images, name)
        for images, name in ((samples, "samples"), (validation, "validation"), (test, "test"))
    )
    check_pair(samples, validation, ("samples", "validation"), minimum=1)
    check_pair(samples, test, ("samples", "test"), minimum=1)

    means = _log_densities(validation, samples, sigmas).mean(1).tolist()
    by_sigma = dict(zip(sigmas, means, strict=True))
    sigma = max(by_sigma, key=by_sigma.__getitem__)
    scores = _log_densities(test, samples, [sigma])[0]
    standard_error = float(scores.std() / math.sqrt(len(scores)))
    return ParzenEstimate(float(scores.mean()), standard_error, sigma, validation=by_sigma)


def _log_densities(points: np.ndarray, samples: np.ndarray, sigmas: Sequence[float]) -> np.ndarray:
    """Log-density `(sigmas, points)` of the mixture of Gaussians around the samples."""
    count, dimensions = samples.shape
    center = samples.mean(axis=0)
    densities = np.empty((len(sigmas), len(points)))
    for block, distances in squared_distances(points - center, samples - center):
        for row, sigma in enumerate(sigmas):
            scale = math.log(count) + dimensions * math.log(sigma * math.sqrt(2 * math.pi))
            densities[row, block] = logsumexp(distances * (-0.5 / sigma**2), axis=1) - scale
    return densities


def _pixels(images: Any, name: str) -> np.ndarray:
    """Images as rows of float64 pixels in [0, 1]."""
    array = np.asarray(images)
    if array.ndim < 2 or not array.size:
        raise ArgumentError(f"{name} must be an array of images, got shape {array.shape}")
    return _unit_pixels(array.reshape(len(array), -1), name)


def mean_gradient_magnitude(images: Any) -> float:
    """Mean length of the brightness gradient; lower values mean blurrier images.

    Differences to the pixel on the right and the one below, on gray values. Compare it only between
    pictures of the same things, such as two translations of one test set.

    Args:
        images: `(n, height, width, 1 or 3)` or `(n, height, width)` of at least 2x2 pixels, `uint8`
            or floats in [0, 1].

    Returns:
        The mean over pixels and images, in brightness (of 1) per pixel.

    Raises:
        ArgumentError: If the array does not hold images, or its pixels are not in [0, 1].

    Example:
        >>> ramp = np.tile(np.linspace(0, 1, 5), (1, 5, 1))
        >>> round(mean_gradient_magnitude(ramp), 6)
        0.25
    """
    array = np.asarray(images)
    if array.ndim == 3:
        array = array[..., None]
    known = array.ndim == 4 and array.shape[-1] in (1, 3)
    if not known or not len(array) or min(array.shape[1:3]) < 2:
        raise ArgumentError(
            "the gradient takes images (n, height, width, 1 or 3) of at least 2x2 pixels, got "
            f"shape {array.shape}"
        )
    total = 0.0
    for first in range(0, len(array), _IMAGES):
        pixels = _unit_pixels(array[first : first + _IMAGES], "images")
        gray = pixels @ np.array(_LUMA) if pixels.shape[-1] == 3 else pixels[..., 0]
        right = gray[:, :-1, 1:] - gray[:, :-1, :-1]
        below = gray[:, 1:, :-1] - gray[:, :-1, :-1]
        total += float(np.hypot(right, below).mean(axis=(1, 2)).sum())
    return total / len(array)


def _unit_pixels(images: np.ndarray, name: str) -> np.ndarray:
    """Convert `uint8` images, or floats in [0, 1], to float64 pixels in [0, 1]."""
    pixels = images.astype(np.float64)
    if images.dtype == np.uint8:
        pixels /= 255
    if not (pixels.min() >= 0 and pixels.max() <= 1):
        raise ArgumentError(
            f"{name} must be uint8 or pixels in [0, 1], got values from {pixels.min():.4g} to "
            f"{pixels.max():.4g}"
        )
    return pixels
