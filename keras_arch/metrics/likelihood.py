"""Log-likelihood of a generator by Parzen windows."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import logsumexp

from keras_arch.errors import ArgumentError
from keras_arch.metrics.checks import check_images, check_pair
from keras_arch.metrics.neighbors import squared_distances

# Goodfellow et al. choose among these bandwidths.
SIGMAS = tuple(np.logspace(-1, 0, 10).tolist())


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
    return check_images(array.reshape(len(array), -1), name)
