"""Random crops, flips and jitter of training images, and all augmentations by name.

(`keras.layers.RandomCrop` draws one offset for a whole batch.)
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from keras_arch._lazy import tf
from keras_arch.data.augment.base import Augmentation, Named, look_up, whole
from keras_arch.data.augment.color import ColorJitter, RandomLighting
from keras_arch.data.augment.imagenet_crops import RandomResizedCrop, RandomScaleCrop
from keras_arch.data.augment.mixing import CutMix, MixUp
from keras_arch.data.augment.rand_augment import RandAugment
from keras_arch.data.shares import draw
from keras_arch.preprocessing import Preprocessing


@dataclasses.dataclass(frozen=True)
class RandomCrop(Augmentation):
    """Pad each image with zeros on all sides and crop the old size at a random place.

    It works on normalised images, so that the border is the mean: ResNet on CIFAR-10 with 4 pixels
    (He et al. 2015, section 4.2).

    Args:
        padding: Pixels added on each side.

    Example:
        >>> RandomCrop(4)(tf.ones([2, 32, 32, 3]), seed=[0, 1]).shape
        TensorShape([2, 32, 32, 3])
    """

    padding: int = whole(4)

    def __call__(self, images: Any, seed: Any) -> Any:
        """Crop `(batch, height, width, channels)` images by draws from a seed of two integers."""
        pad = self.padding
        padded = tf.pad(images, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
        return _windows(padded, 2 * pad, seed)


@dataclasses.dataclass(frozen=True)
class RandomJitter(Augmentation):
    """Crop a window at a random place out of each image, after enlarging it by some pixels.

    The random jitter of pix2pix (Isola et al. 2017, section 6.2) is 30 pixels: images are resized
    to 286x286 and cropped to 256x256. `keras_arch.data.train_batches` enlarges them before it
    caches them and crops before it normalises; calling this crops.

    Args:
        pixels: Pixels by which height and width are enlarged and then cropped.

    Example:
        >>> RandomJitter(30)(tf.ones([2, 286, 286, 3]), seed=[0, 1]).shape
        TensorShape([2, 256, 256, 3])
    """

    pixels: int = whole(30)

    def enlarged(self, preprocessing: Preprocessing) -> Preprocessing:
        """The same preprocessing to the enlarged size; its mean and std are left out.

        Where it crops, the shorter side is resized to the enlarged size and not cropped: with 227
        pixels and a jitter of 29, to the 256x256 images out of which AlexNet crops its windows.
        """
        height, width = preprocessing.size
        size = (height + self.pixels, width + self.pixels)
        crop = None if preprocessing.crop is None else 1.0
        return dataclasses.replace(preprocessing, size=size, mean=0.0, std=1.0, crop=crop)

    def __call__(self, images: Any, seed: Any) -> Any:
        """Crop windows out of `(batch, height, width, channels)` images by draws from a seed."""
        return _windows(images, self.pixels, seed)


@dataclasses.dataclass(frozen=True)
class RandomFlip(Augmentation):
    """Mirror each image left to right with probability one half.

    Example:
        >>> RandomFlip()(tf.ones([2, 32, 32, 3]), seed=[0, 1]).shape
        TensorShape([2, 32, 32, 3])
    """

    def __call__(self, images: Any, seed: Any) -> Any:
        """Mirror `(batch, height, width, channels)` images by draws from a seed."""
        flips = draw(
            images,
            lambda batch: tf.random.stateless_uniform(
                [batch, 1], seed, 0, 2, tf.int32, alg="philox"
            ),
        )
        width = images.shape[2]
        # Gathering mirrored columns is ten times as fast as a slice of negative step.
        columns = tf.abs(tf.range(width) - (width - 1) * flips)
        return tf.gather(images, columns, axis=2, batch_dims=1)


def _windows(images: Any, pixels: int, seed: Any) -> Any:
    """A window at a random place in each image, smaller by some pixels in height and width."""
    offsets = draw(
        images,
        lambda batch: tf.random.stateless_uniform(
            [2, batch, 1], seed, 0, pixels + 1, tf.int32, alg="philox"
        ),
        axis=1,
    )
    height, width = images.shape[1:3]
    rows = offsets[0] + tf.range(height - pixels)
    columns = offsets[1] + tf.range(width - pixels)
    return tf.gather(tf.gather(images, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)


_BY_NAME: dict[str, Named] = {
    "crop": Named(RandomCrop, "crop:4", (int,)),
    "flip": Named(RandomFlip, "flip"),
    "jitter": Named(RandomJitter, "jitter:30", (int,)),
    "scale_crop": Named(RandomScaleCrop, "scale_crop:256,480", (int, int)),
    "resized_crop": Named(RandomResizedCrop, "resized_crop:0.08,1", (float, float, float)),
    "lighting": Named(RandomLighting, "lighting:0.1", (float,)),
    "color_jitter": Named(ColorJitter, "color_jitter:0.5", (float,)),
    "randaugment": Named(RandAugment, "randaugment:2,9", (int, float)),
    "mixup": Named(MixUp, "mixup:0.2", (float,)),
    "cutmix": Named(CutMix, "cutmix:1.0", (float,)),
}


def augmentations(names: Any) -> tuple[Callable[..., Any], ...]:
    """Augmentations by name.

    Args:
        names: Names such as `"flip"`, or `"crop:4"` and `"randaugment:2,9"` with numbers after the
            colon. Callables `(images, seed) -> images` are taken as they are.

    Returns:
        One callable for each, in the same order.

    Raises:
        ArgumentError: If a name is unknown or its numbers are wrong.

    Example:
        >>> augmentations(["crop:4", "flip", "mixup:0.2"])
        (RandomCrop(padding=4), RandomFlip(), MixUp(alpha=0.2))
    """
    return look_up(names, _BY_NAME, callable, "augmentation")


def mixes_labels(names: Any) -> bool:
    """Whether one of these augmentations, as for `augmentations`, mixes the labels of a batch.

    Example:
        >>> mixes_labels(["flip"]), mixes_labels(["flip", "cutmix"])
        (False, True)
    """
    return any(isinstance(change, MixUp | CutMix) for change in augmentations(names))
