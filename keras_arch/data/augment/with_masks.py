"""Random augmentation of an image together with its mask and its weights.

All movements of a pixel are composed first, so that an image is interpolated once, however many
there are. (`keras.layers.RandomElasticTransform` draws a displacement for every pixel and smooths
it, where U-Net interpolates a coarse grid.)
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from keras_arch._lazy import tf
from keras_arch.data.augment.base import Augmentation, Named, look_up, real
from keras_arch.data.augment.sampling import bicubic_of_three, sample
from keras_arch.data.seeds import fold_in


@dataclasses.dataclass(frozen=True)
class Elastic(Augmentation):
    """Bend an image smoothly, the augmentation of U-Net.

    Ronneberger et al. 2015, section 3.1: random displacement vectors on a coarse 3x3 grid, from a
    Gaussian distribution with 10 pixels (`sigma`) standard deviation; displacements a pixel by
    bicubic interpolation. The grid spans the window that is cut out.
    """

    sigma: float = real(10.0)

    def displacement(self, height: int, width: int, seed: Any) -> Any:
        """Rows and columns by which each pixel moves, `(2, height, width)`."""
        grid = self.sigma * tf.random.stateless_normal([2, 3, 3], seed, alg="philox")
        rows, columns = (tf.constant(bicubic_of_three(side)) for side in (height, width))
        return rows @ grid @ tf.transpose(columns)


@dataclasses.dataclass(frozen=True)
class Rotation(Augmentation):
    """Rotate an image around the middle of the window, by an angle from -degrees to degrees."""

    degrees: float = real(180.0)

    def matrix(self, seed: Any) -> Any:
        """The map from (row, column, 1) of the result to the image, `(2, 3)`."""
        most = math.radians(self.degrees)
        angle = tf.random.stateless_uniform([], seed, -most, most, alg="philox")
        cos, sin = tf.cos(angle), tf.sin(angle)
        return tf.stack([tf.stack([cos, -sin, 0.0]), tf.stack([sin, cos, 0.0])])


@dataclasses.dataclass(frozen=True)
class Shift(Augmentation):
    """Shift an image along each axis by -pixels to pixels, by fractions too."""

    pixels: float = real(20.0)

    def matrix(self, seed: Any) -> Any:
        """As `Rotation.matrix`."""
        by = tf.random.stateless_uniform([2, 1], seed, -self.pixels, self.pixels, alg="philox")
        return tf.concat([tf.eye(2), by], axis=1)


@dataclasses.dataclass(frozen=True)
class Zoom(Augmentation):
    """Scale an image by a factor from 1 / (1 + share) to 1 + share."""

    share: float = real(0.2)

    def matrix(self, seed: Any) -> Any:
        """As `Rotation.matrix`."""
        most = math.log1p(self.share)
        factor = tf.exp(tf.random.stateless_uniform([], seed, -most, most, alg="philox"))
        return tf.concat([tf.eye(2) * factor, tf.zeros([2, 1])], axis=1)


@dataclasses.dataclass(frozen=True)
class Mirror(Augmentation):
    """Mirror an image with probability one half; `axis` 1 is left to right, 0 top to bottom."""

    axis: int = 1

    def matrix(self, seed: Any) -> Any:
        """As `Rotation.matrix`."""
        flip = tf.random.stateless_uniform([], seed, 0, 2, tf.int32, alg="philox")
        sign = tf.cast(1 - 2 * flip, tf.float32)
        signs = [sign, 1.0] if self.axis == 0 else [1.0, sign]
        return tf.concat([tf.linalg.diag(tf.stack(signs)), tf.zeros([2, 1])], axis=1)


@dataclasses.dataclass(frozen=True)
class Grey(Augmentation):
    """Change contrast and brightness; the mask stays.

    Contrast is multiplied by 1 - share to 1 + share around the mean, and up to this share of 255 is
    added or subtracted.
    """

    share: float = real(0.1)

    def shade(self, pixels: Any, seed: Any) -> Any:
        """Change `(height, width, channels)` pixels in [0, 255]."""
        contrast, light = tf.unstack(
            tf.random.stateless_uniform([2], seed, -self.share, self.share, alg="philox")
        )
        mean = tf.reduce_mean(pixels)
        changed = (pixels - mean) * (1.0 + contrast) + mean + 255.0 * light
        return tf.clip_by_value(changed, 0.0, 255.0)


Change = Elastic | Rotation | Shift | Zoom | Mirror | Grey

_BY_NAME: dict[str, Named] = {
    "flip": Named(lambda: Mirror(1), "flip"),
    "flip_vertical": Named(lambda: Mirror(0), "flip_vertical"),
    "rotate": Named(Rotation, "rotate:180", (float,)),
    "shift": Named(Shift, "shift:20", (float,)),
    "zoom": Named(Zoom, "zoom:0.2", (float,)),
    "elastic": Named(Elastic, "elastic:10", (float,)),
    "grey": Named(Grey, "grey:0.1", (float,)),
}


def mask_augmentations(names: Sequence[Any]) -> tuple[Change, ...]:
    """Augmentations of images with masks by name.

    Args:
        names: Names such as `"flip"`, or `"elastic:10"` with a number after the colon; or
            augmentations, which are taken as they are.

    Returns:
        One augmentation for each, in the same order.

    Raises:
        ArgumentError: If a name is unknown or its number is wrong.

    Example:
        >>> mask_augmentations(["rotate:90", "elastic"])
        (Rotation(degrees=90.0), Elastic(sigma=10.0))
    """
    title = "augmentation of images with masks"
    return look_up(names, _BY_NAME, lambda each: isinstance(each, Change), title)


def augment_with_mask(
    image: Any, mask: Any, changes: Sequence[Any], seed: Any, *, order: int = 1, mask_order: int = 0
) -> tuple[Any, Any]:
    """Augment one image and its mask alike.

    Pixels from beyond the image are mirrored. `keras_arch.data.segmentation_train_batches` does the
    same to every tile.

    Args:
        image: `(height, width, channels)` pixels in [0, 255].
        mask: `(height, width)` classes.
        changes: As for `mask_augmentations`.
        seed: Two whole numbers.
        order: Interpolation of the image: 1 bilinear, 3 bicubic, 0 nearest.
        mask_order: Interpolation of the mask.

    Returns:
        `float32` image and mask, of the same sizes.

    Example:
        >>> image, mask = augment_with_mask(
        ...     tf.ones([32, 32, 1]), tf.ones([32, 32], tf.uint8), ["elastic:10", "flip"], [0, 1]
        ... )
        >>> image.shape, mask.dtype
        (TensorShape([32, 32, 1]), tf.uint8)
    """
    changes = mask_augmentations(changes)
    image, mask = tf.convert_to_tensor(image), tf.convert_to_tensor(mask)
    height, width = map(int, image.shape[:2])
    middle = tf.constant([(height - 1) / 2, (width - 1) / 2], tf.float32)
    places = moved(changes, height, width, seed) + middle[:, None, None]
    image = shaded(changes, sample(image, places, order), seed)
    dtype = mask.dtype if mask_order == 0 else tf.float32
    return image, tf.cast(sample(mask[..., None], places, mask_order)[..., 0], dtype)


def moves(changes: Sequence[Change]) -> bool:
    """Whether one of the augmentations moves pixels."""
    return any(not isinstance(change, Grey) for change in changes)


def moved(changes: Sequence[Change], height: int, width: int, seed: Any) -> Any:
    """Rows and columns from which the pixels of a window come, `(2, height, width)`.

    They count from the middle of the window. It is bent first, then rotated, scaled, mirrored and
    shifted.
    """
    rows = tf.range(height, dtype=tf.float32) - (height - 1) / 2
    columns = tf.range(width, dtype=tf.float32) - (width - 1) / 2
    places = tf.stack(tf.meshgrid(rows, columns, indexing="ij"))
    whole = tf.eye(3)
    for number, change in enumerate(changes):
        if isinstance(change, Elastic):
            places = places + change.displacement(height, width, fold_in(seed, number))
        elif not isinstance(change, Grey):
            matrix = tf.concat([change.matrix(fold_in(seed, number)), [[0.0, 0.0, 1.0]]], axis=0)
            whole = matrix @ whole
    return tf.einsum("ij,jhw->ihw", whole[:2, :2], places) + whole[:2, 2][:, None, None]


def shaded(changes: Sequence[Change], pixels: Any, seed: Any) -> Any:
    """Pixels after the augmentations of grey values."""
    for number, change in enumerate(changes):
        if isinstance(change, Grey):
            pixels = change.shade(pixels, fold_in(seed, number))
    return pixels
