"""The U-Net of Ronneberger, Fischer and Brox (2015).

O. Ronneberger, P. Fischer, T. Brox: U-Net: Convolutional Networks for Biomedical Image
Segmentation. A path that halves the map and doubles its channels, one that does the reverse, and
maps handed across between stages of one stride. As published no convolution pads: what comes out
is smaller than what went in, and every pixel of it has seen nothing but image.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping
from typing import Any

import keras
from keras import layers

from keras_arch import layers as shared
from keras_arch.errors import ArgumentError
from keras_arch.models.common import pixelwise
from keras_arch.models.common.heads import check_input_shape
from keras_arch.registry import register
from keras_arch.weights import Weights, load_weights

PADDINGS = ("valid", "same")
UPS = ("deconvolution", "bilinear")
# Of the last stages of the contracting path, which the authors' network drops out of.
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
def UNet(
    padding: str | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    classes: int = 2,
    depth: int | None = None,
    filters: int | None = None,
    batch_norm: bool = False,
    up: str = "deconvolution",
    dropout: float = 0.5,
    encoder: str | None = None,
    encoder_arguments: Mapping[str, Any] | None = None,
    encoder_weights: Weights = None,
    classifier_activation: str | None = "softmax",
    synchronized: bool = False,
    weights: Weights = None,
    name: str | None = None,
) -> keras.Model:
    """U-Net: a class for every pixel, from maps of all strides.

    Source: Ronneberger et al. 2015, section 2 and figure 1: 31,030,658 parameters from one channel
    to two classes. Two 3x3 convolutions with ReLU at each stage, 2x2 max-pooling down, 2x2
    up-convolutions with stride 2 that halve the channels, He initialisation. Dropout is where the
    authors' network has it: behind the last two stages of the contracting path.

    Unpadded, the four stages take sizes of 188 + 16k pixels and give 184 less, as
    `unet_output_size` says; `keras_arch.tiling.predict` takes any size.

    Args:
        padding: `"valid"` as published (default), or `"same"` with an output of the input's size,
            of zeros at the borders, for multiples of 2**depth. With an encoder only `"same"`,
            which is then the default.
        input_shape: `(height, width, channels)` in pixels; height and width may be `None`. Default
            (572, 572, 1), padded (256, 256, 1), with an encoder (256, 256, 3).
        classes: Number of classes, 1 for a mask with `classifier_activation="sigmoid"`.
        depth: Halvings. Default 4; with an encoder all that it has.
        filters: Of the first stage, doubled at each halving. Default 64; with an encoder, whose
            maps have their own, those of the expanding path at full size: 16.
        batch_norm: Batch norm after every 3x3 convolution, as common ports have it.
        up: How maps are doubled: `"deconvolution"` learns it (2x2, stride 2, as published);
            `"bilinear"` interpolates after a 1x1 convolution that sets the channels. Unpadded, the
            interpolated border pixels, which have a neighbour missing, are cut off, and sizes are
            others.
        dropout: Rate.
        encoder: A registered backbone instead of the contracting path, such as `"ResNet18"` or
            `"VGG16"`. Its stages are joined by their strides.
        encoder_arguments: Arguments of the backbone's builder, such as `{"variant": "v1.5"}` of a
            ResNet with PyTorch's weights.
        encoder_weights: What the backbone takes as its `weights`, such as a classifier.
        classifier_activation: `"softmax"`, `"sigmoid"`, or `None` for logits.
        synchronized: Batch norm statistics over all replicas of a distribution strategy.
        weights: `None` for random weights, or what `keras_arch.weights.load_weights` takes.
        name: Name of the model. Default `"unet"`, with an encoder `"unet_resnet18"`.

    Returns:
        A `keras.Model` from `image` `(batch, height, width, channels)` to probabilities `(batch,
        height - 184, width - 184, classes)`, padded `(batch, height, width, classes)`. The ends of
        the contracting stages are named `stage1` to `stage5`.

    Raises:
        ArgumentError: If an argument is not one of the above; a size that the network does not
            take names its neighbours that it does.

    Example:
        >>> from keras_arch import models
        >>> models.UNet(filters=4).output_shape
        (None, 388, 388, 2)
        >>> models.UNet("same", (None, None, 3), classes=21, filters=4).output_shape
        (None, None, None, 21)
        >>> models.UNet(encoder="ResNet18", filters=4).output_shape
        (None, 256, 256, 2)
    """
    if padding is None:
        padding = "valid" if encoder is None else "same"
    _check(padding, up, dropout, encoder, encoder_arguments, encoder_weights)
    pixelwise.check_classes(classes, classifier_activation)
    if depth is not None:
        shared.check_positive(depth=depth)
    if filters is None:
        filters = 64 if encoder is None else 16
    shared.check_positive(filters=filters)
    side = _usual_side(padding, depth or 4, up)
    # More than the channels of an image that come first by mistake.
    minimum = 5 if padding == "valid" else min(5, 2 ** (depth or 4))
    input_shape = check_input_shape(
        input_shape, default=(side, side, 3 if encoder else 1), minimum=minimum
    )

    style = _Style(padding, batch_norm, synchronized, up)
    if encoder is None:
        depth = depth or 4
        _check_size(input_shape, padding, depth, up)
        image = keras.Input(input_shape, name="image")
        x, maps = _contract(image, depth, filters, dropout, style)
    else:
        image, x, maps = _encoded(
            encoder, encoder_arguments, encoder_weights, input_shape, depth, synchronized
        )
        depth = max(maps)
        _check_size(input_shape, padding, depth, up)
        if dropout:
            x = layers.Dropout(dropout, name="encoder_dropout")(x)
    x = _expand(x, maps, depth, filters, style)
    x = layers.Conv2D(
        classes,
        1,
        kernel_initializer=shared.he_normal(),
        data_format="channels_last",
        dtype=shared.output_dtype(),
        name="logits",
    )(x)
    x = pixelwise.probabilities(x, classifier_activation)
    with shared.recursion_limit():
        model = keras.Model(
            image, x, name=name or f"unet{'_' + encoder.lower() if encoder else ''}"
        )
    return load_weights(model, weights, "UNet")


def unet_output_size(size: int, depth: int = 4, up: str = "deconvolution") -> int:
    """Pixels a side that the unpadded U-Net gives for so many: 184 less at depth 4.

    Source: Ronneberger et al. 2015, figure 1 (572 to 388).

    Args:
        size: Height or width of the input in pixels.
        depth: Halvings.
        up: As for `UNet`.

    Returns:
        Height or width of the output.

    Raises:
        ArgumentError: If the network does not take the size; the message names its neighbours.

    Example:
        >>> unet_output_size(572)
        388
        >>> unet_output_size(570)
        Traceback (most recent call last):
        keras_arch.errors.ArgumentError: an unpadded U-Net of depth 4 takes 188 + 16k pixels a ...
    """
    shared.check_positive(size=size, depth=depth)
    _check_up(up)
    walked = _walk(size, depth, up)
    if walked is None:
        raise ArgumentError(_unfit("size", size, "valid", depth, up))
    return walked[0]


def unet_sizes(limit: int, depth: int = 4, up: str = "deconvolution") -> list[int]:
    """All sizes that the unpadded U-Net takes.

    Args:
        limit: The largest size in pixels.
        depth: Halvings.
        up: As for `UNet`.

    Returns:
        Heights or widths in pixels, in order.

    Example:
        >>> unet_sizes(240)
        [188, 204, 220, 236]
    """
    shared.check_positive(limit=limit, depth=depth)
    _check_up(up)
    return list(range(_least(depth, up), limit + 1, 2**depth))


@dataclasses.dataclass(frozen=True)
class _Style:
    """What all convolutions of one network have in common."""

    padding: str
    batch_norm: bool
    synchronized: bool
    up: str

    def convolve(self, x, filters, convolution, norm, relu):
        """A 3x3 convolution, batch norm where asked for, and ReLU, by their names."""
        x = layers.Conv2D(
            filters,
            3,
            padding=self.padding,
            use_bias=not self.batch_norm,
            kernel_initializer=shared.he_normal(),
            data_format="channels_last",
            name=convolution,
        )(x)
        if self.batch_norm:
            x = shared.batch_norm(norm, synchronized=self.synchronized)(x)
        return layers.Activation("relu", name=relu)(x)

    def double(self, x, filters, name, end):
        """Both convolutions of a stage, and what the last layer is called."""
        x = self.convolve(x, filters, f"{name}_conv1", f"{name}_norm1", f"{name}_relu1")
        return self.convolve(x, filters, f"{name}_conv2", f"{name}_norm2", end)

    def enlarge(self, x, filters, name):
        """Twice the height and width."""
        if self.up == "deconvolution":
            # A pixel of the output sees one of the input: N of the paper is the channels.
            spread = keras.initializers.RandomNormal(0.0, math.sqrt(2 / x.shape[-1]))
            return layers.Conv2DTranspose(
                filters,
                2,
                strides=2,
                kernel_initializer=spread,
                data_format="channels_last",
                name=name,
            )(x)
        # The channels first: both are linear, and there are four times fewer pixels.
        x = layers.Conv2D(
            filters,
            1,
            kernel_initializer=shared.he_normal(),
            data_format="channels_last",
            name=f"{name}_reduce",
        )(x)
        x = layers.UpSampling2D(
            2, interpolation="bilinear", data_format="channels_last", name=name
        )(x)
        if self.padding == "same":
            return x
        # Beyond the border there is a pixel that only a larger tile knows.
        return layers.Cropping2D(1, data_format="channels_last", name=f"{name}_trim")(x)


def _contract(image, depth, filters, dropout, style):
    """The contracting path: its last map, and those that are handed across by level."""
    x, maps = image, {}
    for level in range(depth + 1):
        if level:
            x = layers.MaxPooling2D(2, data_format="channels_last", name=f"stage{level}_pool")(x)
        x = style.double(x, filters * 2**level, f"stage{level + 1}", f"stage{level + 1}")
        if dropout and level > depth - DROPPED_STAGES:
            x = layers.Dropout(dropout, name=f"stage{level + 1}_dropout")(x)
        maps[level] = x
    return maps.pop(depth), maps


def _encoded(encoder, arguments, weights, input_shape, depth, synchronized):
    """A backbone's image, its last map, and those that are handed across by level."""
    backbone, maps = pixelwise.pyramid(
        encoder,
        input_shape,
        weights,
        argument="encoder",
        arguments=arguments,
        synchronized=synchronized,
    )
    if depth is not None and depth not in maps:
        raise ArgumentError(
            f"depth of a U-Net on {encoder} must be one of "
            f"{', '.join(str(level) for level in maps if level)}, got {depth}"
        )
    deepest = max(maps) if depth is None else depth
    maps = {level: x for level, x in maps.items() if level <= deepest}
    return backbone.input, maps[deepest], maps


def _expand(x, maps, depth, filters, style):
    """The expanding path, up to the size of the first stage."""
    for level in reversed(range(depth)):
        name = f"up{level + 1}"
        x = style.enlarge(x, filters * 2**level, name)
        if level in maps:
            across = maps[level]
            if style.padding == "valid":
                _, crops = _walk(_least(depth, style.up), depth, style.up)
                across = layers.Cropping2D(
                    crops[level], data_format="channels_last", name=f"{name}_crop"
                )(across)
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
    """The size of an input of which nothing is said: the paper's, or the next smaller one."""
    if padding == "same":
        return max(256, 2**depth)
    least = _least(depth, up)
    return max(least, 572 - (572 - least) % 2**depth)


def _check_up(up):
    if up not in UPS:
        raise ArgumentError(f"up must be {' or '.join(map(repr, UPS))}, got {up!r}")


def _check(padding, up, dropout, encoder, encoder_arguments, encoder_weights):
    """Refuse arguments that cannot be, alone or together."""
    if padding not in PADDINGS:
        raise ArgumentError(f"padding must be {' or '.join(map(repr, PADDINGS))}, got {padding!r}")
    if encoder is not None and padding != "same":
        raise ArgumentError(
            f"an encoder pads its maps, so that a U-Net on {encoder} has padding='same', got "
            f"{padding!r}"
        )
    if encoder is None and encoder_arguments is not None:
        raise ArgumentError(
            f"encoder_arguments={encoder_arguments!r} are those of an encoder; name one, such as "
            "encoder='ResNet18'"
        )
    if encoder is None and encoder_weights is not None:
        raise ArgumentError(
            "encoder_weights are those of an encoder; name one, such as encoder='ResNet18', or "
            "give the weights of a whole U-Net as weights"
        )
    _check_up(up)
    number = isinstance(dropout, int | float) and not isinstance(dropout, bool)
    if not number or not 0 <= dropout < 1:
        raise ArgumentError(f"dropout must be a rate in [0, 1), got {dropout!r}")


def _check_size(input_shape, padding, depth, up):
    for side, size in zip(("height", "width"), input_shape[:2], strict=True):
        if size is None:
            continue
        fits = _walk(size, depth, up) if padding == "valid" else size % 2**depth == 0
        if not fits:
            raise ArgumentError(_unfit(side, size, padding, depth, up))


def _unfit(side, size, padding, depth, up):
    """What to say of a size that is not taken: those below and above that are."""
    step = 2**depth
    least = _least(depth, up) if padding == "valid" else step
    below = size - (size - least) % step
    near = f"the next are {below} and {below + step}" if below >= least else f"the least is {least}"
    if padding == "same":
        return (
            f"a U-Net of depth {depth} takes multiples of {step} pixels a side, got {side} {size}; "
            f"{near}"
        )
    return (
        f"an unpadded U-Net of depth {depth} takes {least} + {step}k pixels a side, got {side} "
        f"{size}; {near} (padding='same' takes multiples of {step})"
    )
