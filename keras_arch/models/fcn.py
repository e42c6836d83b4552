"""Fully convolutional networks (Long, Shelhamer and Darrell 2015).

J. Long, E. Shelhamer, T. Darrell: Fully Convolutional Networks for Semantic Segmentation. A
classifier whose dense layers became convolutions scores every 32nd pixel, and transposed
convolutions bring the scores up to the size of the image: at once (32s), or joined on the way with
scores of finer maps (16s, 8s). On a VGG everything lies as in the authors' networks: the image is
padded by 100 pixels, pooling rounds up, and the map is cut out where its pixels lie on the image's.
"""

from collections.abc import Mapping
from typing import Any

import keras
from keras import layers

from keras_arch import layers as shared
from keras_arch.errors import ArgumentError
from keras_arch.models.common import pixelwise
from keras_arch.models.common.heads import check_input_shape
from keras_arch.models.common.weights import bilinear_kernel, start_from
from keras_arch.models.vgg import CONFIGURATIONS
from keras_arch.registry import register
from keras_arch.weights import Weights

DECONVOLUTIONS = ("frozen", "last_frozen", "learned")
# The columns of VGG's table that networks are built on as published.
VGGS = {"VGG11": "A", "VGG13": "B", "VGG16": "D", "VGG19": "E"}
PADDING = 100
# Where a map of scores lies on the finer one, and the last one on the image: the rows and columns
# to leave out, by the stride of the finest scores. They follow from the layers between.
OFFSETS = {32: (19,), 16: (5, 27), 8: (5, 9, 31)}
# What finer maps are multiplied with where all scores are learned at once.
SCALES = {16: 0.01, 8: 0.0001}

_PAPER = (
    "Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation (2015), "
    "section 4"
)
_URL = "https://arxiv.org/abs/1411.4038"


@register(
    task="image-segmentation",
    paper=_PAPER,
    url=_URL,
    default_input=(500, 500, 3),
    parameters={"": 134_346_581, "deconvolutions='learned'": 136_152_917},
)
def FCN32s(
    input_shape: tuple[int | None, int | None, int] | None = None,
    classes: int = 21,
    backbone: str = "VGG16",
    backbone_arguments: Mapping[str, Any] | None = None,
    deconvolutions: str = "frozen",
    units: int | None = None,
    classifier_activation: str | None = "softmax",
    synchronized: bool = False,
    weights: Weights = None,
    name: str | None = None,
) -> keras.Model:
    """FCN-32s: the scores of every 32nd pixel, interpolated.

    Source: Long et al. 2015, section 4.1, and the authors' `voc-fcn32s`: 134,346,581 parameters and
    1,806,336 of the deconvolution (64x64, stride 32, crop 19).

    Args:
        input_shape: `(height, width, channels)` in pixels; height and width may be `None`. Default
            (500, 500, 3), as large as an image of PASCAL VOC.
        classes: Number of classes. Default 21, those of PASCAL VOC with the background.
        backbone: `"VGG16"` as published (default) or another VGG, or any registered backbone that
            pads its maps and has them at stride 32; its last one is scored as it is.
        backbone_arguments: Arguments of the backbone's builder, such as `{"variant": "v1.5"}` of a
            ResNet with PyTorch's weights; not of a VGG.
        deconvolutions: All of them start as bilinear interpolation. `"frozen"` keeps them (the
            authors' code, default), `"learned"` does not, `"last_frozen"` keeps the last one only
            (the paper, section 4.3). Their weights grow with the square of the classes.
        units: Width of `fc6` and `fc7` of a VGG. Default 4096.
        classifier_activation: `"softmax"`, `"sigmoid"`, or `None` for logits.
        synchronized: Batch norm statistics over all replicas, where the backbone has them.
        weights: `None` for random weights; a classifier of the backbone, as a model or as what
            `keras_arch.weights.load_weights` takes, whose `fc6` and `fc7` become convolutions; or
            another FCN on the same backbone. Scores that the weights have not start at zero.
        name: Name of the model. Default `"fcn32s"`, on another backbone `"fcn32s_resnet18"`.

    Returns:
        A `keras.Model` from `image` `(batch, height, width, channels)` of any size to
        probabilities `(batch, height, width, classes)`. The scores are `score_fr`
        and, as large as the image, `logits`.

    Raises:
        ArgumentError: If an argument is not one of the above, or the weights do not fit.

    Example:
        >>> from keras_arch import models
        >>> model = models.FCN32s((None, None, 3), backbone="ResNet18")
        >>> model.output_shape
        (None, None, None, 21)
    """
    return _fcn(
        32,
        input_shape=input_shape,
        classes=classes,
        backbone=backbone,
        backbone_arguments=backbone_arguments,
        deconvolutions=deconvolutions,
        all_at_once=False,
        units=units,
        classifier_activation=classifier_activation,
        synchronized=synchronized,
        weights=weights,
        name=name,
    )


@register(
    task="image-segmentation",
    paper=_PAPER,
    url=_URL,
    default_input=(500, 500, 3),
    parameters={"": 134_357_354, "deconvolutions='learned'": 134_815_994},
)
def FCN16s(
    input_shape: tuple[int | None, int | None, int] | None = None,
    classes: int = 21,
    backbone: str = "VGG16",
    backbone_arguments: Mapping[str, Any] | None = None,
    deconvolutions: str = "frozen",
    units: int | None = None,
    classifier_activation: str | None = "softmax",
    synchronized: bool = False,
    weights: Weights = None,
    name: str | None = None,
) -> keras.Model:
    """FCN-16s: FCN-32s with the scores of `pool4`, which has twice the resolution.

    Source: Long et al. 2015, section 4.2, and the authors' `voc-fcn16s`: 134,357,354 parameters and
    458,640 of the deconvolutions (4x4, stride 2, crop 5; 32x32, stride 16, crop 27).

    Args:
        input_shape: `(height, width, channels)` in pixels; height and width may be `None`. Default
            (500, 500, 3), as large as an image of PASCAL VOC.
        classes: Number of classes. Default 21, those of PASCAL VOC with the background.
        backbone: `"VGG16"` as published (default) or another VGG, or any registered backbone that
            pads its maps and has them at strides 16 and 32; its last one is scored as it is.
        backbone_arguments: Arguments of the backbone's builder, such as `{"variant": "v1.5"}` of a
            ResNet with PyTorch's weights; not of a VGG.
        deconvolutions: All of them start as bilinear interpolation. `"frozen"` keeps them (the
            authors' code, default), `"learned"` does not, `"last_frozen"` keeps the last one only
            (the paper, section 4.3). Their weights grow with the square of the classes.
        units: Width of `fc6` and `fc7` of a VGG. Default 4096.
        classifier_activation: `"softmax"`, `"sigmoid"`, or `None` for logits.
        synchronized: Batch norm statistics over all replicas, where the backbone has them.
        weights: As for `FCN32s`: the paper learns 32s from the classifier, 16s from 32s and 8s
            from 16s.
        name: Name of the model. Default `"fcn16s"`, on another backbone `"fcn16s_resnet18"`.

    Returns:
        A `keras.Model` from `image` `(batch, height, width, channels)` of any size to
        probabilities `(batch, height, width, classes)`. The scores are `score_fr`,
        `score_pool4` and, as large as the image, `logits`.

    Raises:
        ArgumentError: If an argument is not one of the above, or the weights do not fit.

    Example:
        >>> from keras_arch import registry
        >>> registry.entry("FCN16s").parameters[""]
        134357354
    """
    return _fcn(
        16,
        input_shape=input_shape,
        classes=classes,
        backbone=backbone,
        backbone_arguments=backbone_arguments,
        deconvolutions=deconvolutions,
        all_at_once=False,
        units=units,
        classifier_activation=classifier_activation,
        synchronized=synchronized,
        weights=weights,
        name=name,
    )


@register(
    task="image-segmentation",
    paper=_PAPER,
    url=_URL,
    default_input=(500, 500, 3),
    parameters={"": 134_362_751, "deconvolutions='learned'": 134_489_759},
)
def FCN8s(
    input_shape: tuple[int | None, int | None, int] | None = None,
    classes: int = 21,
    backbone: str = "VGG16",
    backbone_arguments: Mapping[str, Any] | None = None,
    deconvolutions: str = "frozen",
    all_at_once: bool = False,
    units: int | None = None,
    classifier_activation: str | None = "softmax",
    synchronized: bool = False,
    weights: Weights = None,
    name: str | None = None,
) -> keras.Model:
    """FCN-8s: FCN-16s with the scores of `pool3`, which has twice the resolution again.

    Source: Long et al. 2015, section 4.2, and the authors' `voc-fcn8s`: 134,362,751 parameters and
    127,008 of the deconvolutions (4x4, stride 2, crops 5 and 9; 16x16, stride 8, crop 31).

    Args:
        input_shape: `(height, width, channels)` in pixels; height and width may be `None`. Default
            (500, 500, 3), as large as an image of PASCAL VOC.
        classes: Number of classes. Default 21, those of PASCAL VOC with the background.
        backbone: `"VGG16"` as published (default) or another VGG, or any registered backbone that
            pads its maps and has them at strides 8, 16 and 32; its last one is scored as it is.
        backbone_arguments: Arguments of the backbone's builder, such as `{"variant": "v1.5"}` of a
            ResNet with PyTorch's weights; not of a VGG.
        deconvolutions: All of them start as bilinear interpolation. `"frozen"` keeps them (the
            authors' code, default), `"learned"` does not, `"last_frozen"` keeps the last one only
            (the paper, section 4.3). Their weights grow with the square of the classes.
        all_at_once: Learn all scores together and not stage by stage: `pool4` is multiplied by
            0.01 and `pool3` by 0.0001 first (the authors' `voc-fcn8s-atonce`).
        units: Width of `fc6` and `fc7` of a VGG. Default 4096.
        classifier_activation: `"softmax"`, `"sigmoid"`, or `None` for logits.
        synchronized: Batch norm statistics over all replicas, where the backbone has them.
        weights: As for `FCN32s`: the paper learns 32s from the classifier, 16s from 32s and 8s
            from 16s.
        name: Name of the model. Default `"fcn8s"`, on another backbone `"fcn8s_resnet18"`.

    Returns:
        A `keras.Model` from `image` `(batch, height, width, channels)` of any size to
        probabilities `(batch, height, width, classes)`. The scores are `score_fr`,
        `score_pool4`, `score_pool3` and, as large as the image, `logits`.

    Raises:
        ArgumentError: If an argument is not one of the above, or the weights do not fit.

    Example:
        >>> from keras_arch import registry
        >>> registry.entry("FCN8s").parameters[""]
        134362751
    """
    return _fcn(
        8,
        input_shape=input_shape,
        classes=classes,
        backbone=backbone,
        backbone_arguments=backbone_arguments,
        deconvolutions=deconvolutions,
        all_at_once=all_at_once,
        units=units,
        classifier_activation=classifier_activation,
        synchronized=synchronized,
        weights=weights,
        name=name,
    )


def _fcn(
    stride,
    *,
    input_shape,
    classes,
    backbone,
    backbone_arguments,
    deconvolutions,
    all_at_once,
    units,
    classifier_activation,
    synchronized,
    weights,
    name,
):
    """The network whose finest scores are those of a stride."""
    if deconvolutions not in DECONVOLUTIONS:
        raise ArgumentError(
            f"deconvolutions must be one of {', '.join(map(repr, DECONVOLUTIONS))}, got "
            f"{deconvolutions!r}"
        )
    if not isinstance(all_at_once, bool):
        raise ArgumentError(f"all_at_once must be true or false, got {all_at_once!r}")
    pixelwise.check_classes(classes, classifier_activation)
    input_shape = check_input_shape(input_shape, default=(500, 500, 3), minimum=5)
    if backbone in VGGS:
        if backbone_arguments:
            raise ArgumentError(
                f"backbone_arguments={backbone_arguments!r} are not for {backbone}, which is built "
                "as published"
            )
        units = 4096 if units is None else units
        shared.check_positive(units=units)
        image, coarse, finer = _vgg(input_shape, CONFIGURATIONS[VGGS[backbone]], units)
        offsets, padding = OFFSETS[stride], "valid"
    else:
        if units is not None:
            raise ArgumentError(f"units are those of a VGG's fc6 and fc7, which {backbone} has not")
        image, coarse, finer = _padded(
            input_shape, backbone, backbone_arguments, stride, synchronized
        )
        # Padded maps begin where the image begins, and end with it or behind it.
        offsets, padding = (0,) * len(OFFSETS[stride]), "same"

    kernels = {}

    def enlarge(x, factor, name):
        last = name not in ("upscore2", "upscore_pool4")
        trainable = deconvolutions == "learned" or (deconvolutions == "last_frozen" and not last)
        layer = layers.Conv2DTranspose(
            classes,
            2 * factor,
            strides=factor,
            padding=padding,
            use_bias=False,
            kernel_initializer="zeros",
            data_format="channels_last",
            trainable=trainable,
            name=name,
        )
        # The kernel is not given to the layer, whose description it would be part of.
        kernels[name] = bilinear_kernel(2 * factor, classes)
        return layer(x)

    x = _score(coarse, classes, "score_fr")
    for number, place, crop in zip((4, 3), (16, 8), offsets[:-1], strict=False):
        x = enlarge(x, 2, "upscore2" if number == 4 else "upscore_pool4")
        # Keras orders weights by the depth of their layers: this one makes the order the same for
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
    x = layers.Identity(dtype=shared.output_dtype(), name="logits")(x)
    x = pixelwise.probabilities(x, classifier_activation)
    usual = f"fcn{stride}s" + ("" if backbone == "VGG16" else f"_{backbone.lower()}")
    with shared.recursion_limit():
        model = keras.Model(image, x, name=name or usual)
    for layer, kernel in kernels.items():
        model.get_layer(layer).set_weights([kernel])
    return start_from(model, weights, f"FCN{stride}s")


def _score(x, classes, name):
    """Scores of the classes; they start at zero, which the paper found to be as good as noise."""
    return layers.Conv2D(
        classes, 1, kernel_initializer="zeros", data_format="channels_last", name=name
    )(x)


def _vgg(input_shape, column, units):
    """The authors' network to `fc7`: the image, the last map, and the finer ones by stride."""
    image = keras.Input(input_shape, name="image")
    x = layers.ZeroPadding2D(PADDING, data_format="channels_last", name="pad")(image)
    maps = {}
    for stage, row in enumerate(column, start=1):
        for number, filters in enumerate(row, start=1):
            x = layers.Conv2D(
                filters,
                3,
                # The first one is padded by 100 pixels already.
                padding="valid" if stage == number == 1 else "same",
                kernel_initializer=shared.he_normal(),
                data_format="channels_last",
                name=f"conv{stage}_{number}",
            )(x)
            x = layers.Activation("relu", name=f"relu{stage}_{number}")(x)
        x = maps[2**stage] = shared.ceil_max_pool(x, 2, 2, f"pool{stage}")
    for number, size in ((6, 7), (7, 1)):
        x = layers.Conv2D(
            units,
            size,
            kernel_initializer=shared.he_normal(),
            data_format="channels_last",
            name=f"fc{number}",
        )(x)
        x = layers.Activation("relu", name=f"relu{number}")(x)
        x = layers.Dropout(0.5, name=f"drop{number}")(x)
    return image, x, maps


def _padded(input_shape, backbone, arguments, stride, synchronized):
    """A backbone's image, its map at stride 32, and the finer ones by stride."""
    model, found = pixelwise.pyramid(
        backbone,
        input_shape,
        argument="backbone",
        arguments=arguments,
        synchronized=synchronized,
    )
    maps = {2**level: x for level, x in found.items()}
    needed = [s for s in (8, 16, 32) if s >= stride]
    if not maps.keys() >= {*needed}:
        raise ArgumentError(
            f"FCN{stride}s needs maps of strides {', '.join(map(str, needed))}; {backbone} has "
            f"{', '.join(map(str, maps))}"
        )
    return model.input, maps[32], maps
