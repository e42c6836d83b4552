"""Pictures of generated images: their classes by a classifier, their nearest training images."""

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_arch import metrics
from keras_arch.errors import ArgumentError
from keras_arch.metrics import FeatureNetwork
from keras_arch.visualization.figures import bar_chart, confusion_matrix, side_by_side


@dataclasses.dataclass(frozen=True)
class ModeCoverage:
    """Mode coverage of a generator's samples.

    Attributes:
        seen: Number of classes with at least one sample.
        counts: Samples of each class, `(classes,)`.
        divergence: KL divergence of class frequencies from uniform ones in nats, 0 to log(classes).
        confidence: Mean probability of the predicted class.
        description: The classifier.
    """

    seen: int
    counts: np.ndarray
    divergence: float
    confidence: float
    description: str

    def __str__(self) -> str:
        return (
            f"{self.seen} of {len(self.counts)} classes in {self.counts.sum()} samples, KL to "
            f"uniform {self.divergence:.3f}, mean confidence {self.confidence:.3f} "
            f"({self.description})"
        )


def mode_coverage(
    images: Any,
    network: FeatureNetwork,
    *,
    class_names: Sequence[str] | None = None,
    path: str | os.PathLike[str] | None = None,
) -> ModeCoverage:
    """Count the classes among a generator's samples by an independent classifier.

    The usual number is 1,000 samples. A collapsed generator misses classes; the divergence also
    shows classes that are rare (Che et al. 2017, Mode Regularized GANs).

    Args:
        images: Generated images, `uint8` `(n, height, width, 1 or 3)`, or an iterable of such.
        network: A classifier, not trained with the generator.
        class_names: A name for each class. Default: their numbers.
        path: A PNG file for a bar chart of the counts, or `None`.

    Returns:
        Number of classes, counts and divergence.

    Raises:
        ArgumentError: If the network is no classifier, or names are missing.

    Example:
        >>> def by_corner(images):
        ...     return images[:, 0, 0], np.eye(4)[images[:, 0, 0, 0]]
        >>> network = FeatureNetwork("corner", "pixels", "none", "none", by_corner, classes=4)
        >>> images = np.arange(6, dtype="uint8").reshape(6, 1, 1, 1) % 3
        >>> mode_coverage(images, network).seen
        3
    """
    rows = network.probabilities(images)
    names = _names(class_names, rows.shape[1])
    counts = np.bincount(rows.argmax(axis=1), minlength=rows.shape[1])
    shares = counts / counts.sum()
    present = shares[shares > 0]
    divergence = float((present * np.log(present)).sum()) + math.log(len(counts))
    seen, confidence = len(present), float(rows.max(axis=1).mean())
    if path is not None:
        title = f"{seen} of {len(counts)} classes in {counts.sum()} samples"
        bar_chart(counts, names, path, title=title, level=counts.sum() / len(counts))
    return ModeCoverage(seen, counts, max(0.0, divergence), confidence, network.describe())


@dataclasses.dataclass(frozen=True)
class ClassifierAgreement:
    """Agreement of a conditional generator's samples with their labels.

    Attributes:
        fraction: Fraction of samples that are classified as their label.
        matrix: Counts `(classes, classes)`: rows are the labels, columns the predictions.
        description: The classifier.
    """

    fraction: float
    matrix: np.ndarray
    description: str

    @property
    def by_class(self) -> np.ndarray:
        """Fraction of agreement for each label; NaN for a label without samples."""
        with np.errstate(invalid="ignore"):
            return np.diag(self.matrix) / self.matrix.sum(axis=1)

    def __str__(self) -> str:
        return (
            f"{self.fraction:.1%} of {self.matrix.sum()} samples classified as their label "
            f"({self.description})"
        )


def classifier_agreement(
    images: Any,
    labels: Any,
    network: FeatureNetwork,
    *,
    class_names: Sequence[str] | None = None,
    path: str | os.PathLike[str] | None = None,
) -> ClassifierAgreement:
    """Compare a conditional generator's samples with their labels by an independent classifier.

    Args:
        images: As for `mode_coverage`.
        labels: The label of each image, `(n,)` whole numbers.
        network: A classifier of the same classes, not trained with the generator.
        class_names: A name for each class. Default: their numbers.
        path: A PNG file for the confusion matrix, or `None`.

    Returns:
        The fraction of agreement and the confusion matrix.

    Raises:
        ArgumentError: If labels are missing or outside the classes.

    Example:
        >>> def by_corner(images):
        ...     return images[:, 0, 0], np.eye(4)[images[:, 0, 0, 0]]
        >>> network = FeatureNetwork("corner", "pixels", "none", "none", by_corner)
        >>> images = np.arange(4, dtype="uint8").reshape(4, 1, 1, 1)
        >>> classifier_agreement(images, [0, 1, 2, 2], network).fraction
        0.75
    """
    rows = network.probabilities(images)
    labels, classes = np.asarray(labels), rows.shape[1]
    names = _names(class_names, classes)
    if labels.shape != (len(rows),) or labels.dtype.kind not in "iu":
        raise ArgumentError(
            f"labels must be {len(rows)} whole numbers, one for each image, got "
            f"{labels.dtype} of shape {labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise ArgumentError(
            f"labels must be 0 to {classes - 1}, the classes of {network.name}, got "
            f"{labels.min()} to {labels.max()}"
        )
    matrix = metrics.pixel_confusion(labels, rows.argmax(axis=1), classes, ignore=None)
    if path is not None:
        confusion_matrix(matrix, names, path)
    return ClassifierAgreement(float(np.trace(matrix) / len(rows)), matrix, network.describe())


def _names(names: Sequence[str] | None, classes: int) -> Sequence[str]:
    if names is None:
        return [str(number) for number in range(classes)]
    if len(names) != classes:
        raise ArgumentError(f"class_names must be {classes} names, got {len(names)}")
    return names


@dataclasses.dataclass(frozen=True)
class Neighbors:
    """Nearest training images of samples.

    Attributes:
        indices: `(n, k)` into the training images, the nearest first.
        distances: `(n, k)`, Euclidean, of pixels in [0, 1] or of features: 0 for a copy.
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
