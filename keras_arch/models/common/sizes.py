"""Sizes of maps and images, given or open: padding, bilinear enlargement, a check of each call."""

import types
from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from keras_arch.models.common import channels_last


def pad_to_multiple(image: Any, multiple: int, name: str) -> Any:
    """Zeros below and on the right of an image, up to a multiple of pixels a side.

    Args:
        image: Channels last; where its size is open, pixels are counted in the graph.
        multiple: Of pixels.
        name: Name of the layer.

    Example:
        >>> pad_to_multiple(keras.Input((70, 64, 3)), 32, "image_pad").shape
        (None, 96, 64, 3)
    """
    sides = image.shape[1:3]
    if None not in sides:
        missing = [(0, -side % multiple) for side in sides]
        return channels_last.ZeroPadding2D(missing, name=name)(image)
    # More than any size needs, of which as many rows and columns stay as whole blocks have.
    x = channels_last.ZeroPadding2D(((0, multiple - 1), (0, multiple - 1)), name=name)(image)
    for axis in (1, 2):
        line = image[:1, ::multiple, :1, :1] if axis == 1 else image[:1, :1, ::multiple, :1]
        blocks = ops.ones_like(ops.reshape(line, (-1, 1)), dtype="int32")
        ones = ops.reshape(blocks * ops.ones((1, multiple), dtype="int32"), (-1,))
        x = ops.take(x, ops.cumsum(ones) - 1, axis=axis)
    return x


def upsample_bilinear(x: Any, factor: int, name: str, **settings: Any) -> Any:
    """Bilinear enlargement of a map, pixels being squares (`align_corners=False`).

    `UpSampling2D` resizes to a size that is known when a graph is traced, so that a graph serves
    one size. Where the size is open it is computed by layers that count no pixels: repeated pixels,
    of which the mean over the two windows of `factor` that meet in each is taken. That is the same
    interpolation, to the last pixel at the borders, where means leave out what lies beyond.

    Args:
        x: Map with channels last.
        factor: Even.
        name: Name of the last layer.
        **settings: Of the layers, such as `dtype`.

    Example:
        >>> upsample_bilinear(keras.Input((None, None, 4)), 2, "up").shape
        (None, None, None, 4)
    """
    if None not in x.shape[1:3]:
        settings["interpolation"] = "bilinear"
        return channels_last.UpSampling2D(factor, name=name, **settings)(x)
    x = channels_last.UpSampling2D(factor, name=f"{name}_repeat", **settings)(x)
    for axis, last in (("rows", f"{name}_rows"), ("columns", name)):
        parts = []
        for size in (factor - 1, factor + 1):
            window = (size, 1) if axis == "rows" else (1, size)
            part = f"{name}_{axis}{size}"
            mean = channels_last.AveragePooling2D(
                window, strides=1, padding="same", name=f"{part}_mean", **settings
            )(x)
            share = layers.Rescaling(size / (2 * factor), name=part, **settings)
            parts.append(share(mean))
        x = layers.Add(name=last, **settings)(parts)
    return x


def check_each_size(
    model: keras.Model, check: Callable[[int | None, int | None], None]
) -> keras.Model:
    """Check the size of the images that a model of open size is called with.

    The check is no part of the model that is saved: one that Keras loads answers a wrong size in
    its own words.

    Args:
        model: A functional model of one image, which is changed in place and returned.
        check: Takes height and width in pixels, each `None` where it is not known when a graph is
            traced; it raises.

    Example:
        >>> image = keras.Input((None, None, 1))
        >>> model = check_each_size(keras.Model(image, layers.ReLU()(image)), print)
        >>> _ = model(ops.ones((1, 3, 4, 1)))
        3 4
    """

    def call(self: keras.Model, inputs: Any, *arguments: Any, **more: Any) -> Any:
        (image,) = keras.tree.flatten(inputs)
        if len(image.shape) == 4:
            check(*image.shape[1:3])
        return type(self).call(self, inputs, *arguments, **more)

    model.call = types.MethodType(call, model)
    return model
