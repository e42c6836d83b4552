"""Residual and plain networks for ImageNet (He et al. 2015).

K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition.
"""

import keras
from keras import layers

from keras_arch import layers as shared
from keras_arch.errors import ArgumentError
from keras_arch.models.common.heads import add_classifier, check_input_shape, check_top
from keras_arch.models.common.residual import convolution
from keras_arch.models.common.residual import shortcut as residual_shortcut
from keras_arch.registry import register
from keras_arch.weights import Weights, load_weights

# Blocks of the four stages (table 1), and whether a block is a bottleneck.
BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
BOTTLENECK_FROM = 50
STAGE_FILTERS = (64, 128, 256, 512)
VARIANTS = ("v1", "v1.5")
SHORTCUTS = ("A", "B", "C")
LEAST_SIZE = 32

_PAPER = "He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition (2015)"
_URL = "https://arxiv.org/abs/1512.03385"


@register(
    task="image-classification",
    paper=f"{_PAPER}, table 1",
    url=_URL,
    default_input=(224, 224, 3),
    parameters={
        "": 11_689_512,
        "shortcut='A'": 11_515_688,
        "residual=False": 11_515_688,
    },
)
def ResNet18(
    include_top: bool = True,
    weights: Weights = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    variant: str = "v1",
    shortcut: str = "B",
    residual: bool = True,
    synchronized: bool = False,
    name: str | None = None,
) -> keras.Model:
    """ResNet of 18 weighted layers for ImageNet, in blocks of two 3x3 convolutions.

    Source: He et al. 2015, table 1; shortcuts in sections 3.3 and 4.1.

    Args:
        include_top: End in global average pooling and the classifier.
        weights: `None` for random weights, or what `keras_arch.weights.load_weights` takes.
        input_shape: `(height, width, channels)` in pixels, at least 32x32; height and width may be
            `None`. Default (224, 224, 3).
        pooling: Without top: `"avg"` or `"max"` over the last map, or `None` for the map itself.
        classes: Number of classes.
        classifier_activation: `"softmax"`, or `None` for logits.
        variant: `"v1"` or `"v1.5"`, as for `ResNet50`. Blocks of two convolutions have their
            stride in the first one in both, so that here they are the same network.
        shortcut: `"A"` subsamples and pads with zero channels, without parameters; `"B"` projects
            by a 1x1 convolution where the shape changes (the default, as in all published
            weights); `"C"` projects in every block.
        residual: `False` gives the paper's plain network: the same layers without shortcuts.
        synchronized: Batch norm statistics over all replicas of a distribution strategy.
        name: Name of the model. Default `"resnet18"`, or `"plain18"`.

    Returns:
        A `keras.Model` from `image` `(batch, height, width, channels)` to probabilities
        `(batch, classes)`. The ends of the stages are named `stem` (stride 2) and `stage1` to
        `stage4` (strides 4, 8, 16, 32).

    Raises:
        ArgumentError: If an argument is not one of the above, or the weights do not fit.

    Example:
        >>> from keras_arch import models
        >>> model = models.ResNet18(input_shape=(64, 64, 3), include_top=False)
        >>> model.output_shape
        (None, 2, 2, 512)
    """
    return _resnet(
        18,
        include_top=include_top,
        weights=weights,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        variant=variant,
        shortcut=shortcut,
        residual=residual,
        synchronized=synchronized,
        name=name,
    )


@register(
    task="image-classification",
    paper=f"{_PAPER}, table 1",
    url=_URL,
    default_input=(224, 224, 3),
    parameters={
        "": 21_797_672,
        "shortcut='A'": 21_623_848,
        "residual=False": 21_623_848,
    },
)
def ResNet34(
    include_top: bool = True,
    weights: Weights = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    variant: str = "v1",
    shortcut: str = "B",
    residual: bool = True,
    synchronized: bool = False,
    name: str | None = None,
) -> keras.Model:
    """ResNet of 34 weighted layers for ImageNet, in blocks of two 3x3 convolutions.

    Source: He et al. 2015, table 1 and figure 3.

    Args:
        include_top: As for `ResNet18`, like all others.
        weights: What to start from.
        input_shape: `(height, width, channels)`. Default (224, 224, 3).
        pooling: Without top: `"avg"`, `"max"` or `None`.
        classes: Number of classes.
        classifier_activation: `"softmax"`, or `None` for logits.
        variant: `"v1"` or `"v1.5"`: here the same network.
        shortcut: `"A"`, `"B"` (default) or `"C"`.
        residual: `False` gives the paper's plain network.
        synchronized: Batch norm statistics over all replicas of a distribution strategy.
        name: Name of the model. Default `"resnet34"`, or `"plain34"`.

    Returns:
        A `keras.Model` with the inputs, outputs and stages of `ResNet18`.

    Raises:
        ArgumentError: If an argument is not one of the above, or the weights do not fit.

    Example:
        >>> from keras_arch import models
        >>> plain = models.ResNet34(input_shape=(32, 32, 3), residual=False)
        >>> models.trainable_parameters(plain)
        21623848
    """
    return _resnet(
        34,
        include_top=include_top,
        weights=weights,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        variant=variant,
        shortcut=shortcut,
        residual=residual,
        synchronized=synchronized,
        name=name,
    )


@register(
    task="image-classification",
    paper=f"{_PAPER}, table 1",
    url=_URL,
    default_input=(224, 224, 3),
    parameters={"": 25_557_032, "variant='v1.5'": 25_557_032},
)
def ResNet50(
    include_top: bool = True,
    weights: Weights = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    variant: str = "v1",
    shortcut: str = "B",
    synchronized: bool = False,
    name: str | None = None,
) -> keras.Model:
    """ResNet of 50 weighted layers for ImageNet, in bottleneck blocks of 1x1, 3x3, 1x1.

    Source: He et al. 2015, table 1 and figure 5. 1-crop error on ImageNet, as the authors report
    for their own weights: 24.7 % (top 1), 7.8 % (top 5).

    Args:
        include_top: End in global average pooling and the classifier.
        weights: `None` for random weights, or what `keras_arch.weights.load_weights` takes.
        input_shape: `(height, width, channels)` in pixels, at least 32x32; height and width may be
            `None`. Default (224, 224, 3).
        pooling: Without top: `"avg"` or `"max"` over the last map, or `None` for the map itself.
        classes: Number of classes.
        classifier_activation: `"softmax"`, or `None` for logits.
        variant: Where a block halves the map: `"v1"` in its first 1x1 convolution (the paper, the
            authors' weights and `keras.applications`; the default), `"v1.5"` in the 3x3 one
            (fb.resnet.torch, torchvision, timm). Weights of one give wrong figures in the other.
        shortcut: `"A"` subsamples and pads with zero channels, without parameters; `"B"` projects
            by a 1x1 convolution where the shape changes (the default, as in all published
            weights); `"C"` projects in every block.
        synchronized: Batch norm statistics over all replicas of a distribution strategy.
        name: Name of the model. Default `"resnet50"`.

    Returns:
        A `keras.Model` from `image` `(batch, height, width, channels)` to probabilities
        `(batch, classes)`. The ends of the stages are named `stem` (stride 2) and `stage1` to
        `stage4` (strides 4, 8, 16, 32).

    Raises:
        ArgumentError: If an argument is not one of the above, or the weights do not fit.

    Example:
        >>> from keras_arch import models
        >>> model = models.ResNet50(input_shape=(None, None, 3), include_top=False, pooling="avg")
        >>> model.output_shape
        (None, 2048)
    """
    return _resnet(
        50,
        include_top=include_top,
        weights=weights,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        variant=variant,
        shortcut=shortcut,
        residual=True,
        synchronized=synchronized,
        name=name,
    )


@register(
    task="image-classification",
    paper=f"{_PAPER}, table 1",
    url=_URL,
    default_input=(224, 224, 3),
    parameters={"": 44_549_160, "variant='v1.5'": 44_549_160},
)
def ResNet101(
    include_top: bool = True,
    weights: Weights = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    variant: str = "v1",
    shortcut: str = "B",
    synchronized: bool = False,
    name: str | None = None,
) -> keras.Model:
    """ResNet of 101 weighted layers for ImageNet, in bottleneck blocks of 1x1, 3x3, 1x1.

    Source: He et al. 2015, table 1. 1-crop error on ImageNet, as the authors report for their own
    weights: 23.6 % (top 1), 7.1 % (top 5).

    Args:
        include_top: As for `ResNet50`, like all others.
        weights: What to start from.
        input_shape: `(height, width, channels)`. Default (224, 224, 3).
        pooling: Without top: `"avg"`, `"max"` or `None`.
        classes: Number of classes.
        classifier_activation: `"softmax"`, or `None` for logits.
        variant: `"v1"` (default) or `"v1.5"`.
        shortcut: `"A"`, `"B"` (default) or `"C"`.
        synchronized: Batch norm statistics over all replicas of a distribution strategy.
        name: Name of the model. Default `"resnet101"`.

    Returns:
        A `keras.Model` with the inputs, outputs and stages of `ResNet50`.

    Raises:
        ArgumentError: If an argument is not one of the above, or the weights do not fit.

    Example:
        >>> from keras_arch import registry
        >>> registry.entry("ResNet101").parameters[""]
        44549160
    """
    return _resnet(
        101,
        include_top=include_top,
        weights=weights,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        variant=variant,
        shortcut=shortcut,
        residual=True,
        synchronized=synchronized,
        name=name,
    )


@register(
    task="image-classification",
    paper=f"{_PAPER}, table 1",
    url=_URL,
    default_input=(224, 224, 3),
    parameters={"": 60_192_808, "variant='v1.5'": 60_192_808},
)
def ResNet152(
    include_top: bool = True,
    weights: Weights = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    variant: str = "v1",
    shortcut: str = "B",
    synchronized: bool = False,
    name: str | None = None,
) -> keras.Model:
    """ResNet of 152 weighted layers for ImageNet, in bottleneck blocks of 1x1, 3x3, 1x1.

    Source: He et al. 2015, table 1. 1-crop error on ImageNet, as the authors report for their own
    weights: 23.0 % (top 1), 6.7 % (top 5).

    Args:
        include_top: As for `ResNet50`, like all others.
        weights: What to start from.
        input_shape: `(height, width, channels)`. Default (224, 224, 3).
        pooling: Without top: `"avg"`, `"max"` or `None`.
        classes: Number of classes.
        classifier_activation: `"softmax"`, or `None` for logits.
        variant: `"v1"` (default) or `"v1.5"`.
        shortcut: `"A"`, `"B"` (default) or `"C"`.
        synchronized: Batch norm statistics over all replicas of a distribution strategy.
        name: Name of the model. Default `"resnet152"`.

    Returns:
        A `keras.Model` with the inputs, outputs and stages of `ResNet50`.

    Raises:
        ArgumentError: If an argument is not one of the above, or the weights do not fit.

    Example:
        >>> from keras_arch import registry
        >>> registry.entry("ResNet152").parameters[""]
        60192808
    """
    return _resnet(
        152,
        include_top=include_top,
        weights=weights,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        variant=variant,
        shortcut=shortcut,
        residual=True,
        synchronized=synchronized,
        name=name,
    )


def _resnet(
    depth,
    *,
    include_top,
    weights,
    input_shape,
    pooling,
    classes,
    classifier_activation,
    variant,
    shortcut,
    residual,
    synchronized,
    name,
):
    """The network of one depth."""
    if variant not in VARIANTS:
        raise ArgumentError(
            "variant must be 'v1' (stride in a block's first 1x1 convolution) or 'v1.5' (in its "
            f"3x3), got {variant!r}"
        )
    if shortcut not in SHORTCUTS:
        raise ArgumentError(
            "shortcut must be 'A' (zero padding), 'B' (projection where the shape changes) or 'C' "
            f"(projection always), got {shortcut!r}"
        )
    check_top(include_top, pooling, classes, classifier_activation)
    input_shape = check_input_shape(input_shape, default=(224, 224, 3), minimum=LEAST_SIZE)

    image = keras.Input(input_shape, name="image")
    x = convolution(image, 64, 7, 2, "stem", synchronized=synchronized)
    x = layers.Activation("relu", name="stem")(x)
    # After ReLU zeros around the map are what minus infinity would be to the maximum.
    x = layers.ZeroPadding2D(1, data_format="channels_last", name="stem_pool_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, data_format="channels_last", name="stem_pool")(x)
    block = _bottleneck if depth >= BOTTLENECK_FROM else _basic_block
    for stage, (filters, count) in enumerate(
        zip(STAGE_FILTERS, BLOCKS[depth], strict=True), start=1
    ):
        for number in range(1, count + 1):
            x = block(
                x,
                filters,
                stride=2 if stage > 1 and number == 1 else 1,
                variant=variant,
                # A plain network has no shortcut of any kind.
                shortcut=shortcut if residual else None,
                synchronized=synchronized,
                prefix=f"stage{stage}_block{number}",
                # The end of a stage carries the stage's name: users ask for features by it.
                name=f"stage{stage}" if number == count else f"stage{stage}_block{number}",
            )
    output = add_classifier(
        x,
        include_top=include_top,
        pooling=pooling,
        classes=classes,
        activation=classifier_activation,
        kernel_initializer=shared.he_normal(),
    )
    with shared.recursion_limit():
        model = keras.Model(
            image, output, name=name or f"{'resnet' if residual else 'plain'}{depth}"
        )
    # Neither shows in the shapes of the weights.
    settings = {"residual": residual} | ({"variant": variant} if depth >= BOTTLENECK_FROM else {})
    return load_weights(model, weights, f"ResNet{depth}", **settings)


def _basic_block(x, filters, *, stride, variant, shortcut, synchronized, prefix, name):
    """Two 3x3 convolutions; the stride is the first one's in both variants."""
    parts = [(filters, 3, stride), (filters, 3, 1)]
    return _block(x, parts, shortcut, synchronized, prefix, name)


def _bottleneck(x, filters, *, stride, variant, shortcut, synchronized, prefix, name):
    """Down to `filters` channels by 1x1, a 3x3 there, and up to four times as many by 1x1."""
    first, second = (stride, 1) if variant == "v1" else (1, stride)
    parts = [(filters, 1, first), (filters, 3, second), (4 * filters, 1, 1)]
    return _block(x, parts, shortcut, synchronized, prefix, name)


def _block(x, parts, shortcut, synchronized, prefix, name):
    """Convolutions of `(filters, kernel, stride)` in a row, and the identity around them."""
    identity = x
    for number, (filters, kernel, stride) in enumerate(parts, start=1):
        part = f"{prefix}_{number}"
        x = convolution(x, filters, kernel, stride, part, synchronized=synchronized)
        if number < len(parts):
            x = layers.Activation("relu", name=part)(x)
    if shortcut is not None:
        strides = max(stride for _, _, stride in parts)
        identity = residual_shortcut(
            identity, x.shape[-1], strides, shortcut, prefix, synchronized=synchronized
        )
        x = layers.Add(name=f"{prefix}_add")([x, identity])
    return layers.Activation("relu", name=name)(x)
