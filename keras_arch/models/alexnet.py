"""AlexNet, winner of the ImageNet challenge of 2012 (Krizhevsky et al. 2012)."""

import dataclasses
import math

import keras
from keras import layers, ops

from keras_arch.errors import whole_number
from keras_arch.layers import ceil_max_pool, local_response_norm
from keras_arch.models.common import channels_last
from keras_arch.models.common.arguments import document
from keras_arch.models.common.checks import check_choice
from keras_arch.models.common.heads import Head, check_input_shape
from keras_arch.registry import register
from keras_arch.weights import Source, Weights, load_weights, open_source


@dataclasses.dataclass(frozen=True)
class Variant:
    """Constants of one variant.

    Attributes:
        size: Side of the default input in pixels.
        least: The least side for which all windows fit.
        filters: Of the five convolutions.
        towers: Number of parts in which convolutions 2, 4 and 5 see their input.
        norm: `(k, alpha)` of the local response normalisation, alpha times the sum.
        bias: Initial biases of convolutions 2, 4, 5 and of the hidden dense layers; `None` for
            PyTorch's own initialisation of everything.
        dense_deviation: Standard deviation of the initial weights of the hidden dense layers.
    """

    size: int = 227
    least: int = 67
    filters: tuple[int, int, int, int, int] = (96, 256, 384, 384, 256)
    towers: int = 1
    norm: tuple[float, float] | None = (2.0, 1e-4)
    bias: float | None = 1.0
    dense_deviation: float = 0.01


VARIANTS = {
    "paper": Variant(towers=2),
    # Caffe divides alpha by the five channels of the sum.
    "bvlc": Variant(towers=2, norm=(1.0, 1e-4 / 5), bias=0.1, dense_deviation=0.005),
    "one_tower": Variant(),
    "torchvision": Variant(
        size=224, least=63, filters=(64, 192, 384, 256, 256), norm=None, bias=None
    ),
}

# Sides of the convolutions' windows in pixels.
KERNELS = (11, 5, 3, 3, 3)


@register(
    task="image-classification",
    paper=(
        "Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional Neural "
        "Networks (2012)"
    ),
    url="https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks",
    default_input=(227, 227, 3),
    parameters={
        "": 60_965_224,
        "variant='bvlc'": 60_965_224,
        "variant='one_tower'": 62_378_344,
        "variant='torchvision'": 61_100_840,
    },
)
@document
def AlexNet(
    variant: str | None = None,
    *,
    input_shape: tuple[int | None, int | None, int] | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    include_top: bool = True,
    pooling: str | None = None,
    units: int = 4096,
    weights: Weights = None,
    name: str | None = None,
) -> keras.Model:
    """AlexNet: five convolutions in two towers, local response normalisation, three dense layers.

    Source: Krizhevsky et al. 2012, sections 3 (architecture) and 5 (initialisation).

    Args:
        variant: `"paper"`: convolutions 2, 4 and 5 are in two towers that do not see each
            other. `"bvlc"`: the same with the constants of Caffe's bvlc_alexnet. `"one_tower"`:
            the paper's without the split. `"torchvision"`: narrower, without normalisation, and
            with dropout before `fc6` and `fc7` instead of after them. Default: that of `weights`,
            if they are a model (`"imagenet"` is torchvision's); else the paper's.
        input_shape: `(height, width, channels)` in pixels, at least 67x67 (`"torchvision"`
            63x63); without top, height and width may be `None`. Default (227, 227, 3), with which
            the paper's windows fit (it says 224), `"torchvision"` (224, 224, 3).
        include_top: End in the dense layers. They need a fixed size, and other sizes than the
            default change the shape of `fc6` (not for `"torchvision"`, which pools to 6x6).
        units: Width of `fc6` and `fc7`.

    Returns:
        A `keras.Model` from `image` `(batch, height, width, channels)` to probabilities
        `(batch, classes)`. Layers are named as Caffe's: `conv1`, `relu1`, `norm1`, `pool1`, `fc6`;
        the parts of a split convolution are `conv2_tower1` and `conv2_tower2`. The three pooled
        maps are `stage1` to `stage3` (strides 8, 16, 32).

    Example:
        >>> from keras_arch import models
        >>> model = models.AlexNet(include_top=False, variant="torchvision")
        >>> model.output_shape
        (None, 6, 6, 256)
    """
    check_choice("variant", variant, (*VARIANTS, None))
    weights = open_source(weights, "AlexNet", **({"variant": variant} if variant else {}))
    if isinstance(weights, Source) and weights.architecture == "AlexNet":
        # Constants of the normalisation show in no weight: a card without a variant is of the
        # paper's, as that is built without one.
        known = {"variant": _variant_of(weights)} | dict(weights.arguments)
        weights = dataclasses.replace(weights, arguments=known)
    variant = variant or _variant_of(weights)
    chosen = VARIANTS[variant]
    torchvision = variant == "torchvision"
    head = Head(include_top, pooling, classes, classifier_activation)
    units = whole_number("units", units)
    input_shape = check_input_shape(
        input_shape,
        default=(chosen.size, chosen.size, 3),
        minimum=chosen.least,
        dynamic=not include_top,
    )

    x = image = keras.Input(input_shape, name="image")
    if torchvision:
        x = channels_last.ZeroPadding2D(2, name="conv1_pad")(x)
    for number in range(1, 6):
        x = _convolution(x, number, chosen)
        x = layers.Activation("relu", name=f"relu{number}")(x)
        if number <= 2 and chosen.norm:
            k, alpha = chosen.norm
            x = local_response_norm(x, f"norm{number}", k=k, alpha=alpha)
        if number in (1, 2, 5):
            # Overlapping windows, of which the number is rounded up except in PyTorch.
            if torchvision:
                x = channels_last.MaxPooling2D(3, strides=2, name=f"pool{number}")(x)
            else:
                x = ceil_max_pool(x, 3, 2, f"pool{number}")
            # The same map under the name that all families give to the end of a stage.
            x = layers.Identity(name=f"stage{min(number, 3)}")(x)
    if not include_top:
        output = head.pool(x)
    else:
        if torchvision and x.shape[1:3] != (6, 6):
            if 1 in x.shape[1:3]:
                # Keras' adaptive pooling does not spread a single pixel in a traced graph.
                repeats = tuple(6 if side == 1 else 1 for side in x.shape[1:3])
                x = channels_last.UpSampling2D(repeats, name="pool6_repeat")(x)
            x = channels_last.AdaptiveAveragePooling2D(6, name="pool6")(x)
        x = channels_last.Flatten(name="flatten")(x)
        for number in (6, 7):
            x = _dense(x, number, units, chosen, dropout_first=torchvision)
        start, bias = _start(chosen, x.shape[-1], 0.01, 0.0)
        output = head.classify(x, kernel_initializer=start, bias_initializer=bias)
    model = keras.Model(image, output, name=name or "alexnet")
    return load_weights(model, weights, "AlexNet", variant=variant)


def _variant_of(weights):
    """The variant of a model's weights, by its card or by its layers; else the paper's."""
    if not isinstance(weights, Source):
        return "paper"
    if known := weights.arguments.get("variant"):
        return known
    names = {layer.name for layer in weights.model.layers}
    if "conv1_pad" in names:
        return "torchvision"
    return "one_tower" if "conv2" in names and "conv2_tower1" not in names else "paper"


def _convolution(x, number, chosen):
    """A convolution, of which each tower reads and writes its own part of the channels."""
    filters, kernel = chosen.filters[number - 1], KERNELS[number - 1]
    split = number in (2, 4, 5)
    towers = chosen.towers if split else 1
    # Slices and not `groups`: TensorFlow has grouped convolutions on a CPU only through XLA, which
    # is slower, and which a served model may not have.
    parts = ops.split(x, towers, axis=-1) if towers > 1 else [x]
    maps = []
    for tower, part in enumerate(parts, start=1):
        fan_in = kernel * kernel * part.shape[-1]
        start, bias = _start(chosen, fan_in, 0.01, chosen.bias if split else 0.0)
        convolve = channels_last.Conv2D(
            filters // towers,
            kernel,
            strides=4 if number == 1 else 1,
            padding="valid" if number == 1 else "same",
            kernel_initializer=start,
            bias_initializer=bias,
            name=f"conv{number}_tower{tower}" if towers > 1 else f"conv{number}",
        )
        maps.append(convolve(part))
    return layers.Concatenate(name=f"conv{number}")(maps) if towers > 1 else maps[0]


def _dense(x, number, units, chosen, *, dropout_first):
    """A hidden dense layer with ReLU and dropout."""
    dropout = layers.Dropout(0.5, name=f"drop{number}")
    if dropout_first:
        x = dropout(x)
    start, bias = _start(chosen, x.shape[-1], chosen.dense_deviation, chosen.bias)
    x = layers.Dense(units, kernel_initializer=start, bias_initializer=bias, name=f"fc{number}")(x)
    x = layers.Activation("relu", name=f"relu{number}")(x)
    return x if dropout_first else dropout(x)


def _start(chosen, fan_in, deviation, bias):
    """Fresh initializers of a kernel and a bias."""
    if chosen.bias is None:
        bound = 1 / math.sqrt(fan_in)
        uniform = keras.initializers.RandomUniform
        return uniform(-bound, bound), uniform(-bound, bound)
    return keras.initializers.RandomNormal(0.0, deviation), keras.initializers.Constant(bias)
