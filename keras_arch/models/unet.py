"""U-Net (Ronneberger, Fischer and Brox 2015).

A path that halves the map and doubles its channels, one that does the reverse, and skip
connections between stages of one stride. As published no convolution pads: the output is smaller
than the input, and every pixel of it depends on pixels of the image alone.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping
from typing import Any

import keras
from keras import layers

from keras_arch.errors import ArgumentError, whole_number
from keras_arch.layers import batch_norm, he_normal, output_dtype, recursion_limit
from keras_arch.models.common import channels_last, pixelwise, sizes
from keras_arch.models.common.arguments import document
from keras_arch.models.common.checks import check_choice, check_rate, positive_ints
from keras_arch.models.common.heads import check_input_shape, probabilities
from keras_arch.registry import register
from keras_arch.weights import Weights, load_weights

PADDINGS = ("valid", "same")
UPS = ("deconvolution", "bilinear")
# Number of stages at the end of the contracting path with dropout in the authors' network.
DROPPED_STAGES = 2


@register(
    task="image-segmentation",
    paper=(
        "Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image "
        "Segmentation (2015), figure 1"
    ),
    url="https://arxiv.org/abs/1505.04597",
    default_input=(572, 572, 1),
    parameters={
        "": 31_030_658,
        "padding='same'": 31_030_658,
        "input_shape=(572, 572, 3)": 31_031_810,
        "classes=1, classifier_activation='sigmoid'": 31_030_593,
    },
)
@document
def UNet(
    padding: str | None = None,
    *,
    input_shape: tuple[int | None, int | None, int] | None = None,
    classes: int = 2,
    classifier_activation: str | None = "softmax",
    backbone: str | keras.Model | None = None,
    backbone_weights: Weights = None,
    backbone_arguments: Mapping[str, Any] | None = None,
    depth: int | None = None,
    filters: int | None = None,
    up: str = "deconvolution",
    dropout: float = 0.5,
    norm: str | None = None,
    synchronized: bool = False,
    weights: Weights = None,
    name: str | None = None,
) -> keras.Model:
    """U-Net: a contracting and an expanding path with skip connections, a class for every pixel.

    Source: Ronneberger et al. 2015, section 2 and figure 1: 31,030,658 parameters from one channel
    to two classes. Two 3x3 convolutions with ReLU at each stage, He initialisation, and dropout
    where the authors' network has it: behind the last two stages of the contracting path.

    Unpadded, the four stages take sizes of 188 + 16k pixels and give 184 less, as
    `unet_output_size` says; `keras_arch.tiling.predict` takes any size.

    Args:
        padding: `"valid"` as published (default), or `"same"` with an output of the input's size,
            of zeros at the borders, for multiples of 2**depth. On a backbone only `"same"`, which
            is then the default.
        input_shape: `(height, width, channels)` in pixels; height and width may be `None`. Default
            (572, 572, 1), padded (256, 256, 1), on a registered backbone (256, 256, 3), on a given
            model that model's.
        classes: Number of classes, 1 for a mask with `classifier_activation="sigmoid"`.
        backbone: `None` for the paper's contracting path; or, in its place, a registered backbone
            by name, such as `"ResNet18"`, or a functional Keras model, such as one of
            `keras.applications`, which is copied with its weights. Its maps are joined by their
            strides.
        depth: Halvings, by 2x2 max-pooling. Default 4; on a backbone all that it has.
        filters: Of the first stage, doubled at each halving. Default 64; on a backbone, whose
            maps have their own, those of the expanding path at full size: 16.
        up: Doubling of maps: `"deconvolution"` learns it (2x2, stride 2, as published);
            `"bilinear"` interpolates after a 1x1 convolution that sets the channels. Unpadded, the
            interpolated border pixels, which have a neighbour missing, are cut off, and sizes are
            others.
        dropout: Rate.
        norm: `None` (the paper), or `"batch"` after every 3x3 convolution, as common ports have
            it. (The statistics of an instance norm would be those of a tile.)
        name: Name of the model. Default `"unet"`, on a backbone `"unet_resnet18"`.

    Returns:
        A `keras.Model` from `image` `(batch, height, width, channels)` to probabilities `(batch,
        height - 184, width - 184, classes)`, padded `(batch, height, width, classes)`. The ends of
        the contracting stages are named `stage1` to `stage5`.

    Example:
        >>> from keras_arch import models
        >>> models.UNet(filters=4).output_shape
        (None, 388, 388, 2)
        >>> models.UNet("same", input_shape=(None, None, 3), classes=21, filters=4).output_shape
        (None, None, None, 21)
        >>> models.UNet(backbone="ResNet18", filters=4).output_shape
        (None, 256, 256, 2)
    """
    if padding is None:
        padding = "valid" if backbone is None else "same"
    _check(padding, backbone, backbone_arguments, backbone_weights)
    check_choice("up", up, UPS)
    check_choice("norm", norm, ("batch", None))
    check_rate("dropout", dropout)
    classes = pixelwise.check_classes(classes, classifier_activation)
    depth = None if depth is None else whole_number("depth", depth)
    filters = (64 if backbone is None else 16) if filters is None else filters
    filters = whole_number("filters", filters)
    side = _usual_side(padding, depth or 4, up)
    # More than the channels of an image that come first by mistake.
    minimum = 5 if padding == "valid" else min(5, 2 ** (depth or 4))
    usual_shape = pixelwise.default_shape(backbone, (side, side, 1 if backbone is None else 3))
    input_shape = check_input_shape(input_shape, default=usual_shape, minimum=minimum)

    style = _Style(padding, norm, synchronized, up)
    if backbone is None:
        depth = depth or 4
        _check_size(input_shape, padding, depth, up)
        image = keras.Input(input_shape, name="image")
        x, maps = _contract(image, depth, filters, dropout, style)
    else:
        image, maps = pixelwise.pyramid(
            backbone, input_shape, backbone_weights, backbone_arguments, synchronized
        )
        depth = _depth_on(pixelwise.name_of(backbone), maps, depth)
        _check_size(input_shape, padding, depth, up)
        x = maps[depth]
        if dropout:
            x = layers.Dropout(dropout, name="backbone_dropout")(x)
    x = _expand(x, maps, depth, filters, style)
    x = channels_last.Conv2D(
        classes, 1, kernel_initializer=he_normal(), dtype=output_dtype(), name="logits"
    )(x)
    x = probabilities(x, classifier_activation)
    usual_name = "unet" if backbone is None else f"unet_{pixelwise.name_of(backbone).lower()}"
    with recursion_limit():
        model = keras.Model(image, x, name=name or usual_name)
    if None in input_shape[:2]:
        model = sizes.check_each_size(
            model, lambda height, width: _check_size((height, width), padding, depth, up)
        )
    return load_weights(model, weights, "UNet")


def unet_output_size(size: int, depth: int = 4, up: str = "deconvolution") -> int:
    """Output size of the unpadded U-Net: 184 pixels a side less at depth 4.

    Source: Ronneberger et al. 2015, figure 1 (572 to 388).

    Args:
        size: Height or width of the input in pixels.
        depth: Halvings.
        up: As for `UNet`.

    Raises:
        ArgumentError: If the network does not take the size; the message names its neighbours.

    Example:
        >>> unet_output_size(572)
        388
        >>> unet_output_size(570)
        Traceback (most recent call last):
        keras_arch.errors.ArgumentError: an unpadded U-Net of depth 4 takes 188 + 16k pixels a ...
    """
    size, depth = positive_ints(size=size, depth=depth)
    check_choice("up", up, UPS)
    _check_side("size", size, "valid", depth, up)
    return _walk(size, depth, up)[0]


def unet_sizes(limit: int, depth: int = 4, up: str = "deconvolution") -> list[int]:
    """Input sizes of the unpadded U-Net up to a limit: heights or widths in pixels, in order.

    Args:
        limit: The largest size in pixels.
        depth: Halvings.
        up: As for `UNet`.

    Example:
        >>> unet_sizes(240)
        [188, 204, 220, 236]
    """
    limit, depth = positive_ints(limit=limit, depth=depth)
    check_choice("up", up, UPS)
    return list(range(_least(depth, up), limit + 1, 2**depth))


@dataclasses.dataclass(frozen=True)
class _Style:
    """Settings that all convolutions of one network share."""

    padding: str
    norm: str | None
    synchronized: bool
    up: str

    def double(self, x, filters, name, end):
        """The 3x3 convolutions of a stage, normalised and with ReLU; the last layer is `end`."""
        for number, relu in ((1, f"{name}_relu1"), (2, end)):
            x = channels_last.Conv2D(
                filters,
                3,
                padding=self.padding,
                use_bias=self.norm is None,
                kernel_initializer=he_normal(),
                name=f"{name}_conv{number}",
            )(x)
            if self.norm:
                x = batch_norm(f"{name}_norm{number}", synchronized=self.synchronized)(x)
            x = layers.Activation("relu", name=relu)(x)
        return x

    def enlarge(self, x, filters, name):
        """Twice the height and width."""
        if self.up == "deconvolution":
            # A pixel of the output sees one of the input: N of the paper is the channels.
            spread = keras.initializers.RandomNormal(0.0, math.sqrt(2 / x.shape[-1]))
            settings = {"strides": 2, "kernel_initializer": spread, "name": name}
            return channels_last.Conv2DTranspose(filters, 2, **settings)(x)
        # The channels first: both are linear, and there are four times fewer pixels.
        start = he_normal()
        x = channels_last.Conv2D(filters, 1, kernel_initializer=start, name=f"{name}_reduce")(x)
        x = sizes.upsample_bilinear(x, 2, name)
        if self.padding == "same":
            return x
        # Beyond the border there is a pixel that only a larger tile has.
        return channels_last.Cropping2D(1, name=f"{name}_trim")(x)


def _contract(image, depth, filters, dropout, style):
    """The contracting path: its last map, and those of the skip connections by level."""
    x, maps = image, {}
    for level in range(depth + 1):
        if level:
            x = channels_last.MaxPooling2D(2, name=f"stage{level}_pool")(x)
        x = style.double(x, filters * 2**level, f"stage{level + 1}", f"stage{level + 1}")
        if dropout and level > depth - DROPPED_STAGES:
            x = layers.Dropout(dropout, name=f"stage{level + 1}_dropout")(x)
        maps[level] = x
    return maps.pop(depth), maps


def _depth_on(backbone, maps, depth):
    """The halvings of a U-Net on a backbone with these maps by level."""
    if depth is None:
        return max(maps)
    if depth not in maps:
        raise ArgumentError(
            f"depth of a U-Net on {backbone} must be one of "
            f"{', '.join(str(level) for level in maps if level)}, got {depth}"
        )
    return depth


def _expand(x, maps, depth, filters, style):
    """The expanding path, up to the size of the first stage."""
    for level in reversed(range(depth)):
        name = f"up{level + 1}"
        x = style.enlarge(x, filters * 2**level, name)
        if level in maps:
            across = maps[level]
            if style.padding == "valid":
                _, crops = _walk(_least(depth, style.up), depth, style.up)
                across = channels_last.Cropping2D(crops[level], name=f"{name}_crop")(across)
            x = layers.Concatenate(name=f"{name}_join")([across, x])
        x = style.double(x, filters * 2**level, name, f"{name}_relu2")
    return x


def _walk(size, depth, up):
    """The output's size and the crops of the maps by level, `None` where a map has no half."""
    sides = []
    for _ in range(depth):
        size -= 4
        if size < 2 or size % 2:
            return None
        sides.append(size)
        size //= 2
    size -= 4
    crops = {}
    for level in reversed(range(depth)):
        size = 2 * size - (0 if up == "deconvolution" else 2)
        crops[level] = (sides[level] - size) // 2
        size -= 4
    return (size, crops) if size > 0 else None


@functools.cache
def _least(depth, up):
    """The smallest size that the unpadded network takes."""
    return next(size for size in itertools.count(1) if _walk(size, depth, up))


def _usual_side(padding, depth, up):
    """The default size of an input: the paper's, or the next smaller one."""
    if padding == "same":
        return max(256, 2**depth)
    least = _least(depth, up)
    return max(least, 572 - (572 - least) % 2**depth)


def _check(padding, backbone, backbone_arguments, backbone_weights):
    """Refuse arguments that do not go together."""
    check_choice("padding", padding, PADDINGS)
    if backbone is not None and padding != "same":
        raise ArgumentError(
            "a backbone pads its maps, so that a U-Net on "
            f"{pixelwise.name_of(backbone)} has padding='same', got {padding!r}"
        )
    given = {"backbone_arguments": backbone_arguments, "backbone_weights": backbone_weights}
    for argument, value in given.items():
        if backbone is None and value is not None:
            raise ArgumentError(
                f"{argument} is for a backbone; name one, such as backbone='ResNet18' (the weights "
                "of a whole U-Net are its argument weights)"
            )


def _check_size(input_shape, padding, depth, up):
    for side, size in zip(("height", "width"), input_shape[:2], strict=True):
        if size is not None:
            _check_side(side, size, padding, depth, up)


def _check_side(side, size, padding, depth, up):
    """Refuse a size that the network does not take, with the nearest that it takes."""
    step = 2**depth
    if _walk(size, depth, up) if padding == "valid" else size % step == 0:
        return
    least = _least(depth, up) if padding == "valid" else step
    below = size - (size - least) % step
    near = f"the next are {below} and {below + step}" if below >= least else f"the least is {least}"
    if padding == "same":
        raise ArgumentError(
            f"a U-Net of depth {depth} takes multiples of {step} pixels a side, got {side} {size}; "
            f"{near}"
        )
    raise ArgumentError(
        f"an unpadded U-Net of depth {depth} takes {least} + {step}k pixels a side, got {side} "
        f"{size}; {near} (padding='same' takes multiples of {step})"
    )
