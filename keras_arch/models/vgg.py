"""The networks of 3x3 convolutions of Simonyan and Zisserman (2014).

K. Simonyan, A. Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition.
"""

import keras
from keras import layers

from keras_arch import layers as shared
from keras_arch.errors import ArgumentError
from keras_arch.models.common.heads import check_input_shape, check_top, classify, without_top
from keras_arch.registry import register
from keras_arch.weights import Weights, load_weights

# Filters of the convolutions of each of the five stages (table 1).
CONFIGURATIONS = {
    "A": ((64,), (128,), (256,) * 2, (512,) * 2, (512,) * 2),
    "B": ((64,) * 2, (128,) * 2, (256,) * 2, (512,) * 2, (512,) * 2),
    "D": ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3),
    "E": ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4),
}
# A with local response normalisation after its first convolution; D with a 1x1 convolution as the
# last one of the stages that have three.
CONFIGURATIONS |= {"A-LRN": CONFIGURATIONS["A"], "C": CONFIGURATIONS["D"]}
LEAST_SIZE = 32

_PAPER = (
    "Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition (2014)"
)
_URL = "https://arxiv.org/abs/1409.1556"


@register(
    task="image-classification",
    paper=f"{_PAPER}, configuration A",
    url=_URL,
    default_input=(224, 224, 3),
    parameters={
        "": 132_863_336,
        "variant='A-LRN'": 132_863_336,
        "batch_norm=True": 132_868_840,
    },
)
def VGG11(
    include_top: bool = True,
    weights: Weights = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    variant: str = "A",
    batch_norm: bool = False,
    units: int = 4096,
    synchronized: bool = False,
    name: str | None = None,
) -> keras.Model:
    """VGG of 11 weighted layers: 8 3x3 convolutions in five stages, three dense layers.

    Source: Simonyan and Zisserman 2014, table 1, column A.

    Args:
        include_top: As for `VGG16`, like all others.
        weights: What to start from.
        input_shape: `(height, width, channels)`. Default (224, 224, 3).
        pooling: Without top: `"avg"`, `"max"` or `None`.
        classes: Number of classes.
        classifier_activation: `"softmax"`, or `None` for logits.
        variant: `"A"` (default), or `"A-LRN"` with local response normalisation after the first
            convolution, which the paper found to bring nothing.
        batch_norm: Batch norm after every convolution.
        units: Width of `fc6` and `fc7`.
        synchronized: Batch norm statistics over all replicas of a distribution strategy.
        name: Name of the model. Default `"vgg11"`, with batch norm `"vgg11_bn"`.

    Returns:
        A `keras.Model` with the inputs, outputs and names of `VGG16`.

    Raises:
        ArgumentError: If an argument is not one of the above, or the weights do not fit.

    Example:
        >>> from keras_arch import models
        >>> model = models.VGG11(input_shape=(32, 32, 3), classes=10, units=64)
        >>> model.output_shape
        (None, 10)
    """
    return _vgg(
        11,
        include_top=include_top,
        weights=weights,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        variant=variant,
        batch_norm=batch_norm,
        units=units,
        synchronized=synchronized,
        name=name,
    )


@register(
    task="image-classification",
    paper=f"{_PAPER}, configuration B",
    url=_URL,
    default_input=(224, 224, 3),
    parameters={"": 133_047_848, "batch_norm=True": 133_053_736},
)
def VGG13(
    include_top: bool = True,
    weights: Weights = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    batch_norm: bool = False,
    units: int = 4096,
    synchronized: bool = False,
    name: str | None = None,
) -> keras.Model:
    """VGG of 13 weighted layers: 10 3x3 convolutions in five stages, three dense layers.

    Source: Simonyan and Zisserman 2014, table 1, column B.

    Args:
        include_top: As for `VGG16`, like all others.
        weights: What to start from.
        input_shape: `(height, width, channels)`. Default (224, 224, 3).
        pooling: Without top: `"avg"`, `"max"` or `None`.
        classes: Number of classes.
        classifier_activation: `"softmax"`, or `None` for logits.
        batch_norm: Batch norm after every convolution.
        units: Width of `fc6` and `fc7`.
        synchronized: Batch norm statistics over all replicas of a distribution strategy.
        name: Name of the model. Default `"vgg13"`, with batch norm `"vgg13_bn"`.

    Returns:
        A `keras.Model` with the inputs, outputs and names of `VGG16`.

    Raises:
        ArgumentError: If an argument is not one of the above, or the weights do not fit.

    Example:
        >>> from keras_arch import registry
        >>> registry.entry("VGG13").parameters[""]
        133047848
    """
    return _vgg(
        13,
        include_top=include_top,
        weights=weights,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        variant="B",
        batch_norm=batch_norm,
        units=units,
        synchronized=synchronized,
        name=name,
    )


@register(
    task="image-classification",
    paper=f"{_PAPER}, configuration D",
    url=_URL,
    default_input=(224, 224, 3),
    parameters={
        "": 138_357_544,
        "variant='C'": 133_638_952,
        "include_top=False": 14_714_688,
        "batch_norm=True": 138_365_992,
    },
)
def VGG16(
    include_top: bool = True,
    weights: Weights = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    variant: str = "D",
    batch_norm: bool = False,
    units: int = 4096,
    synchronized: bool = False,
    name: str | None = None,
) -> keras.Model:
    """VGG of 16 weighted layers: 13 3x3 convolutions in five stages, three dense layers.

    Source: Simonyan and Zisserman 2014, table 1, columns C and D.

    Args:
        include_top: End in the dense layers. They need a fixed size; the paper's 224x224 gives
            them a map of 7x7, and other sizes change the shape of `fc6`.
        weights: `None` for random weights, or what `keras_arch.weights.load_weights` takes.
        input_shape: `(height, width, channels)` in pixels, at least 32x32; without top, height
            and width may be `None`. Default (224, 224, 3).
        pooling: Without top: `"avg"` or `"max"` over the last map, or `None` for the map itself.
        classes: Number of classes.
        classifier_activation: `"softmax"`, or `None` for logits.
        variant: `"D"` (default: what VGG16 means since), or `"C"` with a 1x1 convolution as the
            last of each of the stages 3 to 5.
        batch_norm: Batch norm after every convolution, as common ports offer it (the paper is from
            before batch norm).
        units: Width of `fc6` and `fc7`.
        synchronized: Batch norm statistics over all replicas of a distribution strategy.
        name: Name of the model. Default `"vgg16"`, with batch norm `"vgg16_bn"`.

    Returns:
        A `keras.Model` from `image` `(batch, height, width, channels)` to probabilities
        `(batch, classes)`. Layers are named as the authors' own: `conv1_1`, `relu1_1`, `pool1` to
        `pool5`, `fc6`, `fc7`; the five pooled maps are `stage1` to `stage5` (strides 2 to 32).

    Raises:
        ArgumentError: If an argument is not one of the above, or the weights do not fit.

    Example:
        >>> from keras_arch import models
        >>> model = models.VGG16(include_top=False, input_shape=(64, 64, 3))
        >>> models.trainable_parameters(model), model.output_shape
        (14714688, (None, 2, 2, 512))
    """
    return _vgg(
        16,
        include_top=include_top,
        weights=weights,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        variant=variant,
        batch_norm=batch_norm,
        units=units,
        synchronized=synchronized,
        name=name,
    )


@register(
    task="image-classification",
    paper=f"{_PAPER}, configuration E",
    url=_URL,
    default_input=(224, 224, 3),
    parameters={
        "": 143_667_240,
        "include_top=False": 20_024_384,
        "batch_norm=True": 143_678_248,
    },
)
def VGG19(
    include_top: bool = True,
    weights: Weights = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    batch_norm: bool = False,
    units: int = 4096,
    synchronized: bool = False,
    name: str | None = None,
) -> keras.Model:
    """VGG of 19 weighted layers: 16 3x3 convolutions in five stages, three dense layers.

    Source: Simonyan and Zisserman 2014, table 1, column E.

    Args:
        include_top: As for `VGG16`, like all others.
        weights: What to start from.
        input_shape: `(height, width, channels)`. Default (224, 224, 3).
        pooling: Without top: `"avg"`, `"max"` or `None`.
        classes: Number of classes.
        classifier_activation: `"softmax"`, or `None` for logits.
        batch_norm: Batch norm after every convolution.
        units: Width of `fc6` and `fc7`.
        synchronized: Batch norm statistics over all replicas of a distribution strategy.
        name: Name of the model. Default `"vgg19"`, with batch norm `"vgg19_bn"`.

    Returns:
        A `keras.Model` with the inputs, outputs and names of `VGG16`.

    Raises:
        ArgumentError: If an argument is not one of the above, or the weights do not fit.

    Example:
        >>> from keras_arch import registry
        >>> registry.entry("VGG19").parameters[""]
        143667240
    """
    return _vgg(
        19,
        include_top=include_top,
        weights=weights,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        variant="E",
        batch_norm=batch_norm,
        units=units,
        synchronized=synchronized,
        name=name,
    )


def _vgg(
    depth,
    *,
    include_top,
    weights,
    input_shape,
    pooling,
    classes,
    classifier_activation,
    variant,
    batch_norm,
    units,
    synchronized,
    name,
):
    """The network of one column of table 1."""
    offered = {11: ("A", "A-LRN"), 16: ("D", "C")}.get(depth, (variant,))
    if variant not in offered:
        raise ArgumentError(
            f"variant of VGG{depth} must be {' or '.join(map(repr, offered))}, got {variant!r}"
        )
    check_top(include_top, pooling, classes, classifier_activation)
    shared.check_positive(units=units)
    input_shape = check_input_shape(
        input_shape, default=(224, 224, 3), minimum=LEAST_SIZE, dynamic=not include_top
    )

    x = image = keras.Input(input_shape, name="image")
    for stage, row in enumerate(CONFIGURATIONS[variant], start=1):
        for number, filters in enumerate(row, start=1):
            pointwise = variant == "C" and number == 3
            x = layers.Conv2D(
                filters,
                1 if pointwise else 3,
                padding="same",
                data_format="channels_last",
                name=f"conv{stage}_{number}",
            )(x)
            if batch_norm:
                norm = f"conv{stage}_{number}_norm"
                x = shared.batch_norm(norm, synchronized=synchronized)(x)
            x = layers.Activation("relu", name=f"relu{stage}_{number}")(x)
            if variant == "A-LRN" and stage == 1:
                x = shared.local_response_norm(x, "norm1")
        x = layers.MaxPooling2D(2, data_format="channels_last", name=f"pool{stage}")(x)
        # The same map under the name that all families give to the end of a stage.
        x = layers.Identity(name=f"stage{stage}")(x)
    if include_top:
        x = layers.Flatten(data_format="channels_last", name="flatten")(x)
        for number in (6, 7):
            x = layers.Dense(units, name=f"fc{number}")(x)
            x = layers.Activation("relu", name=f"relu{number}")(x)
            x = layers.Dropout(0.5, name=f"drop{number}")(x)
        output = classify(x, classes, classifier_activation, kernel_initializer="glorot_uniform")
    else:
        output = without_top(x, pooling)
    model = keras.Model(image, output, name=name or f"vgg{depth}{'_bn' if batch_norm else ''}")
    return load_weights(model, weights, f"VGG{depth}", variant=variant)
