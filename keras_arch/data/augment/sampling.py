"""Interpolation of images at places between their pixels."""

import functools
from typing import Any

import numpy as np

from keras_arch._lazy import tf
from keras_arch.errors import ArgumentError


def sample(image: Any, places: Any, order: int) -> Any:
    """Interpolate an image between its pixels, mirrored beyond its border.

    Args:
        image: `(height, width, channels)`.
        places: `(2, h, w)` rows and columns.
        order: 0 nearest, 1 bilinear, 3 bicubic (Keys 1981); others are refused.

    Returns:
        `(h, w, channels)`: of the image's type for order 0, else `float32`.

    Example:
            >>> ramp = tf.range(4.0)[None, :, None]
        >>> [float(sample(ramp, [[[0.0]], [[at]]], 1)[0, 0, 0]) for at in (1.5, -1.0, 3.5)]
        [1.5, 1.0, 2.5]
    """
    if order not in (0, 1, 3):
        raise ArgumentError(f"order must be 0, 1 or 3, got {order!r}")
    image, places = tf.convert_to_tensor(image), tf.convert_to_tensor(places)
    shape = tf.shape(image)
    # Gathering pixels by one index is twice as fast as by two.
    flat = tf.reshape(image, tf.stack([shape[0] * shape[1], shape[2]]))
    if order == 0:
        rows, columns = tf.unstack(tf.cast(tf.round(places), tf.int32))
        return tf.gather(flat, mirrored(rows, shape[0]) * shape[1] + mirrored(columns, shape[1]))
    corner = tf.floor(places)
    rows, columns = tf.unstack(tf.cast(corner, tf.int32))
    part = places - corner
    offsets, weigh = ((0, 1), _linear) if order == 1 else ((-1, 0, 1, 2), _cubic)
    across = [(mirrored(columns + by, shape[1]), weigh(part[1], by)) for by in offsets]
    flat = tf.cast(flat, tf.float32)
    total = None
    for by in offsets:
        start = mirrored(rows + by, shape[0]) * shape[1]
        line = sum(tf.gather(flat, start + at) * weight[..., None] for at, weight in across)
        line = line * weigh(part[0], by)[..., None]
        total = line if total is None else total + line
    return total


def mirrored(places: Any, size: Any) -> Any:
    """Whole numbers reflected into `[0, size)` at the first and the last pixel."""
    last = tf.maximum(size - 1, 1)
    turned = tf.math.floormod(places, 2 * last)
    return tf.minimum(tf.minimum(turned, 2 * last - turned), size - 1)


def _linear(part: Any, by: int) -> Any:
    return part if by else 1.0 - part


def _cubic(part: Any, by: int) -> Any:
    """The weight of the pixel `by` pixels away from the corner."""
    x = abs(by - part)
    return _keys_near(x) if by in (0, 1) else _keys_far(x)


def _keys_near(x: Any) -> Any:
    """Keys' kernel with a = -1/2 at distances up to 1."""
    return (1.5 * x - 2.5) * x * x + 1.0


def _keys_far(x: Any) -> Any:
    """Keys' kernel with a = -1/2 at distances from 1 to 2."""
    return ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0


@functools.cache
def bicubic_of_three(side: int) -> np.ndarray:
    """Weights of three points that span a side in each of its pixels, `(side, 3)`.

    Beyond the ends the points continue along a line.
    """
    weights = np.zeros((side, 5))
    for pixel, place in enumerate(np.linspace(0, 2, side) if side > 1 else [1.0]):
        first = min(int(place), 1)
        for by in (-1, 0, 1, 2):
            x = abs(by - (place - first))
            weights[pixel, first + by + 1] += _keys_near(x) if x <= 1 else _keys_far(x)
    points = np.array([[2, -1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, -1, 2]])
    return (weights @ points).astype(np.float32)
