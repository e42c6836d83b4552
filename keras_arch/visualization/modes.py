"""Which classes an independent classifier sees in generated images."""

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_arch import visualization
from keras_arch.errors import ArgumentError
from keras_arch.metrics import FeatureNetwork


@dataclasses.dataclass(frozen=True)
class ModeCoverage:
    """What a classifier makes of a generator's samples.

    Attributes:
        seen: Classes that at least one sample was read as.
        counts: Samples read as each class, `(classes,)`.
        divergence: KL divergence of the shares from equal ones, in nats: 0 when all classes come
            alike, log(classes) when only one comes.
        confidence: Mean probability of the class that was read.
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
    """How many classes a generator makes, as an independent classifier reads its samples.

    The usual number is 1,000 samples. A generator that has collapsed misses classes; the divergence
    also tells one that makes some of them rarely (Che et al. 2017, Mode Regularized GANs).

    Args:
        images: Generated images, `uint8` `(n, height, width, 1 or 3)`, or an iterable of such.
        network: A classifier, not trained with the generator.
        class_names: A name for each class. Default: their numbers.
        path: A PNG file for a bar chart of the counts, or `None` for none.

    Returns:
        Classes seen, counts and divergence.

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
    found = ModeCoverage(
        seen=int((counts > 0).sum()),
        counts=counts,
        divergence=max(0.0, divergence),
        confidence=float(rows.max(axis=1).mean()),
        description=network.describe(),
    )
    if path is not None:
        title = f"{found.seen} of {len(counts)} classes seen in {counts.sum()} samples"
        visualization.bars(counts, names, path, title=title, level=counts.sum() / len(counts))
    return found


@dataclasses.dataclass(frozen=True)
class ClassifierAgreement:
    """How far samples of a conditional generator are what was asked for.

    Attributes:
        fraction: Share of samples read as the label asked for.
        matrix: Counts `(classes, classes)`: rows are the labels asked for, columns what was read.
        description: The classifier.
    """

    fraction: float
    matrix: np.ndarray
    description: str

    @property
    def by_class(self) -> np.ndarray:
        """Share read right for each label asked for; NaN where none was."""
        totals = self.matrix.sum(axis=1)
        shares = np.full(len(totals), np.nan)
        return np.divide(np.diag(self.matrix), totals, out=shares, where=totals > 0)

    def __str__(self) -> str:
        return (
            f"{self.fraction:.1%} of {self.matrix.sum()} samples read as the label asked for "
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
    """Whether a conditional generator makes what it is asked for, by an independent classifier.

    Args:
        images: Generated images, `uint8` `(n, height, width, 1 or 3)`, or an iterable of such.
        labels: The label that each was asked for, `(n,)` whole numbers.
        network: A classifier of the same classes, not trained with the generator.
        class_names: A name for each class. Default: their numbers.
        path: A PNG file for the confusion matrix, or `None` for none.

    Returns:
        The share read as asked and the confusion matrix.

    Raises:
        ArgumentError: If labels are missing or outside the classes.

    Example:
        >>> def by_corner(images):
        ...     return images[:, 0, 0], np.eye(4)[images[:, 0, 0, 0]]
        >>> network = FeatureNetwork("corner", "pixels", "none", "none", by_corner, classes=4)
        >>> images = np.arange(4, dtype="uint8").reshape(4, 1, 1, 1)
        >>> classifier_agreement(images, [0, 1, 2, 2], network).fraction
        0.75
    """
    rows = network.probabilities(images)
    asked, classes = np.asarray(labels), rows.shape[1]
    names = _names(class_names, classes)
    if asked.shape != (len(rows),) or asked.dtype.kind not in "iu":
        raise ArgumentError(
            f"labels must be {len(rows)} whole numbers, one an image, got {asked.dtype} of shape "
            f"{asked.shape}"
        )
    if asked.min() < 0 or asked.max() >= classes:
        raise ArgumentError(
            f"labels must be 0 to {classes - 1}, the classes of {network.name}, got "
            f"{asked.min()} to {asked.max()}"
        )
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (asked, rows.argmax(axis=1)), 1)
    if path is not None:
        visualization.confusion_matrix(matrix, names, path)
    return ClassifierAgreement(float(np.trace(matrix) / len(rows)), matrix, network.describe())


def _names(names: Sequence[str] | None, classes: int) -> Sequence[str]:
    if names is None:
        return [str(number) for number in range(classes)]
    if len(names) != classes:
        raise ArgumentError(f"class_names must be {classes} names, got {len(names)}")
    return names
