"""MixUp and CutMix: mixing the images of a batch, and their labels likewise.

(`keras.layers.CutMix` draws the parameter of its beta distribution from between 0 and the given one
in each call.)
"""

import dataclasses
import functools
from typing import Any

from keras_arch._lazy import tf
from keras_arch.data.augment.base import Augmentation, real
from keras_arch.data.seeds import fold_in
from keras_arch.data.shares import draw


@dataclasses.dataclass(frozen=True)
class MixUp(Augmentation):
    """Replace each image by a weighted mean with another one of its batch, and its label likewise.

    Zhang et al. 2017 (mixup: Beyond Empirical Risk Minimization), section 2: `share * x +
    (1 - share) * other`, the share drawn from Beta(alpha, alpha). As in the authors' code the
    others are a permutation of the batch; here each image draws a share of its own.

    Args:
        alpha: Parameter of the beta distribution. The paper has 0.2 for ImageNet and 1 for CIFAR.

    Example:
        >>> images, labels = MixUp(1.0)(tf.ones([4, 8, 8, 3]), tf.eye(4), seed=[0, 1])
        >>> images.shape, [round(float(total), 4) for total in tf.reduce_sum(labels, axis=1)]
        (TensorShape([4, 8, 8, 3]), [1.0, 1.0, 1.0, 1.0])
    """

    alpha: float = real(0.2, most=1e6)

    def __call__(self, images: Any, labels: Any, seed: Any) -> tuple[Any, Any]:
        """Mix `(batch, height, width, channels)` images and `(batch, classes)` labels."""
        return mix((self,), images, labels, seed)

    def with_partners(self, images: Any, labels: Any, others: Any, seed: Any) -> tuple[Any, Any]:
        """Mix images and labels with `others`, the images and labels of their partners."""
        share = _shares(self.alpha, seed, images)
        mixed = _mean(images, others[0], share[:, None, None, None])
        return mixed, _mean(labels, others[1], share[:, None])


@dataclasses.dataclass(frozen=True)
class CutMix(Augmentation):
    """Replace a rectangle of each image by that of another one, and mix labels by its area.

    Yun et al. 2019 (CutMix), section 3.1: the share of the image that stays is drawn from
    Beta(alpha, alpha); the rectangle has the image's proportions, its centre is uniform over the
    image, and the part outside is cut off. As in the authors' code the labels follow the pixels
    that were really replaced.

    Args:
        alpha: Parameter of the beta distribution. The paper has 1.

    Example:
        >>> images, labels = CutMix()(tf.ones([4, 8, 8, 3]), tf.eye(4), seed=[0, 1])
        >>> images.shape, [round(float(total), 4) for total in tf.reduce_sum(labels, axis=1)]
        (TensorShape([4, 8, 8, 3]), [1.0, 1.0, 1.0, 1.0])
    """

    alpha: float = real(1.0, most=1e6)

    def __call__(self, images: Any, labels: Any, seed: Any) -> tuple[Any, Any]:
        """Mix `(batch, height, width, channels)` images and `(batch, classes)` labels."""
        return mix((self,), images, labels, seed)

    def with_partners(self, images: Any, labels: Any, others: Any, seed: Any) -> tuple[Any, Any]:
        """Mix images and labels with `others`, the images and labels of their partners."""
        share = _shares(self.alpha, seed, images)
        of_centres = fold_in(seed, 3)
        centres = draw(
            images,
            lambda batch: tf.random.stateless_uniform([2, batch], of_centres, alg="philox"),
            axis=1,
        )
        part = tf.sqrt(1.0 - share)
        rows = _inside(centres[0], part, images.shape[1])
        columns = _inside(centres[1], part, images.shape[2])
        replaced = rows[:, :, None] & columns[:, None, :]
        mixed = tf.where(replaced[..., None], others[0], images)
        stays = 1.0 - tf.reduce_mean(tf.cast(replaced, tf.float32), axis=[1, 2])
        return mixed, _mean(labels, others[1], stays[:, None])


def mix(mixers: tuple[Any, ...], images: Any, labels: Any, seed: Any) -> tuple[Any, Any]:
    """Mix images and labels of a batch by one of several `MixUp` and `CutMix`, drawn at random."""
    places = partners(seed, tf.shape(images)[0])
    return mix_with(
        mixers, images, labels, (tf.gather(images, places), tf.gather(labels, places)), seed
    )


def partners(seed: Any, batch: Any) -> Any:
    """The place of the image that each image of a batch is mixed with."""
    return tf.random.experimental.stateless_shuffle(tf.range(batch), fold_in(seed, 2), alg="philox")


def mix_with(
    mixers: tuple[Any, ...], images: Any, labels: Any, others: tuple[Any, Any], seed: Any
) -> tuple[Any, Any]:
    """As `mix`, with the images and labels of the partners given."""
    if len(mixers) == 1:
        return mixers[0].with_partners(images, labels, others, seed)
    chosen = tf.random.stateless_uniform(
        [], fold_in(seed, 4), 0, len(mixers), tf.int32, alg="philox"
    )
    branches = [lambda one=one: one.with_partners(images, labels, others, seed) for one in mixers]
    return tf.switch_case(chosen, branches)


def _shares(alpha: float, seed: Any, images: Any) -> Any:
    """The share of each image that stays, Beta(alpha, alpha)."""
    # The part of one of two gamma variables in their sum is a beta variable.
    ours, theirs = (
        draw(images, functools.partial(_gamma, alpha, fold_in(seed, stream))) for stream in (0, 1)
    )
    total = ours + theirs
    # Both round to nothing only where alpha is tiny, and then either image may stay.
    return tf.where(total > 0, ours / tf.where(total > 0, total, 1.0), 1.0)


def _gamma(alpha: float, seed: Any, batch: Any) -> Any:
    return tf.random.stateless_gamma([batch], seed, alpha)


def _mean(one: Any, other: Any, share: Any) -> Any:
    return share * one + (1.0 - share) * other


def _inside(centre: Any, part: Any, length: int) -> Any:
    """Whether each of `length` pixels lies in an interval around a centre: `(batch, length)`."""
    middle = tf.floor(centre * length)
    half = tf.floor(tf.floor(part * length) / 2)
    pixels = tf.range(length, dtype=tf.float32)
    return (pixels >= (middle - half)[:, None]) & (pixels < (middle + half)[:, None])
