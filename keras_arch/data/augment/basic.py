"""Random changes of training images, drawn statelessly: the same seed gives the same change.

Keras' own layers are not used here because `keras.layers.RandomCrop` draws one offset for a whole
batch, and from a stateful generator: a run that is resumed in the middle of an epoch could not
repeat it.
"""

import dataclasses
import difflib
from collections.abc import Callable
from typing import Any

from keras_arch.data.augment.color import ColorJitter, RandomLighting
from keras_arch.data.augment.crops import RandomResizedCrop, RandomScaleCrop
from keras_arch.data.augment.mixing import CutMix, MixUp
from keras_arch.data.augment.rand_augment import RandAugment
from keras_arch.errors import ArgumentError
from keras_arch.preprocessing import Preprocessing


@dataclasses.dataclass(frozen=True)
class RandomCrop:
    """Pad each image with zeros on all sides and cut an image of the old size at a random place.

    It works on normalised images, so that the border is the mean: what the ResNet paper does on
    CIFAR-10 with 4 pixels.

    Args:
        padding: Pixels added on each side.

    Raises:
        ArgumentError: If `padding` is not a positive whole number.

    Example:
        >>> import tensorflow as tf
        >>> RandomCrop(4)(tf.ones([2, 32, 32, 3]), seed=[0, 1]).shape
        TensorShape([2, 32, 32, 3])
    """

    padding: int = 4

    def __post_init__(self) -> None:
        if isinstance(self.padding, bool) or not isinstance(self.padding, int) or self.padding < 1:
            raise ArgumentError(
                f"crop padding must be a whole number of pixels from 1, got {self.padding!r}"
            )

    def __call__(self, images: Any, seed: Any) -> Any:
        """Crop `(batch, height, width, channels)` images by draws from a seed of two integers."""
        import tensorflow as tf

        pad = self.padding
        batch = tf.shape(images)[0]
        height, width = images.shape[1:3]
        offsets = tf.random.stateless_uniform(
            [2, batch], seed, 0, 2 * pad + 1, tf.int32, alg="philox"
        )
        padded = tf.pad(images, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
        return _windows(padded, offsets, height, width)


@dataclasses.dataclass(frozen=True)
class RandomJitter:
    """Cut a window at a random place out of each image, which was enlarged by so many pixels.

    The random jitter of pix2pix (Isola et al. 2017, section 6.2) is 30 pixels: images are resized
    to 286x286 and cropped to 256x256. `keras_arch.data.train_batches` enlarges them before it caches
    them and cuts before it normalises; calling this cuts.

    Args:
        pixels: By how much height and width are enlarged and then cut.

    Raises:
        ArgumentError: If `pixels` is not a positive whole number.

    Example:
        >>> import tensorflow as tf
        >>> RandomJitter(30)(tf.ones([2, 286, 286, 3]), seed=[0, 1]).shape
        TensorShape([2, 256, 256, 3])
    """

    pixels: int = 30

    def __post_init__(self) -> None:
        if isinstance(self.pixels, bool) or not isinstance(self.pixels, int) or self.pixels < 1:
            raise ArgumentError(
                f"jitter must be a whole number of pixels from 1, got {self.pixels!r}"
            )

    def enlarged(self, preprocessing: Preprocessing) -> Preprocessing:
        """The same preprocessing to the enlarged size; its mean and std are left out.

        Where it crops, the shorter side is brought to the enlarged size and all of it is kept: with
        227 pixels and a jitter of 29, the 256x256 images that AlexNet cuts its windows from.
        """
        height, width = preprocessing.size
        size = (height + self.pixels, width + self.pixels)
        crop = None if preprocessing.crop is None else 1.0
        return dataclasses.replace(preprocessing, size=size, mean=0.0, std=1.0, crop=crop)

    def __call__(self, images: Any, seed: Any) -> Any:
        """Cut windows out of `(batch, height, width, channels)` images by draws from a seed."""
        import tensorflow as tf

        height, width = (side - self.pixels for side in images.shape[1:3])
        offsets = tf.random.stateless_uniform(
            [2, tf.shape(images)[0]], seed, 0, self.pixels + 1, tf.int32, alg="philox"
        )
        return _windows(images, offsets, height, width)


@dataclasses.dataclass(frozen=True)
class RandomFlip:
    """Mirror each image left to right with probability one half.

    Example:
        >>> import tensorflow as tf
        >>> RandomFlip()(tf.ones([2, 32, 32, 3]), seed=[0, 1]).shape
        TensorShape([2, 32, 32, 3])
    """

    def __call__(self, images: Any, seed: Any) -> Any:
        """Mirror `(batch, height, width, channels)` images by draws from a seed."""
        import tensorflow as tf

        flips = tf.random.stateless_uniform(
            [tf.shape(images)[0], 1], seed, 0, 2, tf.int32, alg="philox"
        )
        width = images.shape[2]
        # Gathering mirrored columns is ten times as fast as a slice of negative step.
        columns = tf.abs(tf.range(width) - (width - 1) * flips)
        return tf.gather(images, columns, axis=2, batch_dims=1)


def _windows(images: Any, offsets: Any, height: int, width: int) -> Any:
    """The window of each image whose corner is at `offsets` `(2, batch)`."""
    import tensorflow as tf

    rows = offsets[0][:, None] + tf.range(height)
    columns = offsets[1][:, None] + tf.range(width)
    return tf.gather(tf.gather(images, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)


@dataclasses.dataclass(frozen=True)
class _Named:
    """How an augmentation is written in a config."""

    build: Callable[..., Any]
    example: str
    numbers: tuple[type, ...] = ()

    def read(self, text: str) -> Any:
        """The augmentation with the numbers of `"2,9"`; `None` where they cannot be read.

        `"2:9"` says the same, for in a list of YAML the comma ends a name without quotes.
        """
        parts = text.replace(":", ",").split(",")
        if not 1 <= len(parts) <= len(self.numbers):
            return None
        try:
            values = [number(part) for number, part in zip(self.numbers, parts, strict=False)]
        except ValueError:
            return None
        return self.build(*values)


_BY_NAME: dict[str, _Named] = {
    "crop": _Named(RandomCrop, "crop:4", (int,)),
    "flip": _Named(RandomFlip, "flip"),
    "jitter": _Named(RandomJitter, "jitter:30", (int,)),
    "scale_crop": _Named(RandomScaleCrop, "scale_crop:256,480", (int, int)),
    "resized_crop": _Named(RandomResizedCrop, "resized_crop:0.08,1", (float, float, float)),
    "lighting": _Named(RandomLighting, "lighting:0.1", (float,)),
    "color_jitter": _Named(ColorJitter, "color_jitter:0.5", (float,)),
    "randaugment": _Named(RandAugment, "randaugment:2,9", (int, float)),
    "mixup": _Named(MixUp, "mixup:0.2", (float,)),
    "cutmix": _Named(CutMix, "cutmix:1.0", (float,)),
}


def augmentations(names: Any) -> tuple[Callable[..., Any], ...]:
    """Look augmentations up by name.

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
    if isinstance(names, str):
        raise ArgumentError(f"augment must be a list of names, got {names!r}; write [{names!r}]")
    return tuple(name if callable(name) else _by_name(name) for name in names)


def _by_name(text: Any) -> Callable[..., Any]:
    name, colon, numbers = str(text).partition(":")
    if name not in _BY_NAME:
        close = difflib.get_close_matches(name, _BY_NAME, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ArgumentError(f"no augmentation named {text!r}; there are {_names()}{hint}")
    named = _BY_NAME[name]
    if not colon:
        return named.build()
    found = named.read(numbers)
    if found is None:
        raise ArgumentError(f"augmentation {text!r} cannot be read; write {named.example}")
    return found


def _names() -> str:
    *first, last = (named.example for named in _BY_NAME.values())
    return f"{', '.join(first)} and {last}"


def mixes_labels(names: Any) -> bool:
    """Whether some of these augmentations mix the labels of a batch.

    Args:
        names: As for `augmentations`.

    Raises:
        ArgumentError: As `augmentations` does.

    Example:
        >>> mixes_labels(["flip"]), mixes_labels(["flip", "cutmix"])
        (False, True)
    """
    return any(isinstance(change, MixUp | CutMix) for change in augmentations(names))
