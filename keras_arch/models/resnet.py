"""Residual and plain networks for ImageNet (He et al. 2015)."""

import keras
from keras import layers

from keras_arch.errors import ArgumentError
from keras_arch.models.common import channels_last
from keras_arch.models.common.arguments import document, variant_of
from keras_arch.models.common.checks import check_choice
from keras_arch.models.common.heads import Head, check_input_shape
from keras_arch.models.common.residual import convolution, residual_classifier, residual_stage
from keras_arch.registry import register
from keras_arch.weights import Source, Weights, load_weights, open_source

# Blocks of the four stages (table 1); from 50 layers on a block is a bottleneck.
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

_FACTS = {
    "task": "image-classification",
    "paper": "He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition (2015), table 1",
    "url": "https://arxiv.org/abs/1512.03385",
    "default_input": (224, 224, 3),
}


@document
def ResNet(
    depth: int,
    variant: str | None = None,
    *,
    input_shape: tuple[int | None, int | None, int] | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    include_top: bool = True,
    pooling: str | None = None,
    shortcut: str = "B",
    residual: bool = True,
    synchronized: bool = False,
    weights: Weights = None,
    name: str | None = None,
) -> keras.Model:
    """ResNet or plain network for ImageNet: `ResNet18` to `ResNet152` are this with their depth.

    Source: He et al. 2015, table 1; shortcuts in sections 3.3 and 4.1.

    Args:
        depth: Weighted layers: 18, 34, 50, 101 or 152.
        variant: Where a bottleneck block halves the map: `"v1"` in its first 1x1 convolution (the
            paper, the authors' weights and `keras.applications`), `"v1.5"` in the 3x3 one
            (fb.resnet.torch, torchvision, timm). Weights of one give wrong results in the other.
            Default: that of `weights`, if they are a model; else the paper's. Blocks of two 3x3
            convolutions (18 and 34 layers) are the same in both.
        input_shape: `(height, width, channels)` in pixels, at least 32x32; height and width may be
            `None`. Default (224, 224, 3).
        shortcut: `"A"` subsamples and pads with zero channels, without parameters; `"B"` projects
            by a 1x1 convolution where the shape changes (the default, as in all published
            weights); `"C"` projects in every block.
        residual: `False` gives the paper's plain network of 18 or 34 layers: the same layers
            without shortcuts.
        name: Name of the model. Default `"resnet50"`, without shortcuts `"plain34"`.

    Returns:
        A `keras.Model` from `image` `(batch, height, width, channels)` to probabilities
        `(batch, classes)`. The ends of the stages are named `stem` (stride 2) and `stage1` to
        `stage4` (strides 4, 8, 16, 32).

    Example:
        >>> from keras_arch.models.resnet import ResNet
        >>> ResNet(18, input_shape=(64, 64, 3), include_top=False).output_shape
        (None, 2, 2, 512)
    """
    check_choice("variant", variant, (*VARIANTS, None))
    check_choice("shortcut", shortcut, SHORTCUTS)
    bottleneck = depth >= BOTTLENECK_FROM
    if bottleneck and not residual:
        raise ArgumentError(
            f"residual=False is for ResNet18 and ResNet34: the paper has no plain{depth}"
        )
    head = Head(include_top, pooling, classes, classifier_activation)
    input_shape = check_input_shape(input_shape, default=(224, 224, 3), minimum=LEAST_SIZE)
    wanted = {"residual": residual} | ({"variant": variant} if variant and bottleneck else {})
    weights = open_source(weights, f"ResNet{depth}", **wanted)
    variant = variant or _variant_of(weights)

    image = keras.Input(input_shape, name="image")
    x = convolution(image, 64, 7, 2, "stem", synchronized=synchronized)
    x = layers.Activation("relu", name="stem")(x)
    # After ReLU zeros around the map are what minus infinity would be to the maximum.
    x = channels_last.ZeroPadding2D(1, name="stem_pool_pad")(x)
    x = channels_last.MaxPooling2D(3, strides=2, name="stem_pool")(x)
    block = _bottleneck if bottleneck else _basic
    for stage, count in enumerate(BLOCKS[depth], start=1):
        filters = STAGE_FILTERS[stage - 1]
        first = block(filters, 1 if stage == 1 else 2, variant)
        blocks = [first] + [block(filters, 1, variant)] * (count - 1)
        kind = shortcut if residual else None
        x = residual_stage(x, blocks, kind, synchronized=synchronized, name=f"stage{stage}")
    usual_name = f"{'resnet' if residual else 'plain'}{depth}"
    model = residual_classifier(image, x, head, name or usual_name)
    # Neither shows in the shapes of the weights.
    settings = {"residual": residual} | ({"variant": variant} if bottleneck else {})
    return load_weights(model, weights, f"ResNet{depth}", **settings)


@register(
    **_FACTS, parameters={"": 11_689_512, "shortcut='A'": 11_515_688, "residual=False": 11_515_688}
)
@variant_of(ResNet, 18)
def ResNet18() -> None:
    """ResNet of 18 weighted layers for ImageNet, in blocks of two 3x3 convolutions.

    Source: He et al. 2015, table 1; shortcuts in sections 3.3 and 4.1.
    """


@register(
    **_FACTS, parameters={"": 21_797_672, "shortcut='A'": 21_623_848, "residual=False": 21_623_848}
)
@variant_of(ResNet, 34)
def ResNet34() -> None:
    """ResNet of 34 weighted layers for ImageNet, in blocks of two 3x3 convolutions.

    Source: He et al. 2015, table 1 and figure 3.
    """


@register(**_FACTS, parameters={"": 25_557_032, "variant='v1.5'": 25_557_032})
@variant_of(ResNet, 50)
def ResNet50() -> None:
    """ResNet of 50 weighted layers for ImageNet, in bottleneck blocks of 1x1, 3x3, 1x1.

    Source: He et al. 2015, table 1 and figure 5. 1-crop error on ImageNet, as the authors report
    for their own weights: 24.7 % (top 1), 7.8 % (top 5).

    Example:
        >>> from keras_arch import models
        >>> models.ResNet50(include_top=False, pooling="avg").output_shape
        (None, 2048)
    """


@register(**_FACTS, parameters={"": 44_549_160, "variant='v1.5'": 44_549_160})
@variant_of(ResNet, 101)
def ResNet101() -> None:
    """ResNet of 101 weighted layers for ImageNet, in bottleneck blocks of 1x1, 3x3, 1x1.

    Source: He et al. 2015, table 1. 1-crop error on ImageNet, as the authors report for their own
    weights: 23.6 % (top 1), 7.1 % (top 5).
    """


@register(**_FACTS, parameters={"": 60_192_808, "variant='v1.5'": 60_192_808})
@variant_of(ResNet, 152)
def ResNet152() -> None:
    """ResNet of 152 weighted layers for ImageNet, in bottleneck blocks of 1x1, 3x3, 1x1.

    Source: He et al. 2015, table 1. 1-crop error on ImageNet, as the authors report for their own
    weights: 23.0 % (top 1), 6.7 % (top 5).
    """


def _variant_of(weights):
    """The variant of a model's weights, by the strides of its first block that halves the map."""
    layer = "stage2_block1_2_conv"
    found = weights.model.layers if isinstance(weights, Source) else ()
    return "v1.5" if any(x.name == layer and x.strides == (2, 2) for x in found) else "v1"


def _basic(filters, stride, variant):
    """Two 3x3 convolutions; the stride is the first one's in both variants."""
    return [(filters, 3, stride), (filters, 3, 1)]


def _bottleneck(filters, stride, variant):
    """Down to `filters` channels by 1x1, a 3x3 there, and up to four times as many by 1x1."""
    first, second = (stride, 1) if variant == "v1" else (1, stride)
    return [(filters, 1, first), (filters, 3, second), (4 * filters, 1, 1)]
