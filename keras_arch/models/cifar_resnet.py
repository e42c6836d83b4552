"""Residual and plain networks for 32x32 images (He et al. 2015, section 4.2)."""

import keras
from keras import layers

from keras_arch.errors import ArgumentError, whole_number
from keras_arch.models.common.arguments import document
from keras_arch.models.common.checks import check_choice
from keras_arch.models.common.heads import Head, check_input_shape
from keras_arch.models.common.residual import convolution, residual_classifier, residual_stage
from keras_arch.registry import register
from keras_arch.weights import Weights, load_weights

STAGE_FILTERS = (16, 32, 64)


@register(
    task="image-classification",
    paper="He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition (2015), section 4.2",
    url="https://arxiv.org/abs/1512.03385",
    default_input=(32, 32, 3),
    parameters={
        "": 269_722,
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
@document
def CIFARResNet(
    depth: int = 20,
    *,
    input_shape: tuple[int | None, int | None, int] | None = None,
    classes: int = 10,
    classifier_activation: str | None = "softmax",
    include_top: bool = True,
    pooling: str | None = None,
    residual: bool = True,
    shortcut: str = "A",
    synchronized: bool = False,
    weights: Weights = None,
    name: str | None = None,
) -> keras.Model:
    """ResNet for CIFAR-10: three stages of 16, 32 and 64 filters, 6n+2 weighted layers.

    Source: He et al. 2015, section 4.2 and table 6.

    Args:
        depth: Number of weighted layers, 6n+2. The paper has 20, 32, 44, 56, 110 and 1202.
        input_shape: `(height, width, channels)` in pixels, at least 4x4; height and width may be
            `None`. Default (32, 32, 3).
        residual: `False` gives the paper's plain network: the same layers without shortcuts.
        shortcut: Where the width changes, `"A"` subsamples and pads with zero channels (the
            paper's choice on CIFAR; no parameters), `"B"` projects with a 1x1 convolution and
            batch norm.
        name: Name of the model. Default `"resnet20"`, `"plain20"`, ...

    Returns:
        A `keras.Model` from `image` `(batch, height, width, channels)` to probabilities
        `(batch, classes)`. The stages' outputs are named `stage1` to `stage3`. (Stock Keras needs
        `sys.setrecursionlimit(10_000)` before it can load a network of hundreds of layers.)

    Example:
        >>> from keras_arch import models
        >>> models.trainable_parameters(models.CIFARResNet(depth=20))
        269722
    """
    depth = _check_depth(depth)
    check_choice("shortcut", shortcut, ("A", "B"))
    head = Head(include_top, pooling, classes, classifier_activation)
    input_shape = check_input_shape(input_shape, default=(32, 32, 3), minimum=4)

    image = keras.Input(input_shape, name="image")
    x = convolution(image, STAGE_FILTERS[0], 3, 1, "stem", synchronized=synchronized)
    x = layers.Activation("relu", name="stem")(x)
    for stage, filters in enumerate(STAGE_FILTERS, start=1):
        first, others = (filters, 3, 1 if stage == 1 else 2), (filters, 3, 1)
        blocks = [[first, others]] + [[others, others]] * ((depth - 2) // 6 - 1)
        kind = shortcut if residual else None
        x = residual_stage(x, blocks, kind, synchronized=synchronized, name=f"stage{stage}")
    usual_name = f"{'resnet' if residual else 'plain'}{depth}"
    model = residual_classifier(image, x, head, name or usual_name)
    return load_weights(model, weights, "CIFARResNet", residual=residual)


def _check_depth(depth):
    """The depth as an `int`, if it is 6n+2."""
    try:
        whole = whole_number("depth", depth)
    except ArgumentError:
        whole = 0
    if whole >= 8 and whole % 6 == 2:
        return whole
    below = max(whole - (whole - 2) % 6, 2)
    nearest = f"{below} and {below + 6}" if below >= 8 else "8 and 14"
    raise ArgumentError(
        f"depth must be 6n+2 (20, 32, 44, 56, 110, 1202 in the paper), got {depth!r}; the nearest "
        f"are {nearest}"
    )
