"""Fully convolutional networks (Long, Shelhamer and Darrell 2015).

A classifier whose dense layers became convolutions scores every 32nd pixel, and transposed
convolutions bring the scores up to the size of the image: at once (32s), or joined on the way with
scores of finer maps (16s, 8s). On a VGG everything lies as in the authors' networks: the image is
padded by 100 pixels, pooling rounds up, and the map is cut out where its pixels lie on the image's.
"""

from collections.abc import Mapping
from typing import Any

import keras
from keras import layers

from keras_arch.errors import ArgumentError, whole_number
from keras_arch.layers import ceil_max_pool, he_normal, output_dtype, recursion_limit
from keras_arch.models.common import channels_last, pixelwise
from keras_arch.models.common.arguments import document, variant_of
from keras_arch.models.common.checks import check_choice
from keras_arch.models.common.heads import check_input_shape, probabilities
from keras_arch.models.common.weights import bilinear_kernel, start_from
from keras_arch.models.vgg import CONFIGURATIONS
from keras_arch.registry import register
from keras_arch.weights import Source, Weights, open_source

DECONVOLUTIONS = ("frozen", "last_frozen", "learned")
# VGGs that the networks are built on as published, with their columns of VGG's table.
VGGS = {"VGG11": "A", "VGG13": "B", "VGG16": "D", "VGG19": "E"}
PADDING = 100
PADDINGS = ("valid", "same")
# Where a map of scores lies on the finer one, and the last one on the image: the rows and columns
# to leave out, by the stride of the finest scores. They follow from the layers between.
OFFSETS = {32: (19,), 16: (5, 27), 8: (5, 9, 31)}
# Factors on the finer maps where all scores are learned at once.
SCALES = {16: 0.01, 8: 0.0001}

_FACTS = {
    "task": "image-segmentation",
    "paper": (
        "Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation (2015), "
        "section 4"
    ),
    "url": "https://arxiv.org/abs/1411.4038",
    "default_input": (500, 500, 3),
}


@document
def FCN(
    stride: int,
    *,
    input_shape: tuple[int | None, int | None, int] | None = None,
    classes: int = 21,
    classifier_activation: str | None = "softmax",
    backbone: str | keras.Model | None = None,
    backbone_weights: Weights = None,
    backbone_arguments: Mapping[str, Any] | None = None,
    deconvolutions: str = "frozen",
    all_at_once: bool = False,
    units: int | None = None,
    fc6_padding: str = "valid",
    synchronized: bool = False,
    weights: Weights = None,
    name: str | None = None,
) -> keras.Model:
    """Fully convolutional network: `FCN32s`, `FCN16s` and `FCN8s` are this with their stride.

    Source: Long et al. 2015, section 4, and the authors' code.

    Args:
        stride: Of the finest scores in pixels: 32, 16 or 8.
        input_shape: `(height, width, channels)` in pixels; height and width may be `None`. Default
            (500, 500, 3), as large as an image of PASCAL VOC; on a given model that model's.
        classes: Default 21, those of PASCAL VOC with the background.
        backbone: `None` for the paper's VGG16 (also by name, or another VGG, built as published);
            any other registered backbone by name; or a functional Keras model, such as one of
            `keras.applications`, which is copied with its weights. It has to pad its maps and to
            have them at all strides from `stride` to 32; its last one is scored as it is. For one
            that rounds sizes down (GoogLeNet, most of `keras.applications`) the image is padded
            with zeros, below and on the right, to multiples of 32 pixels.
        backbone_weights: Weights of a registered backbone: a classifier of its kind, as a model or
            as what `keras_arch.weights.load_weights` takes. `fc6` and `fc7` of a VGG become
            convolutions.
        backbone_arguments: Others of a registered backbone, such as `{"variant": "v1.5"}`; not of a
            VGG.
        deconvolutions: All of them start as bilinear interpolation. `"frozen"`: none is
            trained (the authors' code, default). `"learned"`: all are. `"last_frozen"`: all but the
            last (the paper, section 4.3). Their weights grow with the square of the classes.
        all_at_once: For FCN-8s, learn all scores together and not stage by stage: `pool4` is
            multiplied by 0.01 and `pool3` by 0.0001 first (the authors' `voc-fcn8s-atonce`).
        units: Width of `fc6` and `fc7` of a VGG. Default 4096.
        fc6_padding: Of `fc6` of a VGG. `"valid"`: none, so the image is padded by 100 pixels (the
            paper, default). `"same"`: `fc6` pads its map, and the image is not padded: a fifth of
            the operations at 128 pixels. Not in the paper. The weights have the same shapes.
        weights: `None` for random weights; another FCN on the same backbone (the paper learns 32s
            from the classifier, 16s from 32s and 8s from 16s), or as for `backbone_weights`.
            Scores that the weights do not have start at zero.
        name: Name of the model. Default `"fcn32s"`, on another backbone `"fcn32s_resnet18"`.

    Returns:
        A `keras.Model` from `image` `(batch, height, width, channels)` of any size to
        probabilities `(batch, height, width, classes)`. The scores are `score_fr`, `score_pool4`
        (16s, 8s), `score_pool3` (8s) and, as large as the image, `logits`.

    Example:
        >>> from keras_arch.models.fcn import FCN
        >>> FCN(32, input_shape=(None, None, 3), backbone="ResNet18").output_shape
        (None, None, None, 21)
    """
    check_choice("deconvolutions", deconvolutions, DECONVOLUTIONS)
    check_choice("fc6_padding", fc6_padding, PADDINGS)
    check_choice("all_at_once", all_at_once, (False, True) if stride == 8 else (False,))
    classes = pixelwise.check_classes(classes, classifier_activation)
    usual_shape = pixelwise.default_shape(backbone, (500, 500, 3))
    input_shape = check_input_shape(input_shape, default=usual_shape, minimum=5)
    backbone = "VGG16" if backbone is None else backbone
    usual_name = pixelwise.name_of(backbone)
    as_published = isinstance(backbone, str) and backbone in VGGS
    # Before the network is built, which takes seconds.
    weights = open_source(weights, f"FCN{stride}s")
    if as_published:
        if backbone_arguments:
            raise ArgumentError(
                f"backbone_arguments={backbone_arguments!r} are not for {backbone}, which is built "
                "as published"
            )
        if backbone_weights is not None:
            backbone_weights = open_source(backbone_weights, backbone, norm=None)
            if not isinstance(backbone_weights, Source):
                raise ArgumentError(
                    f"backbone_weights of an FCN on {backbone} must be a classifier, as a model, a "
                    f"model directory or hf://user/repo, got {backbone_weights!r}"
                )
        units = 4096 if units is None else whole_number("units", units)
        column = CONFIGURATIONS[VGGS[backbone]]
        image, coarse, finer = _vgg(input_shape, column, units, fc6_padding)
        padding = fc6_padding
    else:
        if units is not None:
            raise ArgumentError(
                f"units are those of a VGG's fc6 and fc7, which {usual_name} has not"
            )
        if fc6_padding != "valid":
            raise ArgumentError(
                f"fc6_padding={fc6_padding!r} is for a VGG, whose fc6 {usual_name} has not"
            )
        padding = "same"
        image, finer = pixelwise.pyramid(
            backbone, input_shape, backbone_weights, backbone_arguments, synchronized, multiple=32
        )
        finer = {2**level: x for level, x in finer.items()}
        _check_maps(finer, stride, usual_name)
        coarse = finer[32]
    # Padded maps begin where the image begins, and end with it or behind it.
    offsets = OFFSETS[stride] if padding == "valid" else (0,) * len(OFFSETS[stride])

    kernels = {}

    def enlarge(x, factor, name):
        last = name not in ("upscore2", "upscore_pool4")
        trainable = deconvolutions == "learned" or (deconvolutions == "last_frozen" and not last)
        layer = channels_last.Conv2DTranspose(
            classes,
            2 * factor,
            strides=factor,
            padding=padding,
            use_bias=False,
            kernel_initializer="zeros",
            trainable=trainable,
            name=name,
        )
        # The kernel is not given to the layer, whose description it would be part of.
        kernels[name] = bilinear_kernel(2 * factor, classes)
        return layer(x)

    x = _score(coarse, classes, "score_fr")
    for number, place, crop in zip((4, 3), (16, 8), offsets[:-1], strict=False):
        x = enlarge(x, 2, "upscore2" if number == 4 else "upscore_pool4")
        # Keras orders weights by the depth of their layers: with this one the order is the same for
        # open sizes, where pixels are counted between the two maps.
        x = layers.Identity(name=f"scores_to_pool{number}")(x)
        other = finer[place]
        if all_at_once:
            other = layers.Rescaling(SCALES[place], name=f"scale_pool{number}")(other)
        other = _score(other, classes, f"score_pool{number}")
        if padding == "valid":
            other = pixelwise.crop_to(other, x, crop, f"score_pool{number}_crop")
        else:
            x = pixelwise.crop_to(x, finer[place], crop, f"score_pool{number}_crop")
        x = layers.Add(name=f"fuse_pool{number}")([x, other])
    x = enlarge(x, stride, "upscore" if stride == 32 else f"upscore{stride}")
    x = pixelwise.crop_to(x, image, offsets[-1], "crop")
    x = layers.Identity(dtype=output_dtype(), name="logits")(x)
    x = probabilities(x, classifier_activation)
    suffix = "" if usual_name == "VGG16" else f"_{usual_name.lower()}"
    with recursion_limit():
        model = keras.Model(image, x, name=name or f"fcn{stride}s{suffix}")
    for layer, kernel in kernels.items():
        model.get_layer(layer).set_weights([kernel])
    if as_published and backbone_weights is not None:
        start_from(model, backbone_weights, f"FCN{stride}s")
    return start_from(model, weights, f"FCN{stride}s")


@register(**_FACTS, parameters={"": 134_346_581, "deconvolutions='learned'": 136_152_917})
@variant_of(FCN, 32)
def FCN32s() -> None:
    """FCN-32s: the scores of every 32nd pixel, interpolated.

    Source: Long et al. 2015, section 4.1, and the authors' `voc-fcn32s`: 134,346,581 parameters and
    1,806,336 of the deconvolution (64x64, stride 32, crop 19).
    """


@register(**_FACTS, parameters={"": 134_357_354, "deconvolutions='learned'": 134_815_994})
@variant_of(FCN, 16)
def FCN16s() -> None:
    """FCN-16s: FCN-32s with the scores of `pool4`, which has twice the resolution.

    Source: Long et al. 2015, section 4.2, and the authors' `voc-fcn16s`: 134,357,354 parameters and
    458,640 of the deconvolutions (4x4, stride 2, crop 5; 32x32, stride 16, crop 27).
    """


@register(**_FACTS, parameters={"": 134_362_751, "deconvolutions='learned'": 134_489_759})
@variant_of(FCN, 8)
def FCN8s() -> None:
    """FCN-8s: FCN-16s with the scores of `pool3`, which has twice the resolution again.

    Source: Long et al. 2015, section 4.2, and the authors' `voc-fcn8s`: 134,362,751 parameters and
    127,008 of the deconvolutions (4x4, stride 2, crops 5 and 9; 16x16, stride 8, crop 31).

    Example:
        >>> import keras
        >>> from keras_arch import models
        >>> mobile = keras.applications.MobileNetV2((64, 64, 3), include_top=False, weights=None)
        >>> models.FCN8s(backbone=mobile, classes=2).output_shape
        (None, 64, 64, 2)
    """


def _score(x, classes, name):
    """Scores of the classes; they start at zero, which the paper found to be as good as noise."""
    return channels_last.Conv2D(classes, 1, kernel_initializer="zeros", name=name)(x)


def _vgg(input_shape, column, units, padding):
    """The authors' network to `fc7`: the image, the last map, and the finer ones by stride."""
    x = image = keras.Input(input_shape, name="image")
    if padding == "valid":
        x = channels_last.ZeroPadding2D(PADDING, name="pad")(image)
    maps = {}
    for stage, row in enumerate(column, start=1):
        for number, filters in enumerate(row, start=1):
            x = channels_last.Conv2D(
                filters,
                3,
                # The first one is padded by 100 pixels already.
                padding=padding if stage == number == 1 else "same",
                kernel_initializer=he_normal(),
                name=f"conv{stage}_{number}",
            )(x)
            x = layers.Activation("relu", name=f"relu{stage}_{number}")(x)
        x = maps[2**stage] = ceil_max_pool(x, 2, 2, f"pool{stage}")
    for number, size in ((6, 7), (7, 1)):
        x = channels_last.Conv2D(
            units, size, padding=padding, kernel_initializer=he_normal(), name=f"fc{number}"
        )(x)
        x = layers.Activation("relu", name=f"relu{number}")(x)
        x = layers.Dropout(0.5, name=f"drop{number}")(x)
    return image, x, maps


def _check_maps(maps, stride, backbone):
    """Refuse a backbone without a map that is to be scored."""
    needed = [each for each in (8, 16, 32) if each >= stride]
    if not maps.keys() >= {*needed}:
        raise ArgumentError(
            f"FCN{stride}s needs maps of strides {', '.join(map(str, needed))}; {backbone} has "
            f"{', '.join(map(str, maps))}"
        )
