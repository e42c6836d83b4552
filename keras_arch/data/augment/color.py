"""Random changes of colour and brightness, as the ImageNet networks were trained with them."""

import dataclasses
from typing import Any, ClassVar

import numpy as np

from keras_arch._lazy import tf
from keras_arch.data.augment.base import Augmentation, real
from keras_arch.data.seeds import branches
from keras_arch.data.shares import draw
from keras_arch.errors import ArgumentError

# The principal components of the colours of ImageNet's pixels in [0, 255]: the standard deviation
# along each, and their directions as columns, red first. The constants that all ports of AlexNet's
# augmentation share; the paper does not print its own.
DEVIATIONS = np.array([0.2175, 0.0188, 0.0045], np.float32) * 255
DIRECTIONS = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]], np.float32
)
# Weights of red, green and blue in grey.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclasses.dataclass(frozen=True)
class RandomLighting(Augmentation):
    """Add the same random colour to all pixels of an image, along ImageNet's principal components.

    AlexNet (Krizhevsky et al. 2012, section 4.1, "altering the intensities of the RGB channels"):
    a draw from N(0, sigma) for each component and image, times the spread of colours along it.

    It works on pixels in [0, 255], before they are normalised; they may leave that range.

    Args:
        sigma: Standard deviation of the draws. The paper has 0.1.

    Example:
        >>> RandomLighting(0.1)(tf.zeros([2, 8, 8, 3]), seed=[0, 1]).shape
        TensorShape([2, 8, 8, 3])
    """

    on_pixels: ClassVar[bool] = True

    sigma: float = real(0.1)

    def __call__(self, images: Any, seed: Any) -> Any:
        """Change `(batch, height, width, 3)` pixels by draws from a seed of two integers."""
        _check_colour("lighting", images)
        draws = draw(
            images,
            lambda batch: tf.random.stateless_normal(
                [batch, 3], seed, stddev=self.sigma, alg="philox"
            ),
        )
        # One dot product a channel: a product of matrices may round differently each time.
        added = tf.reduce_sum((draws * DEVIATIONS)[:, None, :] * DIRECTIONS, axis=2)
        return tf.cast(images, tf.float32) + added[:, None, None, :]


@dataclasses.dataclass(frozen=True)
class ColorJitter(Augmentation):
    """Change brightness, contrast and colour of each image, in random order.

    Howard 2013, "Some Improvements on Deep Convolutional Neural Network Based Image
    Classification", section 2.2 (GoogLeNet's photometric distortions): factors between
    0.5 and 1.5. Brightness scales towards black, contrast towards the image's mean grey, colour
    towards each pixel's own grey.

    It works on pixels in [0, 255], before they are normalised.

    Args:
        strength: Factors are drawn evenly from 1 - strength to 1 + strength, in (0, 1].

    Example:
        >>> ColorJitter(0.5)(tf.zeros([2, 8, 8, 3]), seed=[0, 1]).shape
        TensorShape([2, 8, 8, 3])
    """

    on_pixels: ClassVar[bool] = True

    strength: float = real(0.5, most=1)

    def __call__(self, images: Any, seed: Any) -> Any:
        """Change `(batch, height, width, 3)` pixels by draws from a seed of two integers."""
        _check_colour("color_jitter", images)
        images = tf.cast(images, tf.float32)
        of_factors, of_order = branches(seed, 2)

        def uniform(seed: Any, low: float, high: float) -> Any:
            return draw(
                images,
                lambda batch: tf.random.stateless_uniform(
                    [batch, 3], seed, low, high, alg="philox"
                ),
            )

        factors = uniform(of_factors, 1 - self.strength, 1 + self.strength)
        # Sorting three draws gives each image an order of its own, all six equally likely.
        order = tf.argsort(uniform(of_order, 0.0, 1.0))
        for turn in range(3):
            kind = order[:, turn, None, None, None]
            factor = tf.gather(factors, order[:, turn], batch_dims=1)[:, None, None, None]
            grey = tf.reduce_sum(images * _LUMA, axis=3, keepdims=True)
            mean = tf.reduce_mean(grey, axis=[1, 2], keepdims=True)
            plain = tf.where(kind == 0, 0.0, tf.where(kind == 1, mean, grey))
            images = tf.clip_by_value(plain + factor * (images - plain), 0.0, 255.0)
        return images


def _check_colour(name: str, images: Any) -> None:
    if images.shape[-1] != 3:
        raise ArgumentError(
            f"{name} changes colours; set preprocessing.channels to 3, got images of "
            f"{images.shape[-1]} channel{'s' if images.shape[-1] != 1 else ''}"
        )
