"""Weights of `keras.applications` and KerasHub in the networks of this package.

Both are Keras too: their layers are found by name, and only what those do otherwise is converted.
The convolutions of a ResNet of `keras.applications` have biases, which the norm behind them takes
into its mean, and the norms another epsilon, which they take into their gain; both exactly.
"""

import re
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_arch import models
from keras_arch.errors import ArgumentError, ConvertError
from keras_arch.models.resnet import BLOCKS, BOTTLENECK_FROM
from keras_arch.models.vgg import CONFIGURATIONS

_VGG_COLUMNS = {"VGG16": "D", "VGG19": "E"}
_APPLICATIONS = ("ResNet50", "ResNet101", "ResNet152", *_VGG_COLUMNS)


def from_keras_applications(model: keras.Model, **arguments: Any) -> keras.Model:
    """A network with the weights of one of `keras.applications`.

    Converted are `ResNet50`, `ResNet101`, `ResNet152`, `VGG16` and `VGG19`, with their top or
    without, of any number of classes. ResNets have the stride of a block in its first convolution
    (`variant="v1"`).

    Args:
        model: As `keras.applications` builds it, with any weights.
        **arguments: Arguments of our builder, before what the model says: for example `name`, or
            `classifier_activation=None`.

    Returns:
        Our `keras.Model` with equal outputs. Its images are prepared as `keras.applications` does:
        `Preprocessing((224, 224), scale=1.0, mean=[103.939, 116.779, 123.68],
        channel_order="bgr")`.

    Raises:
        ConvertError: If the model is another one, or what it holds does not fit; the message lists
            what is missing, unexpected and misshaped.
        ArgumentError: If it is no Keras model, or an argument is not one of the builder's.

    Example:
        >>> theirs = keras.applications.VGG16(
        ...     weights=None, include_top=False, input_shape=(32, 32, 3), pooling="avg"
        ... )
        >>> from_keras_applications(theirs).output_shape
        (None, 512)
    """
    _check_is_model(model)
    names = {layer.name for layer in model.layers}
    if "conv2_block1_preact_bn" in names:
        raise ConvertError(
            f"{model.name} is a ResNetV2, whose norms come before its convolutions; "
            f"{', '.join(_APPLICATIONS)} are converted"
        )
    if "conv2_block1_1_conv" in names:
        counts = tuple(
            len({n for n in names if re.fullmatch(rf"conv{stage}_block\d+_out", n)})
            for stage in range(2, 6)
        )
        architecture = f"ResNet{_depth_of(counts, bottleneck=True)}"
    else:
        convolutions = [n for n in names if re.fullmatch(r"block\d_conv\d", n)]
        architecture = f"VGG{len(convolutions) + 3}"
    if architecture not in _APPLICATIONS:
        raise ConvertError(
            f"{model.name} is none of keras.applications that is converted: "
            f"{', '.join(_APPLICATIONS)}"
        )
    _check_channels_last(model)
    told = _end_of(model, "predictions") | {"input_shape": tuple(model.input_shape[1:])}
    if architecture.startswith("ResNet"):
        told["variant"] = "v1"
    elif told["include_top"]:
        told["units"] = model.get_layer("fc2").units
    ours = models.create(architecture, **(told | arguments))
    sources = dict(_application_sources(ours, architecture))
    return _copy(ours, _layers(model), sources, "keras.applications", model.name)


def from_keras_hub(model: keras.Model, **arguments: Any) -> keras.Model:
    """A network with the weights of a ResNet of KerasHub.

    Converted are `keras_hub.models.ResNetBackbone`s of 18 to 152 layers as He et al. have them
    (KerasHub's presets `resnet_18_imagenet` to `resnet_152_imagenet`), and the
    `ResNetImageClassifier` on one. They have the stride of a bottleneck in its 3x3 convolution
    (`variant="v1.5"`). KerasHub itself is not imported.

    Args:
        model: A `ResNetBackbone` or a `ResNetImageClassifier`.
        **arguments: Arguments of our builder, before what the model says. Default for a backbone:
            without top, the last map as output.

    Returns:
        Our `keras.Model` with equal outputs; those of a backbone are its last level.

    Raises:
        ConvertError: If it is another network (`resnet_v2`, `resnet_vd`, other blocks), or what it
            holds does not fit.
        ArgumentError: If it is no Keras model, or an argument is not one of the builder's.

    Example:
        >>> from_keras_hub(keras.Sequential([keras.Input((8, 8, 3))], name="small"))
        Traceback (most recent call last):
        keras_arch.errors.ConvertError: small is no ResNetBackbone of KerasHub...
    """
    _check_is_model(model)
    backbone = getattr(model, "backbone", model)
    if type(backbone).__name__ != "ResNetBackbone":
        raise ConvertError(
            f"{model.name} is no ResNetBackbone of KerasHub and no classifier on one, but "
            f"{type(backbone).__name__}"
        )
    _check_channels_last(backbone)
    facts = backbone.get_config()
    _check_hub_kind(backbone.name, facts)
    bottleneck = facts["block_type"] == "bottleneck_block"
    counts = tuple(facts["stackwise_num_blocks"])
    depth = _depth_of(counts, bottleneck=bottleneck)
    if depth is None:
        raise ConvertError(
            f"{backbone.name} has {counts} blocks of the kind {facts['block_type']}; there is no "
            "such ResNet here"
        )
    told: dict[str, Any] = {"input_shape": tuple(facts["image_shape"]), "variant": "v1.5"}
    if backbone is model:
        told["include_top"] = False
    else:
        told |= _end_of(model, model.output_dense.name)
        if model.pooling != "avg":
            raise ConvertError(f"{model.name} pools by {model.pooling!r}; ResNets here by 'avg'")
    ours = models.create(f"ResNet{depth}", **(told | arguments))
    sources = {"stem_conv": ("conv1_conv",), "stem_norm": ("conv1_conv", "conv1_bn")}
    for layer, prefix, kind in _block_layers(ours, "stack{}_block{}_{}", first=0):
        convolution = f"{prefix}_conv"
        sources[layer] = (convolution,) if kind == "conv" else (convolution, f"{prefix}_bn")
    if backbone is not model:
        sources["logits"] = (model.output_dense.name,)
    return _copy(ours, _layers(backbone) | _layers(model), sources, "KerasHub", backbone.name)


def _check_is_model(model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise ArgumentError(f"a keras.Model is converted, got {type(model).__name__}")


def _check_channels_last(model: keras.Model) -> None:
    if any(getattr(layer, "data_format", None) == "channels_first" for layer in model.layers):
        raise ConvertError(
            f"{model.name} has its channels first; build it with data_format='channels_last' and "
            "give it the weights"
        )


def _check_hub_kind(name: str, facts: dict[str, Any]) -> None:
    """Refuse the networks that KerasHub builds by the same class and that are others."""
    reason = None
    if facts["use_pre_activation"]:
        reason = "its norms come before its convolutions (resnet_v2)"
    elif facts["block_type"] not in ("basic_block", "bottleneck_block"):
        reason = f"its blocks are {facts['block_type']} (resnet_vd)"
    elif list(facts["input_conv_filters"]) != [64] or list(facts["input_conv_kernel_sizes"]) != [7]:
        reason = "its stem is not one 7x7 convolution of 64 filters"
    elif list(facts["stackwise_num_filters"]) != [64, 128, 256, 512]:
        reason = f"its stages have {facts['stackwise_num_filters']} filters"
    elif list(facts["stackwise_num_strides"]) != [1, 2, 2, 2]:
        reason = f"its stages have the strides {facts['stackwise_num_strides']}"
    if reason:
        raise ConvertError(f"{name} is another network than He et al.'s: {reason}")


def _depth_of(counts: tuple[int, ...], *, bottleneck: bool) -> int | None:
    """The depth of a ResNet of so many blocks in its stages, if there is one."""
    return next(
        (d for d, c in BLOCKS.items() if c == counts and (d >= BOTTLENECK_FROM) == bottleneck), None
    )


def _end_of(model: keras.Model, head: str) -> dict[str, Any]:
    """Our builder's arguments for how a model ends."""
    last = model.layers[-1]
    if last.name == head:
        return {
            "include_top": True,
            "classes": last.units,
            "classifier_activation": keras.activations.serialize(last.activation),
        }
    kinds = {
        keras.layers.GlobalAveragePooling2D: "avg",
        keras.layers.GlobalMaxPooling2D: "max",
    }
    return {"include_top": False, "pooling": kinds.get(type(last))}


def _application_sources(ours: keras.Model, architecture: str) -> Iterator[tuple[str, Any]]:
    """Our layers, and those of `keras.applications`."""
    yield "logits", ("predictions",)
    if architecture in _VGG_COLUMNS:
        for stage, row in enumerate(CONFIGURATIONS[_VGG_COLUMNS[architecture]], start=1):
            for number in range(1, len(row) + 1):
                yield f"conv{stage}_{number}", (f"block{stage}_conv{number}",)
        yield "fc6", ("fc1",)
        yield "fc7", ("fc2",)
        return
    yield "stem_conv", ("conv1_conv",)
    yield "stem_norm", ("conv1_conv", "conv1_bn")
    for layer, prefix, kind in _block_layers(ours, "conv{}_block{}_{}", first=1, stages=1):
        convolution = f"{prefix}_conv"
        yield layer, (convolution,) if kind == "conv" else (convolution, f"{prefix}_bn")


def _block_layers(
    ours: keras.Model, theirs: str, *, first: int, stages: int = -1
) -> Iterator[tuple[str, str, str]]:
    """Every convolution and norm in our blocks, with what theirs is called and its kind.

    Args:
        ours: Our network.
        theirs: Their name, with places for stage, block and part; a shortcut is part 0.
        first: Number of their first block.
        stages: What is added to the number of a stage for theirs.
    """
    for layer in ours.layers:
        match = re.fullmatch(r"stage(\d)_block(\d+)_(\d|shortcut)_(conv|norm)", layer.name)
        if match:
            stage, block, part, kind = match.groups()
            part = "0" if part == "shortcut" else part
            yield layer.name, theirs.format(int(stage) + stages, int(block) - 1 + first, part), kind


def _layers(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """The layers that have weights of their own."""
    return {
        layer.name: layer
        for layer in model.layers
        if layer.weights and not isinstance(layer, keras.Model)
    }


def _copy(
    ours: keras.Model,
    theirs: dict[str, keras.layers.Layer],
    sources: dict[str, tuple[str, ...]],
    library: str,
    name: str,
) -> keras.Model:
    """Give our layers the weights of theirs, all or none."""
    own = _layers(ours)
    needed = {layer for target in own for layer in sources[target]}
    heads = {"predictions", "fc1", "fc2"} if "logits" not in own else set()
    problems: dict[str, list[str]] = {
        "missing": [layer for layer in sorted(needed) if layer not in theirs],
        "unexpected": [layer for layer in theirs if layer not in needed and layer not in heads],
        "misshaped": [],
    }
    values = {}
    for target, names in sources.items():
        if target not in own or not all(layer in theirs for layer in names):
            continue
        values[target] = _values(own[target], [theirs[layer] for layer in names])
        shapes = [tuple(weight.shape) for weight in own[target].weights]
        if [value.shape for value in values[target]] != shapes:
            found = ", ".join(str(value.shape) for value in values[target])
            problems["misshaped"].append(f"{names[-1]} {found} for {', '.join(map(str, shapes))}")
    if any(problems.values()):
        listed = "; ".join(
            f"{kind}: {', '.join(names)}" for kind, names in problems.items() if names
        )
        raise ConvertError(f"{name} of {library} does not fit {ours.name}; {listed}")
    for target, arrays in values.items():
        own[target].set_weights(arrays)
    return ours


def _values(ours: keras.layers.Layer, theirs: list[keras.layers.Layer]) -> list[np.ndarray]:
    """The weights of one of our layers: as they are, or those of a norm made to fit."""
    convolution, *norm = theirs
    if not norm:
        # A bias goes into the norm that follows.
        return convolution.get_weights()[: len(ours.weights)]
    gain, beta, mean, variance = (weight.astype(np.float64) for weight in norm[0].get_weights())
    if convolution.use_bias:
        mean = mean - convolution.get_weights()[1]
    gain = gain * np.sqrt((variance + ours.epsilon) / (variance + norm[0].epsilon))
    return [weight.astype(np.float32) for weight in (gain, beta, mean, variance)]
