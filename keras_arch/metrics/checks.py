"""Checks of points and images that several metrics share."""

from typing import Any

import numpy as np

from keras_arch.errors import ArgumentError


def check_points(points: Any, name: str, minimum: int = 2) -> np.ndarray:
    """Convert at least `minimum` points to an array `(n, dimensions)` of finite numbers.

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
    """Convert two sets of points by `check_points`, refusing different dimensions."""
    first = check_points(first, names[0], minimum)
    second = check_points(second, names[1], minimum)
    if first.shape[1] != second.shape[1]:
        raise ArgumentError(
            f"{names[0]} and {names[1]} must have the same dimensions, got {first.shape[1]} and "
            f"{second.shape[1]}"
        )
    return first, second


def check_image_batch(images: Any, user: str) -> np.ndarray:
    """Convert `uint8` images to `(n, height, width, 1 or 3)`; the last axis may be missing.

    Example:
        >>> check_image_batch(np.zeros((2, 8, 8), "uint8"), "a grid").shape
        (2, 8, 8, 1)
    """
    array = np.asarray(images)
    if array.ndim == 3:
        array = array[..., None]
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[-1] not in (1, 3):
        raise ArgumentError(
            f"{user} takes uint8 images (n, height, width, 1 or 3), got {array.dtype} of shape "
            f"{array.shape}"
            + ("; Preprocessing.to_pixels makes them" if array.dtype.kind == "f" else "")
        )
    return array
