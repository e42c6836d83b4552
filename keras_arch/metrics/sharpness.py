"""How sharp images are, without a reference."""

from typing import Any

import numpy as np

from keras_arch.errors import ArgumentError

# Rec. 601, as in `Preprocessing`.
_LUMA = (0.299, 0.587, 0.114)
_IMAGES = 64


def mean_gradient_magnitude(images: Any) -> float:
    """Mean length of the brightness gradient: the lower, the blurrier.

    Differences to the pixel on the right and the one below, on grey values. Blur spreads an edge
    and leaves the sum of its steps, but lowers it wherever fine detail goes up and down; so compare
    it only between pictures of the same things, such as two translations of one test set.

    Args:
        images: `(n, height, width, 1 or 3)` or `(n, height, width)`: `uint8`, or floats in
            [0, 1]. At least 2x2 pixels.

    Returns:
        The mean over pixels and images, in brightness (of 1) a pixel.

    Raises:
        ArgumentError: If the array is none of images, or its pixels are not in [0, 1].

    Example:
        >>> ramp = np.tile(np.linspace(0, 1, 5), (1, 5, 1))
        >>> round(mean_gradient_magnitude(ramp), 6)
        0.25
    """
    array = np.asarray(images)
    if array.ndim == 3:
        array = array[..., None]
    if (
        array.ndim != 4
        or array.shape[-1] not in (1, 3)
        or not len(array)
        or min(array.shape[1:3]) < 2
    ):
        raise ArgumentError(
            "the gradient takes images (n, height, width, 1 or 3) of at least 2x2 pixels, got "
            f"shape {array.shape}"
        )
    total = 0.0
    # A part at a time: as float64 a whole training set would not fit.
    for first in range(0, len(array), _IMAGES):
        total += float(_magnitudes(array[first : first + _IMAGES]).mean(axis=(1, 2)).sum())
    return total / len(array)


def _magnitudes(images: np.ndarray) -> np.ndarray:
    """Length of the gradient at each pixel but the last row and column."""
    pixels = images.astype(np.float64)
    if images.dtype == np.uint8:
        pixels /= 255
    if not (pixels.min() >= 0 and pixels.max() <= 1):
        raise ArgumentError(
            f"images must be uint8 or pixels in [0, 1], got values from {pixels.min():.4g} to "
            f"{pixels.max():.4g}"
        )
    grey = pixels @ np.array(_LUMA) if pixels.shape[-1] == 3 else pixels[..., 0]
    right = grey[:, :-1, 1:] - grey[:, :-1, :-1]
    below = grey[:, 1:, :-1] - grey[:, :-1, :-1]
    return np.hypot(right, below)
