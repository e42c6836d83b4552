"""Nearest training images of generated samples."""

import dataclasses
import os
from typing import Any

import numpy as np

from keras_arch import metrics
from keras_arch.errors import ArgumentError
from keras_arch.metrics import FeatureNetwork
from keras_arch.visualization.grids import side_by_side


@dataclasses.dataclass(frozen=True)
class Neighbors:
    """Nearest training images of samples.

    Attributes:
        indices: `(n, k)` into the training images, the nearest first.
        distances: `(n, k)`, Euclidean: of pixels in [0, 1], or of features. A memorized image is at
            0 in pixels.
        description: Space of the distances.
    """

    indices: np.ndarray
    distances: np.ndarray
    description: str


def nearest_neighbors(
    samples: Any,
    training: Any,
    *,
    k: int = 5,
    network: FeatureNetwork | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Neighbors:
    """Find the nearest training images of samples, a test for memorization.

    Pixels find copies; features of a network find the same object shifted or in other colors.

    Args:
        samples: Generated images, `uint8` `(n, height, width, 1 or 3)`. Draw about ten.
        training: All training images, in the same shape.
        k: Number of neighbors of each sample.
        network: Feature network of the distances, or `None` for pixels.
        path: A PNG file for a sheet with one sample a row, or `None`.

    Returns:
        Indices and distances.

    Raises:
        ArgumentError: If the images are not `uint8` or not alike, or k is more than there are.

    Example:
        >>> training = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 1), "uint8")
        >>> found = nearest_neighbors(training[[7, 3]], training, k=2)
        >>> found.indices[:, 0].tolist(), found.distances[:, 0].tolist()
        ([7, 3], [0.0, 0.0])
    """
    samples, training = np.asarray(samples), np.asarray(training)
    for name, images in (("samples", samples), ("training images", training)):
        if images.dtype != np.uint8 or images.ndim != 4 or not len(images):
            raise ArgumentError(
                f"{name} must be uint8 images (n, height, width, channels), got {images.dtype} of "
                f"shape {images.shape}"
            )
    if samples.shape[1:] != training.shape[1:]:
        raise ArgumentError(
            f"samples and training images must have one shape, got {samples.shape[1:]} and "
            f"{training.shape[1:]}"
        )
    if network is None:
        indices, distances = metrics.nearest_neighbors(samples, training, k)
        distances, description = distances / 255, "pixels in [0, 1]"
    else:
        points, references = network(samples).features, network(training).features
        indices, distances = metrics.nearest_neighbors(points, references, k)
        description = network.describe()
    if path is not None:
        columns = {"sample": samples}
        columns |= {f"nearest {i + 1}": training[indices[:, i]] for i in range(k)}
        captions = [[""] * len(samples), *([f"{d:.3g}" for d in row] for row in distances.T)]
        side_by_side(columns, path, captions=captions)
    return Neighbors(indices, distances, description)
