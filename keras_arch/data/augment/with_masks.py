"""Random changes of an image that its mask and its weights follow.

A change is drawn from a seed alone, as in `keras_arch.data.augment.basic`. All movements of a pixel
are brought together first, so that an image is sampled once, however many there are.

Keras' own layers are not used here: `keras.layers.RandomElasticTransform` draws a displacement for
every pixel and smooths it, where U-Net interpolates a coarse grid, and all of them draw from a
state, so that a resumed run could not repeat a step.
"""

import dataclasses
import difflib
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_arch.errors import ArgumentError


@dataclasses.dataclass(frozen=True)
class Elastic:
    """Bend an image smoothly, the augmentation of U-Net.

    Ronneberger et al. 2015, section 3.1: random displacement vectors on a coarse 3x3 grid, from a
    Gaussian distribution with 10 pixels standard deviation; displacements a pixel by bicubic
    interpolation. The grid spans the window that is cut out.

    Args:
        sigma: Standard deviation of the displacements, in pixels.

    Example:
        >>> Elastic(10).displacement(32, 48, seed=[0, 1]).shape
        TensorShape([2, 32, 48])
    """

    sigma: float = 10.0

    def __post_init__(self) -> None:
        _check("elastic", self.sigma)

    def displacement(self, height: int, width: int, seed: Any) -> Any:
        """`(2, height, width)`: by how many rows and columns each pixel moves."""
        import tensorflow as tf

        grid = self.sigma * tf.random.stateless_normal([2, 3, 3], seed, alg="philox")
        rows, columns = (tf.constant(_bicubic(side)) for side in (height, width))
        return rows @ grid @ tf.transpose(columns)


@dataclasses.dataclass(frozen=True)
class Rotation:
    """Turn an image around the middle of the window, by an angle from -degrees to degrees.

    Args:
        degrees: The largest angle.

    Example:
        >>> Rotation(180).matrix(seed=[0, 1]).shape
        TensorShape([2, 3])
    """

    degrees: float = 180.0

    def __post_init__(self) -> None:
        _check("rotate", self.degrees)

    def matrix(self, seed: Any) -> Any:
        """`(2, 3)`: where (row, column, 1) comes from."""
        import tensorflow as tf

        most = math.radians(self.degrees)
        angle = tf.random.stateless_uniform([], seed, -most, most, alg="philox")
        cos, sin = tf.cos(angle), tf.sin(angle)
        return tf.stack([tf.stack([cos, -sin, 0.0]), tf.stack([sin, cos, 0.0])])


@dataclasses.dataclass(frozen=True)
class Shift:
    """Move an image by up to so many pixels along each axis, fractions included.

    Args:
        pixels: The largest shift.

    Example:
        >>> Shift(20).matrix(seed=[0, 1]).shape
        TensorShape([2, 3])
    """

    pixels: float = 20.0

    def __post_init__(self) -> None:
        _check("shift", self.pixels)

    def matrix(self, seed: Any) -> Any:
        """`(2, 3)`: where (row, column, 1) comes from."""
        import tensorflow as tf

        by = tf.random.stateless_uniform([2, 1], seed, -self.pixels, self.pixels, alg="philox")
        return tf.concat([tf.eye(2), by], axis=1)


@dataclasses.dataclass(frozen=True)
class Zoom:
    """Scale an image by a factor from 1 / (1 + share) to 1 + share.

    Args:
        share: How much larger at most.

    Example:
        >>> Zoom(0.2).matrix(seed=[0, 1]).shape
        TensorShape([2, 3])
    """

    share: float = 0.2

    def __post_init__(self) -> None:
        _check("zoom", self.share)

    def matrix(self, seed: Any) -> Any:
        """`(2, 3)`: where (row, column, 1) comes from."""
        import tensorflow as tf

        most = math.log1p(self.share)
        factor = tf.exp(tf.random.stateless_uniform([], seed, -most, most, alg="philox"))
        return tf.concat([tf.eye(2) * factor, tf.zeros([2, 1])], axis=1)


@dataclasses.dataclass(frozen=True)
class Mirror:
    """Mirror an image with probability one half.

    Args:
        axis: 1 from left to right, 0 from top to bottom.

    Example:
        >>> Mirror(1).matrix(seed=[0, 1]).shape
        TensorShape([2, 3])
    """

    axis: int = 1

    def matrix(self, seed: Any) -> Any:
        """`(2, 3)`: where (row, column, 1) comes from."""
        import tensorflow as tf

        flip = tf.random.stateless_uniform([], seed, 0, 2, tf.int32, alg="philox")
        sign = tf.cast(1 - 2 * flip, tf.float32)
        signs = [sign, 1.0] if self.axis == 0 else [1.0, sign]
        return tf.concat([tf.linalg.diag(tf.stack(signs)), tf.zeros([2, 1])], axis=1)


@dataclasses.dataclass(frozen=True)
class Grey:
    """Change contrast and brightness; the mask stays.

    Args:
        share: Contrast is multiplied by 1 - share to 1 + share around the mean, and up to as much
            of the range of pixels is added or taken away.

    Example:
        >>> import tensorflow as tf
        >>> Grey(0.1).shade(tf.fill([2, 2, 1], 100.0), seed=[0, 1]).shape
        TensorShape([2, 2, 1])
    """

    share: float = 0.1

    def __post_init__(self) -> None:
        _check("grey", self.share)

    def shade(self, pixels: Any, seed: Any) -> Any:
        """Change `(height, width, channels)` pixels in [0, 255]."""
        import tensorflow as tf

        contrast, light = tf.unstack(
            tf.random.stateless_uniform([2], seed, -self.share, self.share, alg="philox")
        )
        mean = tf.reduce_mean(pixels)
        changed = (pixels - mean) * (1.0 + contrast) + mean + 255.0 * light
        return tf.clip_by_value(changed, 0.0, 255.0)


Change = Elastic | Rotation | Shift | Zoom | Mirror | Grey

_BY_NAME: dict[str, tuple[Callable[..., Any], str]] = {
    "flip": (lambda: Mirror(1), "flip"),
    "flip_vertical": (lambda: Mirror(0), "flip_vertical"),
    "rotate": (Rotation, "rotate:180"),
    "shift": (Shift, "shift:20"),
    "zoom": (Zoom, "zoom:0.2"),
    "elastic": (Elastic, "elastic:10"),
    "grey": (Grey, "grey:0.1"),
}


def mask_augmentations(names: Sequence[Any]) -> tuple[Change, ...]:
    """Look augmentations of images with masks up by name.

    Args:
        names: Names such as `"flip"`, or `"elastic:10"` with a number after the colon; or changes.

    Returns:
        One change for each, in the same order.

    Raises:
        ArgumentError: If a name is unknown or its number is wrong.

    Example:
        >>> mask_augmentations(["rotate:90", "elastic"])
        (Rotation(degrees=90.0), Elastic(sigma=10.0))
    """
    if isinstance(names, str):
        raise ArgumentError(f"augment must be a list of names, got {names!r}; write [{names!r}]")
    return tuple(name if isinstance(name, Change) else _by_name(name) for name in names)


def _by_name(text: Any) -> Change:
    name, colon, number = str(text).partition(":")
    if name not in _BY_NAME:
        close = difflib.get_close_matches(name, _BY_NAME, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        *first, last = (example for _, example in _BY_NAME.values())
        raise ArgumentError(
            f"no augmentation of images with masks is named {text!r}; there are "
            f"{', '.join(first)} and {last}{hint}"
        )
    build, example = _BY_NAME[name]
    if not colon:
        return build()
    try:
        return build(float(number))
    except (TypeError, ValueError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(f"augmentation {text!r} cannot be read; write {example}") from None


def augment_with_mask(
    image: Any,
    mask: Any,
    changes: Sequence[Any],
    seed: Any,
    *,
    order: int = 1,
    mask_order: int = 0,
) -> tuple[Any, Any]:
    """Change one image and its mask alike.

    What comes from beyond the image is mirrored. `keras_arch.data.segmentation_train_batches` does the same to
    every tile of a training.

    Args:
        image: `(height, width, channels)` pixels in [0, 255].
        mask: `(height, width)` classes.
        changes: As for `mask_augmentations`.
        seed: Two whole numbers.
        order: How the image is sampled: 1 bilinear, 3 bicubic, 0 nearest.
        mask_order: How the mask is.

    Returns:
        `float32` image and mask, of the same sizes.

    Example:
        >>> import tensorflow as tf
        >>> image, mask = augment_with_mask(
        ...     tf.ones([32, 32, 1]), tf.ones([32, 32], tf.uint8), ["elastic:10", "flip"], [0, 1]
        ... )
        >>> image.shape, mask.dtype
        (TensorShape([32, 32, 1]), tf.uint8)
    """
    import tensorflow as tf

    changes = mask_augmentations(changes)
    image, mask = tf.convert_to_tensor(image), tf.convert_to_tensor(mask)
    height, width = map(int, image.shape[:2])
    middle = tf.constant([(height - 1) / 2, (width - 1) / 2], tf.float32)
    places = moved(changes, height, width, seed)
    places = places + middle[:, None, None]
    image = shaded(changes, sample(image, places, order), seed)
    dtype = mask.dtype if mask_order == 0 else tf.float32
    return image, tf.cast(sample(mask[..., None], places, mask_order)[..., 0], dtype)


def moves(changes: Sequence[Change]) -> bool:
    """Whether some of the changes move pixels."""
    return any(not isinstance(change, Grey) for change in changes)


def moved(changes: Sequence[Change], height: int, width: int, seed: Any) -> Any:
    """`(2, height, width)`: where each pixel of a window comes from, from its middle.

    The window is bent first, and the result turned, scaled, mirrored and shifted.
    """
    import tensorflow as tf

    rows = tf.range(height, dtype=tf.float32) - (height - 1) / 2
    columns = tf.range(width, dtype=tf.float32) - (width - 1) / 2
    places = tf.stack(tf.meshgrid(rows, columns, indexing="ij"))
    whole = tf.eye(3)
    for number, change in enumerate(changes):
        if isinstance(change, Elastic):
            places = places + change.displacement(height, width, _folded(seed, number))
        elif not isinstance(change, Grey):
            matrix = tf.concat([change.matrix(_folded(seed, number)), [[0.0, 0.0, 1.0]]], axis=0)
            whole = matrix @ whole
    return tf.einsum("ij,jhw->ihw", whole[:2, :2], places) + whole[:2, 2][:, None, None]


def shaded(changes: Sequence[Change], pixels: Any, seed: Any) -> Any:
    """Pixels after the changes of grey values."""
    for number, change in enumerate(changes):
        if isinstance(change, Grey):
            pixels = change.shade(pixels, _folded(seed, number))
    return pixels


def sample(image: Any, places: Any, order: int) -> Any:
    """An image at places between its pixels, mirrored beyond its border.

    Args:
        image: `(height, width, channels)`.
        places: `(2, h, w)` rows and columns.
        order: 0 nearest, 1 bilinear, 3 bicubic (Keys 1981).

    Returns:
        `(h, w, channels)`: of the image's type for order 0, else `float32`.

    Raises:
        ArgumentError: If the order is another one.

    Example:
        >>> import tensorflow as tf
        >>> ramp = tf.range(4.0)[None, :, None]
        >>> [float(sample(ramp, [[[0.0]], [[at]]], 1)[0, 0, 0]) for at in (1.5, -1.0, 3.5)]
        [1.5, 1.0, 2.5]
    """
    import tensorflow as tf

    if order not in (0, 1, 3):
        raise ArgumentError(f"order must be 0, 1 or 3, got {order!r}")
    image, places = tf.convert_to_tensor(image), tf.convert_to_tensor(places)
    shape = tf.shape(image)
    # Rows of pixels one after another: one index a pixel is gathered twice as fast as two.
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
    """Whole places brought into `[0, size)` by mirrors at the first and the last pixel."""
    import tensorflow as tf

    last = tf.maximum(size - 1, 1)
    turned = tf.math.floormod(places, 2 * last)
    return tf.minimum(tf.minimum(turned, 2 * last - turned), size - 1)


def _linear(part: Any, by: int) -> Any:
    return part if by else 1.0 - part


def _cubic(part: Any, by: int) -> Any:
    """Keys' kernel with a = -1/2 at a distance."""
    x = abs(by - part)
    if by in (0, 1):
        return (1.5 * x - 2.5) * x * x + 1.0
    return ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0


@functools.cache
def _bicubic(side: int) -> np.ndarray:
    """`(side, 3)`: what each of three points that span a side gives to each pixel.

    Beyond the ends the points go on along a line.
    """
    weights = np.zeros((side, 5))
    for pixel, place in enumerate(np.linspace(0, 2, side) if side > 1 else [1.0]):
        first = min(int(place), 1)
        for by in (-1, 0, 1, 2):
            x = abs(by - (place - first))
            kernel = (1.5 * x - 2.5) * x * x + 1 if x <= 1 else ((-0.5 * x + 2.5) * x - 4) * x + 2
            weights[pixel, first + by + 1] += kernel
    points = np.array([[2, -1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, -1, 2]])
    return (weights @ points).astype(np.float32)


def _check(name: str, value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf:
        raise ArgumentError(f"{name} takes a number above 0, got {value!r}")


def _folded(seed: Any, number: Any) -> Any:
    import tensorflow as tf

    return tf.random.experimental.stateless_fold_in(seed, number, alg="philox")
