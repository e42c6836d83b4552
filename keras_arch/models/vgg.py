"""VGG, networks of 3x3 convolutions (Simonyan and Zisserman 2014)."""

import keras
from keras import layers

from keras_arch.errors import whole_number
from keras_arch.layers import batch_norm, local_response_norm
from keras_arch.models.common import channels_last
from keras_arch.models.common.arguments import document, variant_of
from keras_arch.models.common.checks import check_choice
from keras_arch.models.common.heads import Head, check_input_shape
from keras_arch.registry import register
from keras_arch.weights import Weights, load_weights, open_source

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
# Columns of the table by depth, the usual one first.
VARIANTS = {11: ("A", "A-LRN"), 13: ("B",), 16: ("D", "C"), 19: ("E",)}
LEAST_SIZE = 32

_FACTS = {
    "task": "image-classification",
    "url": "https://arxiv.org/abs/1409.1556",
    "default_input": (224, 224, 3),
}
_PAPER = (
    "Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition "
    "(2014), configuration"
)


@document
def VGG(
    depth: int,
    variant: str | None = None,
    *,
    input_shape: tuple[int | None, int | None, int] | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    include_top: bool = True,
    pooling: str | None = None,
    units: int = 4096,
    norm: str | None = None,
    synchronized: bool = False,
    weights: Weights = None,
    name: str | None = None,
) -> keras.Model:
    """VGG for ImageNet: `VGG11`, `VGG13`, `VGG16` and `VGG19` are this with their depth.

    Source: Simonyan and Zisserman 2014, table 1.

    Args:
        depth: Weighted layers: 11, 13, 16 or 19.
        variant: Column of the paper's table. 11 layers: `"A"` (default), or `"A-LRN"` with local
            response normalisation after the first convolution, which the paper found useless. 13:
            `"B"`. 16: `"D"` (default: the usual VGG16), or `"C"` with a 1x1 convolution as the
            last of each of the stages 3 to 5. 19: `"E"`.
        input_shape: `(height, width, channels)` in pixels, at least 32x32; without top, height
            and width may be `None`. Default (224, 224, 3).
        include_top: End in the dense layers. They need a fixed size; the paper's 224x224 gives
            them a map of 7x7, and other sizes change the shape of `fc6`.
        units: Width of `fc6` and `fc7`.
        norm: `None` (the paper, which is from before batch norm), or `"batch"` after every
            convolution, as common ports offer it.
        name: Name of the model. Default `"vgg16"`, with batch norm `"vgg16_bn"`.

    Returns:
        A `keras.Model` from `image` `(batch, height, width, channels)` to probabilities
        `(batch, classes)`. Layers are named as the authors' own: `conv1_1`, `relu1_1`, `pool1` to
        `pool5`, `fc6`, `fc7`; the five pooled maps are `stage1` to `stage5` (strides 2 to 32).

    Example:
        >>> from keras_arch.models.vgg import VGG
        >>> VGG(11, input_shape=(32, 32, 3), classes=10, units=64).output_shape
        (None, 10)
    """
    variant = variant or VARIANTS[depth][0]
    check_choice(f"variant of VGG{depth}", variant, VARIANTS[depth])
    check_choice("norm", norm, ("batch", None))
    head = Head(include_top, pooling, classes, classifier_activation)
    units = whole_number("units", units)
    weights = open_source(weights, f"VGG{depth}", variant=variant, norm=norm)
    input_shape = check_input_shape(
        input_shape, default=(224, 224, 3), minimum=LEAST_SIZE, dynamic=not include_top
    )

    x = image = keras.Input(input_shape, name="image")
    for stage, row in enumerate(CONFIGURATIONS[variant], start=1):
        for number, filters in enumerate(row, start=1):
            pointwise = variant == "C" and number == 3
            x = channels_last.Conv2D(
                filters, 1 if pointwise else 3, padding="same", name=f"conv{stage}_{number}"
            )(x)
            if norm:
                x = batch_norm(f"conv{stage}_{number}_norm", synchronized=synchronized)(x)
            x = layers.Activation("relu", name=f"relu{stage}_{number}")(x)
            if variant == "A-LRN" and stage == 1:
                x = local_response_norm(x, "norm1")
        x = channels_last.MaxPooling2D(2, name=f"pool{stage}")(x)
        # The same map under the name that all families give to the end of a stage.
        x = layers.Identity(name=f"stage{stage}")(x)
    if include_top:
        x = channels_last.Flatten(name="flatten")(x)
        for number in (6, 7):
            x = layers.Dense(units, name=f"fc{number}")(x)
            x = layers.Activation("relu", name=f"relu{number}")(x)
            x = layers.Dropout(0.5, name=f"drop{number}")(x)
        output = head.classify(x, kernel_initializer="glorot_uniform")
    else:
        output = head.pool(x)
    model = keras.Model(image, output, name=name or f"vgg{depth}{'_bn' if norm else ''}")
    return load_weights(model, weights, f"VGG{depth}", variant=variant)


@register(
    **_FACTS,
    paper=f"{_PAPER} A",
    parameters={"": 132_863_336, "variant='A-LRN'": 132_863_336, "norm='batch'": 132_868_840},
)
@variant_of(VGG, 11, variant="A")
def VGG11() -> None:
    """VGG of 11 weighted layers: 8 3x3 convolutions in five stages, three dense layers.

    Source: Simonyan and Zisserman 2014, table 1, column A.
    """


@register(**_FACTS, paper=f"{_PAPER} B", parameters={"": 133_047_848, "norm='batch'": 133_053_736})
@variant_of(VGG, 13, variant="B")
def VGG13() -> None:
    """VGG of 13 weighted layers: 10 3x3 convolutions in five stages, three dense layers.

    Source: Simonyan and Zisserman 2014, table 1, column B.
    """


@register(
    **_FACTS,
    paper=f"{_PAPER} D",
    parameters={
        "": 138_357_544,
        "variant='C'": 133_638_952,
        "include_top=False": 14_714_688,
        "norm='batch'": 138_365_992,
    },
)
@variant_of(VGG, 16, variant="D")
def VGG16() -> None:
    """VGG of 16 weighted layers: 13 3x3 convolutions in five stages, three dense layers.

    Source: Simonyan and Zisserman 2014, table 1, columns C and D.

    Example:
        >>> from keras_arch import models
        >>> models.VGG16(include_top=False, input_shape=(64, 64, 3)).output_shape
        (None, 2, 2, 512)
    """


@register(
    **_FACTS,
    paper=f"{_PAPER} E",
    parameters={"": 143_667_240, "include_top=False": 20_024_384, "norm='batch'": 143_678_248},
)
@variant_of(VGG, 19, variant="E")
def VGG19() -> None:
    """VGG of 19 weighted layers: 16 3x3 convolutions in five stages, three dense layers.

    Source: Simonyan and Zisserman 2014, table 1, column E.
    """
