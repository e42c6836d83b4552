"""Matching of instances (cells, nuclei, objects) of one class between a truth and a prediction.

An instance is a region connected across the sides of pixels, or a number in an instance map. A true
and a predicted instance match if their intersection over union is above a threshold of at least
one half: then an instance matches one other at most, and no assignment is needed. Such matching is
that of DSB-2018 (Caicedo et al. 2019, Nucleus segmentation across imaging experiments, "Evaluation
metric") and of panoptic quality (Kirillov et al. 2019, Panoptic Segmentation, section 4.1).
"""

import dataclasses
from typing import Any

import numpy as np
from scipy import ndimage, sparse

from keras_arch.errors import ArgumentError


@dataclasses.dataclass(frozen=True)
class InstanceMatches:
    """Counts of instances; those of several images add up.

    Attributes:
        matched: Pairs of a true and a predicted instance.
        true: Instances of the truth.
        predicted: Instances of the prediction.
    """

    matched: int
    true: int
    predicted: int

    def __add__(self, other: "InstanceMatches") -> "InstanceMatches":
        return InstanceMatches(
            self.matched + other.matched,
            self.true + other.true,
            self.predicted + other.predicted,
        )

    @property
    def recall(self) -> float | None:
        """Share of the true instances that are matched; `None` without any."""
        return self.matched / self.true if self.true else None

    @property
    def f_score(self) -> float | None:
        """Harmonic mean of recall and precision; `None` without any instance."""
        both = self.true + self.predicted
        return 2 * self.matched / both if both else None


def match_instances(truth: Any, predicted: Any, iou: float = 0.5) -> InstanceMatches:
    """Match the instances of a predicted map with those of the true one.

    Args:
        truth: `(height, width)`, boolean: inside of an instance or not; or whole numbers: the
            instance of each pixel, 0 for none.
        predicted: Likewise.
        iou: Intersection over union above which instances match, in [0.5, 1).

    Returns:
        The counts.

    Raises:
        ArgumentError: If the shapes differ, a map holds other values, or `iou` is out of range.

    Example:
        >>> truth = np.array([[1, 1, 0, 2, 2, 2]])
        >>> merged = truth > -1
        >>> match_instances(truth, truth)
        InstanceMatches(matched=2, true=2, predicted=2)
        >>> match_instances(truth, merged).recall
        0.0
    """
    if not 0.5 <= iou < 1:
        raise ArgumentError(f"iou must be at least 0.5 and below 1, got {iou!r}")
    maps = [_numbered(each, name) for each, name in ((truth, "truth"), (predicted, "predicted"))]
    (one, ones), (other, others) = maps
    if one.shape != other.shape:
        raise ArgumentError(
            f"truth and predicted must be of one shape, got {one.shape} and {other.shape}"
        )
    pixels = np.ones(one.size, np.int64)
    shape = (ones + 1, others + 1)
    shared = sparse.coo_array((pixels, (one.ravel(), other.ravel())), shape=shape).tocsr()
    areas, other_areas = np.asarray(shared.sum(axis=1)), np.asarray(shared.sum(axis=0))
    pairs = shared[1:, 1:].tocoo()
    union = areas[1:][pairs.row] + other_areas[1:][pairs.col] - pairs.data
    return InstanceMatches(int((pairs.data > iou * union).sum()), ones, others)


def _numbered(values: Any, name: str) -> tuple[np.ndarray, int]:
    """The map with instances from 1 on without gaps, and their number."""
    values = np.asarray(values)
    if values.ndim != 2 or values.dtype.kind not in "bui" or (values < 0).any():
        raise ArgumentError(
            f"{name} must be a (height, width) map of booleans or of instance numbers from 0 on, "
            f"got {values.dtype} of shape {values.shape}"
        )
    if values.dtype == bool:
        return ndimage.label(values)
    found, numbers = np.unique(values, return_inverse=True)
    numbers = numbers.reshape(values.shape)
    return (numbers, len(found) - 1) if found[:1] == 0 else (numbers + 1, len(found))
