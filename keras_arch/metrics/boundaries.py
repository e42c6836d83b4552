"""Accuracy of the boundaries of segments."""

from typing import Any

import numpy as np
from scipy import ndimage

from keras_arch.errors import ArgumentError
from keras_arch.losses.pixel import IGNORE


def boundary_f_score(
    truth: Any,
    predicted: Any,
    classes: int,
    tolerance: float = 2.0,
    ignore: int | None = IGNORE,
) -> dict[str, Any]:
    """F-score of boundary pixels, which match within a tolerance (Csurka et al. 2013).

    The boundary of a class are its pixels beside one of another class, but not at the border of the
    image or of ignored pixels. Precision is the share of predicted boundary pixels with a true one
    within the tolerance, recall the reverse, and F = 2 P R / (P + R), counted over all images; the
    mean is over the classes that have some boundary, true or predicted.

    Args:
        truth: `(height, width)` or `(n, height, width)` classes, or a list of maps of any sizes.
        predicted: As `truth`.
        classes: Number of classes.
        tolerance: Distance in pixels up to which boundaries match.
        ignore: Value of `truth` that does not count.

    Returns:
        `f_score`, the mean, and `per_class`, a list with `None` where there is no boundary.

    Raises:
        ArgumentError: If the maps are not of one size, or the tolerance is negative.

    Example:
        >>> truth, predicted = np.zeros((2, 8, 8), int)
        >>> truth[:, 4:], predicted[:, 5:] = 1, 1
        >>> boundary_f_score(truth, predicted, 2, tolerance=1)["f_score"]
        1.0
        >>> boundary_f_score(truth, predicted, 2, tolerance=0)["f_score"]
        0.0
    """
    if not tolerance >= 0:
        raise ArgumentError(f"tolerance must be a number of pixels from 0, got {tolerance!r}")
    # Of each class: predicted pixels that match, true ones that match, all predicted, all true.
    counts = np.zeros((classes, 4), np.int64)
    for one, other in zip(_maps(truth), _maps(predicted), strict=True):
        if one.shape != other.shape:
            raise ArgumentError(
                f"truth of {one.shape} pixels and predictions of {other.shape} must be of one size"
            )
        counted = np.ones(one.shape, bool) if ignore is None else one != ignore
        for number in range(classes):
            true = boundary_of(one == number, counted)
            found = boundary_of((other == number) & counted, counted)
            matches = _near(found, true, tolerance), _near(true, found, tolerance)
            counts[number] += [*matches, found.sum(), true.sum()]
    scores = [_f_score(*row) if any(row) else None for row in counts.tolist()]
    some = [score for score in scores if score is not None]
    return {"f_score": float(np.mean(some)) if some else 0.0, "per_class": scores}


def boundary_of(region: Any, counted: Any = None) -> np.ndarray:
    """Pixels of a region that have a neighbor outside of it, on one of four sides.

    Args:
        region: `(height, width)`, boolean.
        counted: `(height, width)`, boolean: neighbors that count. Default: all.

    Returns:
        `(height, width)`, boolean.

    Example:
        >>> boundary_of(np.array([[1, 1, 0]], bool)).tolist()
        [[False, True, False]]
    """
    region = np.asarray(region, bool)
    outside = ~region if counted is None else ~region & np.asarray(counted, bool)
    beside = np.zeros_like(region)
    beside[1:] |= outside[:-1]
    beside[:-1] |= outside[1:]
    beside[:, 1:] |= outside[:, :-1]
    beside[:, :-1] |= outside[:, 1:]
    return region & beside


def _maps(values: Any) -> list[np.ndarray]:
    if isinstance(values, list | tuple) and np.ndim(values[0]) == 2:
        return [np.asarray(value) for value in values]
    array = np.asarray(values)
    if array.ndim not in (2, 3):
        raise ArgumentError(
            f"maps of classes must be of shape (height, width) or (n, height, width), got "
            f"{array.shape}"
        )
    return list(array if array.ndim == 3 else array[None])


def _near(these: np.ndarray, those: np.ndarray, tolerance: float) -> int:
    """Number of pixels of the first mask with one of the second within the tolerance."""
    if not those.any() or not these.any():
        return 0
    return int((ndimage.distance_transform_edt(~those)[these] <= tolerance).sum())


def _f_score(matched: int, reached: int, found: int, true: int) -> float:
    precision, recall = matched / found if found else 0.0, reached / true if true else 0.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
