"""Residual and plain networks for 32x32 images (He et al. 2015, section 4.2).

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

STAGE_FILTERS = (16, 32, 64)


@register(
    task="image-classification",
    paper="He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition (2015), section 4.2",
    url="https://arxiv.org/abs/1512.03385",
    default_input=(32, 32, 3),
    parameters={
        "depth=20": 269_722,
        "depth=32": 464_154,
        "depth=44": 658_586,
        "depth=56": 853_018,
        "depth=110": 1_727_962,
        "depth=1202": 19_421_274,
        "depth=20, residual=False": 269_722,
        "depth=56, residual=False": 853_018,
        "depth=20, shortcut='B'": 269_722 + 2_752,
        "depth=56, shortcut='B'": 853_018 + 2_752,
    },
)
def CIFARResNet(
    depth: int = 20,
    residual: bool = True,
    shortcut: str = "A",
    include_top: bool = True,
    weights: Weights = None,
    input_shape: tuple[int, int, int] | None = None,
    pooling: str | None = None,
    classes: int = 10,
    classifier_activation: str | None = "softmax",
    synchronized: bool = False,
    name: str | None = None,
) -> keras.Model:
    """ResNet for CIFAR-10: three stages of 16, 32 and 64 filters, 6n+2 weighted layers.

    Source: He et al. 2015, section 4.2 and table 6.

    Args:
        depth: Number of weighted layers, 6n+2. The paper has 20, 32, 44, 56, 110 and 1202.
        residual: `False` gives the paper's plain network: the same layers without shortcuts.
        shortcut: Where the width changes, `"A"` subsamples and pads with zero channels (the
            paper's choice on CIFAR; no parameters), `"B"` projects with a 1x1 convolution and
            batch norm.
        include_top: End in global average pooling and the classifier.
        weights: `None` for random weights, or what `keras_arch.weights.load_weights` takes.
        input_shape: `(height, width, channels)` in pixels. Default (32, 32, 3).
        pooling: Without top: `"avg"` or `"max"` over the last map, or `None` for the map itself.
        classes: Number of classes.
        classifier_activation: `"softmax"`, or `None` for logits.
        synchronized: Batch norm statistics over all replicas of a distribution strategy.
        name: Name of the model. Default `"resnet20"`, `"plain20"`, ...

    Returns:
        A `keras.Model` from `image` `(batch, height, width, channels)` to probabilities
        `(batch, classes)`. The stages' outputs are named `stage1` to `stage3`. (Stock Keras needs
        `sys.setrecursionlimit(10_000)` before it can load a network of hundreds of layers.)

    Raises:
        ArgumentError: If the depth is not 6n+2, the shortcut is neither A nor B, or the input
            is no image.

    Example:
        >>> from keras_arch import models
        >>> model = models.CIFARResNet(depth=20)
        >>> models.trainable_parameters(model)
        269722
    """
    if not isinstance(depth, int) or depth < 8 or (depth - 2) % 6:
        nearest = [d for d in _nearest_depths(depth) if d >= 8]
        raise ArgumentError(
            f"depth must be 6n+2 (20, 32, 44, 56, 110, 1202 in the paper), got {depth!r}; "
            f"the nearest are {' and '.join(map(str, nearest))}"
        )
    if shortcut not in ("A", "B"):
        raise ArgumentError(
            f"shortcut must be 'A' (zero padding) or 'B' (projection), got {shortcut!r}"
        )
    check_top(include_top, pooling, classes, classifier_activation)
    input_shape = check_input_shape(input_shape, default=(32, 32, 3), minimum=4)

    image = keras.Input(input_shape, name="image")
    x = convolution(image, STAGE_FILTERS[0], 3, 1, "stem", synchronized=synchronized)
    x = layers.Activation("relu", name="stem")(x)
    blocks_per_stage = (depth - 2) // 6
    for stage, filters in enumerate(STAGE_FILTERS, start=1):
        for block in range(1, blocks_per_stage + 1):
            last = block == blocks_per_stage
            x = _block(
                x,
                filters,
                stride=2 if stage > 1 and block == 1 else 1,
                residual=residual,
                shortcut=shortcut,
                synchronized=synchronized,
                prefix=f"stage{stage}_block{block}",
                # The end of a stage carries the stage's name: users ask for features by it.
                name=f"stage{stage}" if last else f"stage{stage}_block{block}",
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
    return load_weights(model, weights, "CIFARResNet", residual=residual)


def _block(x, filters, *, stride, residual, shortcut, synchronized, prefix, name):
    """Two 3x3 convolutions, with the identity added where the network is residual."""
    identity = x
    x = convolution(x, filters, 3, stride, f"{prefix}_1", synchronized=synchronized)
    x = layers.Activation("relu", name=f"{prefix}_1")(x)
    x = convolution(x, filters, 3, 1, f"{prefix}_2", synchronized=synchronized)
    if residual:
        identity = residual_shortcut(
            identity, filters, stride, shortcut, prefix, synchronized=synchronized
        )
        x = layers.Add(name=f"{prefix}_add")([x, identity])
    return layers.Activation("relu", name=name)(x)


def _nearest_depths(depth):
    if not isinstance(depth, int) or depth < 8:
        return (8, 14)
    below = depth - (depth - 2) % 6
    return (below, below + 6)
