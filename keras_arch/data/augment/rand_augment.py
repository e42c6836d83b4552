"""RandAugment: some of fourteen operations, drawn for each image, at one strength.

Cubuk, Zoph, Shlens, Le: RandAugment (2019), with the operations of AutoAugment (Cubuk et al. 2018,
table 6). (`keras.layers.RandAugment` draws one sequence of operations for a whole batch, where the
paper draws one for each image.)
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, ClassVar

from keras_arch._lazy import tf
from keras_arch.data.augment.base import Augmentation, real, whole
from keras_arch.data.seeds import fold_in
from keras_arch.data.shares import draw

STRONGEST = 10
# The grey of pixels from outside the image, as in the authors' code.
_OUTSIDE = 128.0


@dataclasses.dataclass(frozen=True)
class RandAugment(Augmentation):
    """Apply `count` operations to each image, drawn uniformly out of fourteen.

    The operations are those of the paper's section 3: identity, auto-contrast, equalize, rotate,
    solarize, color, posterize, contrast, brightness, sharpness, shear and translation in x and in
    y. Their ranges are those of AutoAugment; at strength 10 each is at the end of its range
    (30 degrees; a shear by 0.3; a translation by 0.45 of the side; 4 bits left; factors of 0.1 or
    1.9), and at 0 nothing changes except by auto-contrast and equalize, which have no strength.
    (In the authors' code the factors, bits and thresholds of some operations are weakest in the
    middle of the scale or at its end. Here all grow with the strength.)

    It works on pixels in [0, 255], before they are normalised.

    Args:
        count: Operations on each image, N in the paper.
        strength: M in the paper, 0 to 10. The paper has (2, 9) for ResNet-50 on ImageNet.

    Example:
        >>> RandAugment(2, 9)(tf.zeros([4, 32, 32, 3], tf.uint8), seed=[0, 1]).shape
        TensorShape([4, 32, 32, 3])
    """

    on_pixels: ClassVar[bool] = True

    count: int = whole(2)
    strength: float = real(9, most=STRONGEST, least=0)

    def __call__(self, images: Any, seed: Any) -> Any:
        """Change `(batch, height, width, 1 or 3)` pixels by draws from a seed of two integers."""
        images, shape = tf.cast(images, tf.float32), images.shape
        batch = tf.shape(images)[0]
        for turn in range(self.count):
            draws = draw(images, functools.partial(_draws, fold_in(seed, turn)), axis=1)
            chosen, signs = draws[0] // 2, tf.cast(1 - 2 * (draws[1] % 2), tf.float32)
            # Each operation is applied only to the images that drew it.
            columns = (images, self.strength * signs, tf.range(batch))
            images, strengths, places = (
                tf.dynamic_partition(column, chosen, len(OPERATIONS)) for column in columns
            )
            images = tf.dynamic_stitch(places, list(map(operate, OPERATIONS, images, strengths)))
            images = tf.ensure_shape(images, shape)
        return images


def _draws(seed: Any, batch: Any) -> Any:
    """An operation with its sign for each image."""
    return tf.random.stateless_uniform(
        [2, batch], seed, 0, 2 * len(OPERATIONS), tf.int32, alg="philox"
    )


def operate(name: str, images: Any, strength: Any) -> Any:
    """Apply one of `OPERATIONS` to `float32` images in [0, 255]; gives whole numbers.

    The `strength` of each image is in [-10, 10]; operations without a direction ignore its sign.

    Example:
        >>> float(operate("solarize", tf.fill([1, 1, 1, 1], 250.0), tf.constant([5.0]))[0, 0, 0, 0])
        5.0
    """
    return _CHANGES[name](tf.round(images), strength / STRONGEST)


def _auto_contrast(images: Any, part: Any) -> Any:
    low = tf.reduce_min(images, axis=[1, 2], keepdims=True)
    high = tf.reduce_max(images, axis=[1, 2], keepdims=True)
    spread = tf.where(high > low, high - low, 1.0)
    return tf.where(high > low, tf.round((images - low) * (255.0 / spread)), images)


def _equalize(images: Any, part: Any) -> Any:
    """Flatten the histogram of each channel, by the rule of Pillow's `ImageOps.equalize`."""
    height, width, channels = images.shape[1:]
    rows = tf.reshape(tf.transpose(tf.cast(images, tf.int32), [0, 3, 1, 2]), [-1, height * width])
    counts = tf.math.bincount(rows, minlength=256, maxlength=256, axis=-1)
    counts = tf.ensure_shape(tf.reshape(counts, [-1, 256]), [None, 256])
    levels = tf.range(256)
    highest = tf.reduce_max(tf.where(counts > 0, levels, 0), axis=1, keepdims=True)
    of_highest = tf.gather(counts, highest, batch_dims=1)
    step = (height * width - of_highest) // 255
    before = tf.cumsum(counts, axis=1, exclusive=True)
    # A channel with one level, or too few pixels, stays as it is.
    divisor = tf.maximum(step, 1)
    table = tf.where(step > 0, tf.clip_by_value((before + divisor // 2) // divisor, 0, 255), levels)
    equal = tf.gather(table, rows, batch_dims=1)
    equal = tf.transpose(tf.reshape(equal, [-1, channels, height, width]), [0, 2, 3, 1])
    return tf.cast(equal, tf.float32)


def _solarize(images: Any, part: Any) -> Any:
    threshold = 256.0 * (1.0 - tf.abs(part))[:, None, None, None]
    return tf.where(images < threshold, images, 255.0 - images)


def _posterize(images: Any, part: Any) -> Any:
    lost = tf.cast(tf.round(4.0 * tf.abs(part)), tf.int32)[:, None, None, None]
    bits = tf.bitwise.left_shift(tf.bitwise.right_shift(tf.cast(images, tf.int32), lost), lost)
    return tf.cast(bits, tf.float32)


def _contrast(images: Any, part: Any) -> Any:
    """Towards or away from the image's mean grey."""
    mean = tf.reduce_mean(_grey(images), axis=[1, 2, 3], keepdims=True)
    return _away(images, tf.floor(mean + 0.5), part)


def _sharpness(images: Any, part: Any) -> Any:
    """Towards or away from the image smoothed, whose border stays."""
    height, width = images.shape[1:3]
    if min(height, width) < 3:
        return images

    def shifted(down: int, right: int) -> Any:
        return images[:, down : height - 2 + down, right : width - 2 + right]

    # The centre counts five times, its eight neighbours once. (A convolution of TensorFlow gives
    # another shape where no image drew this operation.)
    inner = 4.0 * shifted(1, 1) + sum(shifted(d, r) for d in range(3) for r in range(3))
    inner = tf.round(inner / 13.0)
    rows = tf.concat([images[:, 1:-1, :1], inner, images[:, 1:-1, -1:]], axis=2)
    return _away(images, tf.concat([images[:, :1], rows, images[:, -1:]], axis=1), part)


def _grey(images: Any) -> Any:
    if images.shape[-1] == 1:
        return images
    return tf.round(tf.tensordot(images, [0.299, 0.587, 0.114], 1))[..., None]


def _away(images: Any, plain: Any, part: Any) -> Any:
    """`plain + factor * (images - plain)`, the factor 0.1 to 1.9 and 1 where `part` is 0."""
    factor = 1.0 + 0.9 * part[:, None, None, None]
    return tf.round(tf.clip_by_value(plain + factor * (images - plain), 0.0, 255.0))


def _moved(name: str, images: Any, part: Any) -> Any:
    """Move pixels: (x, y) comes from the nearest pixel to (a x + b y + c, d x + e y + f)."""
    height, width = images.shape[1:3]
    none, one = tf.zeros_like(part), tf.ones_like(part)
    a, b, c, d, e, f = one, none, none, none, one, none
    if name == "rotate":
        angle = part * (30.0 * math.pi / 180)
        cosine, sine = tf.cos(angle), tf.sin(angle)
        x, y = (width - 1) / 2, (height - 1) / 2
        # About the middle, against the clock.
        a, b, c = cosine, -sine, x - cosine * x + sine * y
        d, e, f = sine, cosine, y - sine * x - cosine * y
    elif name == "shear_x":
        b = 0.3 * part
    elif name == "shear_y":
        d = 0.3 * part
    elif name == "translate_x":
        c = tf.round(0.45 * width * part)
    else:
        f = tf.round(0.45 * height * part)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a, b, c, d, e, f, none, none], axis=1),
        output_shape=[height, width],
        fill_value=_OUTSIDE,
        interpolation="NEAREST",
        fill_mode="CONSTANT",
    )


_CHANGES: dict[str, Callable[[Any, Any], Any]] = {
    "identity": lambda images, part: images,
    "auto_contrast": _auto_contrast,
    "equalize": _equalize,
    "rotate": functools.partial(_moved, "rotate"),
    "solarize": _solarize,
    # Towards or away from grey.
    "color": lambda images, part: _away(images, _grey(images), part),
    "posterize": _posterize,
    "contrast": _contrast,
    # Towards or away from black.
    "brightness": lambda images, part: _away(images, 0.0, part),
    "sharpness": _sharpness,
    "shear_x": functools.partial(_moved, "shear_x"),
    "shear_y": functools.partial(_moved, "shear_y"),
    "translate_x": functools.partial(_moved, "translate_x"),
    "translate_y": functools.partial(_moved, "translate_y"),
}
OPERATIONS = tuple(_CHANGES)
