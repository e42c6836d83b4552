"""Images beside those they are to be compared with."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_arch import metrics, visualization
from keras_arch.errors import ArgumentError
from keras_arch.metrics import FeatureNetwork


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """The training images that samples are nearest to.

    Attributes:
        indices: `(n, k)` into the training images, the nearest first.
        distances: `(n, k)`, Euclidean: of pixels in [0, 1], or of features. A memorised image is at
            0 in pixels.
        description: Where they are distances.
    """

    indices: np.ndarray
    distances: np.ndarray
    description: str


def nearest_neighbours(
    samples: Any,
    training: Any,
    *,
    k: int = 5,
    network: FeatureNetwork | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Neighbours:
    """Samples beside their nearest training images: whether a generator has memorised.

    Pixels find copies; features of a network find the same thing shifted or in other colours.

    Args:
        samples: Generated images, `uint8` `(n, height, width, 1 or 3)`. About ten make a sheet.
        training: Training images in the same shape; all of them, for only the nearest counts.
        k: Neighbours of each sample.
        network: In whose features the distance is taken, or `None` for pixels.
        path: A PNG file for the sheet, a row a sample, or `None` for none.

    Returns:
        Indices and distances.

    Raises:
        ArgumentError: If the images are not `uint8` or not alike, or k is more than there are.

    Example:
        >>> training = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 1), "uint8")
        >>> found = nearest_neighbours(training[[7, 3]], training, k=2)
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
        visualization.table(columns, path, captions=captions)
    return Neighbours(indices, distances, description)


def side_by_side(columns: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Inputs, outputs and targets of a paired task beside each other, a row an example.

    Args:
        columns: Images by title, `uint8` `(n, height, width, 1 or 3)`, n and the size alike in all:
            `{"input": ..., "L1": ..., "L1 + cGAN": ..., "target": ...}`.
        path: The PNG file to write.

    Returns:
        The path.

    Raises:
        ArgumentError: If the columns do not fit together.

    Example:
        >>> import tempfile
        >>> images = np.zeros((3, 64, 64, 3), "uint8")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     side_by_side({"input": images, "output": images}, f"{folder}/pairs.png").name
        'pairs.png'
    """
    return visualization.table(columns, path)
