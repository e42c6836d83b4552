"""Random crops of whole images of any size, as the ImageNet networks were trained with them.

They take each image as it was decoded, before it is resized to the network's size. The draws of an
image follow from the seed, the epoch and its place in the epoch alone, as those of a batch do.
"""

import dataclasses
import functools
import math
from typing import Any

from keras_arch._lazy import tf
from keras_arch.data.augment.base import Augmentation, real, whole
from keras_arch.data.seeds import branches
from keras_arch.errors import ArgumentError
from keras_arch.preprocessing import Preprocessing

# Windows that are drawn before the middle of the image is taken, as in torchvision.
TRIES = 10


@dataclasses.dataclass(frozen=True)
class WindowCrop(Augmentation):
    """Base class of crops that cut a window out of a whole image and resize it."""

    def check(self, preprocessing: Preprocessing) -> None:
        """Refuse a preprocessing that resizes by padding, or to a size out of the crop's range."""
        if preprocessing.resize == "pad":
            raise ArgumentError(
                f"{self} resizes its window; set preprocessing.resize to another method than 'pad'"
            )

    def window(self, height: Any, width: Any, size: tuple[int, int], seed: Any) -> Any:
        """Top, left, height and width of a window, `int32`, by draws from a seed."""
        raise NotImplementedError

    def __call__(self, image: Any, preprocessing: Preprocessing, seed: Any) -> Any:
        """Cut a window out of one image of any size, and bring it to the preprocessing's size.

        Args:
            image: `uint8` or float `(height, width, 1 or 3)` pixels.
            preprocessing: Its size, channels and resize method are used; not its `crop`.
            seed: Two integers.

        Returns:
            `float32` pixels in [0, 255] of the preprocessing's input shape.
        """
        sides = tf.unstack(tf.shape(image)[:2])
        top, left, height, width = tf.unstack(self.window(*sides, preprocessing.size, seed))
        cut = image[top : top + height, left : left + width]
        whole = dataclasses.replace(preprocessing, crop=None, mean=0.0, std=1.0)
        return tf.ensure_shape(tf.cast(whole.fit(cut), tf.float32), preprocessing.input_shape)


@dataclasses.dataclass(frozen=True)
class RandomScaleCrop(WindowCrop):
    """Resize the shorter side to a random length and crop a window at a random place.

    VGG (Simonyan and Zisserman 2014, section 3.1, "scale jittering") draws the length from 256 to
    512 pixels, ResNet (He et al. 2015, section 3.4) from 256 to 480; both crop 224x224. The aspect
    of the image stays. The window is cropped first and then resized, which gives the same pixels
    except for the filter's reach over the window's border, at a fraction of the work.

    Args:
        shortest: The least length of the shorter side in pixels; not less than the network's size.
        longest: The greatest; whole numbers between them are equally likely.

    Example:
        >>> crop = RandomScaleCrop(256, 480)
        >>> crop(tf.zeros([300, 400, 3], tf.uint8), Preprocessing((224, 224)), seed=[0, 1]).shape
        TensorShape([224, 224, 3])
    """

    shortest: int = whole(256)
    longest: int = whole(480)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shortest > self.longest:
            raise ArgumentError(
                "scale_crop takes the least and the greatest length of the shorter side in pixels, "
                f"such as 256,480, got {self.shortest},{self.longest}"
            )

    def check(self, preprocessing: Preprocessing) -> None:
        """As the base class, and refuse a size above the shortest side."""
        super().check(preprocessing)
        if self.shortest < max(preprocessing.size):
            raise ArgumentError(
                f"scale_crop:{self.shortest},{self.longest} brings the shorter side to less than "
                f"preprocessing.size {list(preprocessing.size)}; begin at {max(preprocessing.size)}"
            )

    def window(self, height: Any, width: Any, size: tuple[int, int], seed: Any) -> Any:
        """The window that has the network's size once the shorter side has its length."""
        of_length, of_place = branches(seed, 2)
        length = tf.random.stateless_uniform(
            [], of_length, self.shortest, self.longest + 1, tf.int32, alg="philox"
        )
        scale = tf.cast(tf.minimum(height, width), tf.float32) / tf.cast(length, tf.float32)
        sides = tf.cast(tf.round(tf.constant(size, tf.float32) * scale), tf.int32)
        sides = tf.clip_by_value(sides, 1, tf.stack([height, width]))
        return _placed(sides, height, width, of_place)


@dataclasses.dataclass(frozen=True)
class RandomResizedCrop(WindowCrop):
    """Stretch a window of random area and aspect to the network's size.

    GoogLeNet (Szegedy et al. 2014, section 6): areas evenly between 8 % and 100 % of the image,
    aspects (width to height) between 3/4 and 4/3. The aspect is drawn evenly on a logarithmic
    scale, so that upright and lying windows are alike. A window that does not fit is drawn again;
    after ten of them the largest window in the middle whose aspect is allowed is taken (both as
    torchvision has it).

    Args:
        least: The least part of the image's area, in (0, 1].
        most: The greatest.
        aspect: The greatest aspect, from 1; its inverse is the least.

    Example:
        >>> crop = RandomResizedCrop()
        >>> crop(tf.zeros([300, 400, 3], tf.uint8), Preprocessing((224, 224)), seed=[0, 1]).shape
        TensorShape([224, 224, 3])
    """

    least: float = real(0.08, most=1)
    most: float = real(1.0, most=1)
    aspect: float = real(4 / 3, least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.least > self.most:
            raise ArgumentError(
                "resized_crop takes the least and the greatest part of the area, in (0, 1], such "
                f"as 0.08,1, got {self.least},{self.most}"
            )

    def window(self, height: Any, width: Any, size: tuple[int, int], seed: Any) -> Any:
        """The first of ten windows that fits, or the middle."""
        of_area, of_aspect, of_place = branches(seed, 3)
        h, w = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
        uniform = functools.partial(tf.random.stateless_uniform, [TRIES], alg="philox")
        area = h * w * uniform(of_area, self.least, self.most)
        bound = math.log(self.aspect)
        aspect = tf.exp(uniform(of_aspect, -bound, bound))
        # Columns of heights and widths, and the middle in the last row.
        tried = tf.stack([tf.sqrt(area / aspect), tf.sqrt(area * aspect)], axis=1)
        middle = tf.stack([tf.minimum(h, w * self.aspect), tf.minimum(w, h * self.aspect)])
        tried = tf.cast(tf.round(tf.concat([tried, middle[None]], axis=0)), tf.int32)
        fits = tf.reduce_all((tried >= 1) & (tried <= tf.stack([height, width])), axis=1)
        first = tf.argmax(tf.cast(fits, tf.int32), output_type=tf.int32)
        sides = tf.maximum(tried[first], 1)
        place = _placed(sides, height, width, of_place)
        centre = tf.concat([(tf.stack([height, width]) - sides) // 2, sides], axis=0)
        return tf.where(first < TRIES, place, centre)


def _placed(sides: Any, height: Any, width: Any, seed: Any) -> Any:
    """A window of given sides at a random place; all places are equally likely."""
    room = tf.unstack(tf.stack([height, width]) - sides + 1)
    corner = [
        tf.random.stateless_uniform([], draw, 0, most, tf.int32, alg="philox")
        for draw, most in zip(branches(seed, 2), room, strict=True)
    ]
    return tf.concat([corner, sides], axis=0)
