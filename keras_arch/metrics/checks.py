"""Checks of arguments that several metrics share: points, pairs of sets, whole numbers."""

import operator
from typing import Any

import numpy as np

from keras_arch.errors import ArgumentError


def check_points(points: Any, name: str, minimum: int = 2) -> np.ndarray:
    """Convert points to an array `(n, dimensions)` of finite numbers.

    Args:
        points: Anything that NumPy converts to such an array.
        name: Name of the argument in errors.
        minimum: Smallest number of points.

    Raises:
        ArgumentError: If the shape is another, there are too few, or one is not finite.

    Example:
        >>> check_points([[0, 1], [2, 3]], "features").shape
        (2, 2)
    """
    array = np.asarray(points)
    if array.ndim != 2 or not array.shape[1]:
        raise ArgumentError(
            f"{name} must be an array (samples, dimensions), got shape {array.shape}"
        )
    if len(array) < minimum:
        raise ArgumentError(f"{name} must have at least {minimum} samples, got {len(array)}")
    if array.dtype.kind not in "fiub":
        raise ArgumentError(f"{name} must be finite numbers, got an array of {array.dtype}")
    if count := np.count_nonzero(~np.isfinite(array)):
        raise ArgumentError(f"{name} must be finite numbers, got {count} values that are not")
    return array


def check_pair(first: Any, second: Any, names: tuple[str, str], minimum: int = 2) -> Any:
    """Convert two sets of points of one dimension.

    Raises:
        ArgumentError: If either is no set of points, or their dimensions differ.
    """
    first = check_points(first, names[0], minimum)
    second = check_points(second, names[1], minimum)
    if first.shape[1] != second.shape[1]:
        raise ArgumentError(
            f"{names[0]} and {names[1]} must have the same dimensions, got {first.shape[1]} and "
            f"{second.shape[1]}"
        )
    return first, second


def check_whole_number(value: Any, minimum: int, maximum: int | None = None) -> int | None:
    """Convert any integer type, NumPy's too, to `int`; `None` for anything else or out of range.

    Example:
        >>> check_whole_number(np.int64(3), 1, 5), check_whole_number(2.0, 1)
        (3, None)
    """
    try:
        number = operator.index(value)
    except TypeError:
        return None
    inside = minimum <= number and (maximum is None or number <= maximum)
    return number if inside and not isinstance(value, bool) else None


def check_images(images: Any, name: str) -> np.ndarray:
    """Convert images to float64 pixels in [0, 1].

    Args:
        images: `uint8`, or floats in [0, 1].
        name: Name of the argument in errors.

    Raises:
        ArgumentError: If a pixel is not in the range.

    Example:
        >>> check_images(np.array([0, 255], "uint8"), "images").tolist()
        [0.0, 1.0]
    """
    pixels = images.astype(np.float64)
    if images.dtype == np.uint8:
        pixels /= 255
    if not (pixels.min() >= 0 and pixels.max() <= 1):
        raise ArgumentError(
            f"{name} must be uint8 or pixels in [0, 1], got values from {pixels.min():.4g} to "
            f"{pixels.max():.4g}"
        )
    return pixels
