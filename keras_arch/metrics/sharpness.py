"""Sharpness of images without a reference."""

from typing import Any

import numpy as np

from keras_arch.errors import ArgumentError
from keras_arch.metrics.checks import check_images

# Rec. 601, as in `Preprocessing`.
_LUMA = (0.299, 0.587, 0.114)
_IMAGES = 64


def mean_gradient_magnitude(images: Any) -> float:
    """Mean length of the brightness gradient; lower values mean blurrier images.

    Differences to the pixel on the right and the one below, on gray values. Blur spreads an edge
    and leaves the sum of its steps, but lowers it wherever fine detail goes up and down; so compare
    it only between pictures of the same things, such as two translations of one test set.

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
    # In blocks: as float64 a whole training set would not fit into memory.
    for first in range(0, len(array), _IMAGES):
        total += float(_magnitudes(array[first : first + _IMAGES]).mean(axis=(1, 2)).sum())
    return total / len(array)


def _magnitudes(images: np.ndarray) -> np.ndarray:
    """Length of the gradient at each pixel but the last row and column."""
    pixels = check_images(images, "images")
    gray = pixels @ np.array(_LUMA) if pixels.shape[-1] == 3 else pixels[..., 0]
    right = gray[:, :-1, 1:] - gray[:, :-1, :-1]
    below = gray[:, 1:, :-1] - gray[:, :-1, :-1]
    return np.hypot(right, below)
