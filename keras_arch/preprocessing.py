"""Preprocessing of images: size, channels and normalisation of a network's input, and back.

One description is saved with the weights, and training, prediction and export all use it.
"""

import dataclasses
import logging
import math
import numbers
from typing import Any

import numpy as np

from keras_arch._lazy import tf
from keras_arch.errors import ArgumentError, whole_number

RESIZE_METHODS = ("nearest", "bilinear", "bicubic", "lanczos3", "area", "pad")
CHANNEL_ORDERS = ("rgb", "bgr")
_log = logging.getLogger("keras_arch")


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Preprocessing of images for a network: resize, then `(pixels * scale - mean) / std`.

    Args:
        size: Height and width in pixels that images are resized to; one number for squares.
        channels: 1 (grey), 3 (colour), or any other number, as of satellites and microscopes.
            Grey and colour are converted into each other; of other numbers images must have as
            many.
        resize: Method of resizing. `"pad"` keeps the aspect and does not enlarge: it centres the
            image on a black canvas; a larger one is shrunk first, bilinearly, until it fits. The
            other names are those of `tf.image.resize`; all of them smooth when they shrink
            (antialias).
        crop: `None` stretches images to the size. A number in (0, 1] preserves their aspect, as
            published ImageNet weights are evaluated: the shorter side is resized to
            `floor(size / crop)` (256 for 224 pixels and 0.875), and the size is cropped out of the
            centre. It is timm's `crop_pct`, and `Resize` and `CenterCrop` of torchvision.
        scale: Factor on pixel values in [0, 255]. Default 1/255.
        mean: Subtracted after scaling. One number, one a channel, or a whole image
            `(height, width, channels)` (the per-pixel mean of the ResNet paper's CIFAR recipe).
            Channels are in the order of `channel_order`.
        std: Divides after the subtraction. One number or one a channel, ordered likewise.
        channel_order: `"rgb"`, or `"bgr"` for networks that were trained by Caffe.
        value_range: The intensities of images that become 0 and 255, `(0, 4095)` for a camera of 12
            bits or `(0, 1)` for such floats; what lies outside becomes 0 or 255. `None` takes
            `uint8` as it is, and floats and other integers that lie in [0, 255]; of 16 bits
            (`uint16`) the whole range becomes [0, 255]. Others need one. Files and arrays follow
            one rule.

    Raises:
        ArgumentError: If a value is not one of the above.

    Example:
        >>> to_tanh = Preprocessing(size=(32, 32), channels=1, scale=1 / 127.5, mean=1.0)
        >>> black = to_tanh(np.zeros((1, 28, 28, 1), "uint8"))
        >>> black.shape, float(black.numpy().max())
        (TensorShape([1, 32, 32, 1]), -1.0)
    """

    size: tuple[int, int]
    channels: int = 3
    resize: str = "bilinear"
    scale: float = 1 / 255
    mean: Any = 0.0
    std: Any = 1.0
    channel_order: str = "rgb"
    crop: float | None = None
    value_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        size = height_and_width("preprocessing size", self.size)
        channels = whole_number("preprocessing channels", self.channels)
        if self.resize not in RESIZE_METHODS:
            raise ArgumentError(
                f"preprocessing resize must be one of {', '.join(RESIZE_METHODS)}, "
                f"got {self.resize!r}"
            )
        if self.channel_order not in CHANNEL_ORDERS:
            raise ArgumentError(
                f"preprocessing channel_order must be rgb or bgr, got {self.channel_order!r}"
            )
        if self.channel_order == "bgr" and channels not in (1, 3):
            raise ArgumentError(
                f"preprocessing channel_order bgr is of 3 channels, preprocessing has {channels}; "
                "leave it out"
            )
        if self.crop is not None:
            number = isinstance(self.crop, numbers.Real) and not isinstance(self.crop, bool)
            if not number or not 0 < self.crop <= 1:
                raise ArgumentError(
                    "preprocessing crop must be a number in (0, 1], the part of the shorter side "
                    f"that is left, or None, got {self.crop!r}"
                )
            if self.resize == "pad":
                raise ArgumentError(
                    "preprocessing resize 'pad' does not interpolate; leave "
                    f"crop={self.crop!r} out or resize by another method"
                )
            object.__setattr__(self, "crop", float(self.crop))
        if not isinstance(self.scale, numbers.Real) or not 0 < self.scale < float("inf"):
            raise ArgumentError(
                f"preprocessing scale must be a positive number, got {self.scale!r}"
            )
        if self.value_range is not None:
            object.__setattr__(self, "value_range", _low_and_high(self.value_range))
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "channels", channels)
        object.__setattr__(self, "scale", float(self.scale))
        for name in ("mean", "std"):
            try:
                value = np.asarray(getattr(self, name), np.float32)
            except (TypeError, ValueError):
                raise ArgumentError(
                    f"preprocessing {name} must be a number, one a channel or a whole image, got "
                    f"{str(getattr(self, name))[:60]!r}"
                ) from None
            try:
                np.broadcast_to(value, (*size, channels))
            except ValueError:
                raise ArgumentError(
                    f"preprocessing {name} of shape {value.shape} does not fit an image of "
                    f"{size[0]}x{size[1]} with {channels} channels"
                ) from None
            if not np.isfinite(value).all() or (name == "std" and (value <= 0).any()):
                raise ArgumentError(
                    f"preprocessing {name} must be finite"
                    f"{' and positive' if name == 'std' else ''}, got {getattr(self, name)!r}"
                )
            # Floats and nested lists, which JSON stores exactly.
            object.__setattr__(self, name, value.tolist())

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """The shape `(height, width, channels)` of the network's input."""
        return (*self.size, self.channels)

    def __call__(self, images: Any) -> Any:
        """Preprocess pixels.

        Args:
            images: `(height, width, c)` or `(batch, height, width, c)`, `uint8`, `uint16`, or in
                [0, 255] or the `value_range`, c being `channels`, or 1 for 3 and 3 for 1.

        Returns:
            A `float32` tensor of the same rank with the size and channels described here.

        Raises:
            ArgumentError: If the images have other channels, or values that only a `value_range`
                could explain. Values are looked at outside of graphs.
        """
        return self.normalize(self.fit(images))

    def fit(self, images: Any) -> Any:
        """Resize images and convert their channels, as pixels in [0, 255].

        Returns `uint8` where those came and no interpolation was needed (so that a cache stays
        small).
        """
        images = tf.convert_to_tensor(images)
        is_deep = self.value_range is not None or images.dtype == tf.uint16
        images = self.fit_channels(self.rescale(images), exact=is_deep)
        if self.crop is not None:
            return self._fit_centre(images)
        if tuple(images.shape[-3:-1]) == self.size:
            return images
        if self.resize == "pad":
            return tf.image.resize_with_crop_or_pad(self._shrunk(images), *self.size)
        return self._resized(images, self.size)

    def rescale(self, images: Any, check: bool = True) -> Any:
        """Bring values of any kind to [0, 255], as `value_range` says.

        Args:
            images: Images of any size.
            check: Whether to check them by `check_values`, where values are known.
        """
        images = tf.convert_to_tensor(images)
        if check and not tf.is_symbolic_tensor(images):
            self.check_values(images)
        self._check_dtype(images.dtype)
        if self.value_range is None:
            return tf.cast(images, tf.float32) / 257 if images.dtype == tf.uint16 else images
        low, high = self.value_range
        factor = np.float32(255 / (high - low))
        return tf.clip_by_value((tf.cast(images, tf.float32) - low) * factor, 0.0, 255.0)

    def display(self, images: Any) -> np.ndarray:
        """Images of any kind as `uint8` pixels for a picture, at their own size."""
        return np.rint(np.asarray(self.rescale(images))).astype(np.uint8)

    def check_values(self, images: Any) -> None:
        """Refuse values that are no pixels without a `value_range`; warn of a part of 16 bits.

        Args:
            images: An array or an eager tensor: one image or several.

        Raises:
            ArgumentError: With the `value_range` that fits.
        """
        self._check_dtype(tf.as_dtype(images.dtype))
        images = np.asarray(images)
        if images.dtype == np.uint8 or not images.size:
            return
        low, high = float(images.min()), float(images.max())
        if not math.isfinite(low + high):
            raise ArgumentError("images must have finite values, got NaN or infinity")
        if self.value_range is not None:
            first, last = self.value_range
            if low < first or high > last:
                _log.warning(
                    "images have values of %g to %g; those outside of value_range=(%g, %g) are cut",
                    *(low, high, first, last),
                )
            return
        if images.dtype == np.uint16:
            if 0 < high <= 0xFFFF / 4:
                _log.warning(
                    "images of 16 bits reach %g of 65535 and are dark; with preprocessing "
                    "value_range=(0, %g) they use the whole range",
                    *(high, _ceiling(high)),
                )
            if self.scale * 255 < 1 / 8:
                raise ArgumentError(
                    f"preprocessing scale={self.scale:g} is a factor on pixels in [0, 255], which "
                    f"images of 16 bits become too; for theirs give value_range=(0, "
                    f"{_ceiling(high)}) and leave scale"
                )
            return
        wanted = (math.floor(low), _ceiling(high) if high > 1 else 1)
        if low < 0 or high > 255 or 0 < high <= 1:
            raise ArgumentError(
                f"images of {images.dtype} have values of {low:g} to {high:g}, which are no pixels "
                f"in [0, 255]; say what is black and white, preprocessing value_range={wanted}"
                " (or (0, 255) if they are); for a trained model, which has its preprocessing, "
                "bring them to [0, 255]"
            )

    def _check_dtype(self, dtype: Any) -> None:
        if dtype.is_bool or dtype.is_complex or not (dtype.is_integer or dtype.is_floating):
            raise ArgumentError(
                f"images must be of numbers such as uint8, got {dtype.name}; of booleans give "
                "255 * images.astype('uint8')"
            )
        if dtype == tf.uint8 and self.value_range is not None and self.value_range[1] > 255:
            low, high = self.value_range
            raise ArgumentError(
                f"images of 8 bits cannot have the intensities of value_range=({low:g}, "
                f"{high:g}); give images of 16 bits or floats"
            )

    def normalize(self, images: Any) -> Any:
        """Scale, centre and order the channels of images of the network's size."""
        images = tf.cast(images, tf.float32)
        if self.channel_order == "bgr":
            images = images[..., ::-1]
        images = images * np.float32(self.scale)
        if np.any(self.mean):
            images = images - np.asarray(self.mean, np.float32)
        if np.any(np.asarray(self.std) != 1):
            images = images / np.asarray(self.std, np.float32)
        return images

    def to_pixels(self, images: Any) -> np.ndarray:
        """Undo `normalize`: a network's input or a generator's output as `uint8` pixels.

        Args:
            images: NumPy array or tensor `(..., height, width, channels)`.

        Returns:
            A `uint8` array of the same shape in RGB order.
        """
        scale, mean, std = (
            np.asarray(each, np.float32) for each in (self.scale, self.mean, self.std)
        )
        images = (np.asarray(images, np.float32) * std + mean) / scale
        if self.channel_order == "bgr":
            images = images[..., ::-1]
        return np.clip(np.rint(images), 0, 255).astype(np.uint8)

    def to_dict(self) -> dict[str, Any]:
        """A description for JSON; `from_dict` reads it back."""
        description = dataclasses.asdict(self) | {"size": list(self.size)}
        if self.value_range is not None:
            description["value_range"] = list(self.value_range)
        # Left out where they are not used, so that versions without them read the rest.
        for name in ("crop", "value_range"):
            if description[name] is None:
                del description[name]
        return description

    @classmethod
    def from_dict(cls, description: dict[str, Any]) -> "Preprocessing":
        """The inverse of `to_dict`; unknown keys are refused."""
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(description) - known)
        if unknown:
            raise ArgumentError(
                f"preprocessing has no key {unknown[0]!r}; it has {', '.join(sorted(known))}"
            )
        if "size" not in description:
            raise ArgumentError("preprocessing needs the key 'size', (height, width) in pixels")
        return cls(**description)

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """The height and width that `resize="pad"` gives an image within its canvas.

        Args:
            height, width: Of the image, in pixels.

        Returns:
            The same, or less where the image is larger than `size`.

        Example:
            >>> Preprocessing((32, 32), resize="pad").padded_size(60, 40)
            (32, 21)
        """
        factor = min(1.0, self.size[0] / height, self.size[1] / width)
        return max(1, round(height * factor)), max(1, round(width * factor))

    def _shrunk(self, images: Any) -> Any:
        """Images that are larger than the size, shrunk until they fit; others as they are."""

        def resized(size: Any) -> Any:
            return tf.image.resize(images, size, method="bilinear", antialias=True)

        sides = images.shape[-3:-1].as_list()
        if None not in sides:
            size = self.padded_size(*sides)
            return images if size == tuple(sides) else resized(size)
        # One dtype whatever the size, so bytes become floats.
        images = tf.cast(images, tf.float32)
        dynamic = tf.shape(images)[-3:-1]
        exact = tf.cast(dynamic, tf.float64)
        factor = tf.minimum(tf.reduce_min(np.float64(self.size) / exact), 1.0)
        size = tf.maximum(tf.cast(tf.round(exact * factor), tf.int32), 1)
        return tf.cond(tf.reduce_all(size == dynamic), lambda: images, lambda: resized(size))

    def _resized(self, images: Any, size: Any) -> Any:
        resized = tf.image.resize(images, size, method=self.resize, antialias=True)
        # Bicubic and Lanczos overshoot at edges; pixels do not.
        return resized if self.resize == "nearest" else tf.clip_by_value(resized, 0.0, 255.0)

    def _fit_centre(self, images: Any) -> Any:
        """Resize the shorter side of images and crop the centre."""
        dynamic = tf.shape(images)
        sides = [
            dynamic[axis] if images.shape[axis] is None else images.shape[axis] for axis in (-3, -2)
        ]
        scaled = self._scaled(*sides)
        if not all(isinstance(a, int) and a == b for a, b in zip(scaled, sides, strict=True)):
            images = self._resized(images, scaled)
        # Half a pixel goes to the even side, as Python rounds for torchvision.
        top, left = (
            (side - inner) // 2 + (side - inner) % 2 * ((side - inner) // 2 % 2)
            for side, inner in zip(scaled, self.size, strict=True)
        )
        height, width = self.size
        window = images[..., top : top + height, left : left + width, :]
        return tf.ensure_shape(window, (*images.shape[:-3], *self.input_shape))

    def _scaled(self, height: Any, width: Any) -> tuple[Any, Any]:
        """The size that a whole image is resized to: numbers for numbers, tensors for tensors."""
        least = [math.floor(side / self.crop) for side in self.size]
        # torchvision, which resizes to squares, truncates the fraction of a pixel; timm rounds it.
        square = least[0] == least[1]
        by_height = least[0], (width * least[0] + (0 if square else height // 2)) // height
        by_width = (height * least[1] + (0 if square else width // 2)) // width, least[1]
        is_narrow = height * least[1] > width * least[0]
        if isinstance(is_narrow, bool):
            return by_width if is_narrow else by_height
        return tuple(tf.where(is_narrow, *each) for each in zip(by_width, by_height, strict=True))

    def fit_channels(self, images: Any, exact: bool = False) -> Any:
        """Images with the network's channels; `exact` leaves grey values unrounded."""
        images = tf.convert_to_tensor(images)
        channels = images.shape[-1] if images.shape.rank in (3, 4) else None
        if channels == self.channels:
            return images
        if self.channels == 3 and channels == 1:
            return tf.repeat(images, 3, axis=-1)
        if self.channels == 1 and channels == 3:
            # Rounded for floats too, so that an image gives the same input as uint8 and as float.
            grey = tf.tensordot(tf.cast(images, tf.float32), [0.299, 0.587, 0.114], 1)
            return (grey if exact else tf.cast(tf.round(grey), images.dtype))[..., None]
        wanted = "1 or 3 channels" if self.channels in (1, 3) else f"{self.channels} channels"
        raise ArgumentError(
            f"images must have {wanted}, got an array of shape {tuple(images.shape)}"
        )


def height_and_width(name: str, size: Any) -> tuple[int, int]:
    """A size as two plain `int`, from two positive integers of any type, or one for squares."""
    sides = size if isinstance(size, list | tuple | np.ndarray) else (size, size)
    try:
        height, width = (whole_number(name, side) for side in sides)
    # Not two sides, or not whole numbers: `ArgumentError` is a `ValueError`.
    except (TypeError, ValueError):
        raise ArgumentError(
            f"{name} must be (height, width) in pixels, or one number for squares, got {size!r}"
        ) from None
    return height, width


def _low_and_high(value_range: Any) -> tuple[float, float]:
    try:
        low, high = (float(value) for value in value_range)
        right = math.isfinite(low) and math.isfinite(high) and low < high
    except (TypeError, ValueError):
        right = False
    if not right:
        raise ArgumentError(
            "preprocessing value_range must be (low, high), the intensities of black and white, "
            f"or None, got {value_range!r}"
        )
    return low, high


def _ceiling(value: float) -> int:
    """The highest number of the fewest bits that hold a value."""
    return 2 ** math.ceil(math.log2(math.ceil(value) + 1)) - 1 if value > 0 else 1
