"""Conversion of models of `keras.applications` and KerasHub.

Layers are found by name. The convolutions of a ResNet of `keras.applications` have biases, which
go into the mean of the norm that follows, and its norms have another epsilon, which goes into the
gain; both are exact.
"""

import re
from typing import Any

import keras
import numpy as np

from keras_arch import models
from keras_arch.convert.resnets import block_layers, depth_of
from keras_arch.convert.weight_mapping import refuse_misfits
from keras_arch.errors import ArgumentError, ConvertError
from keras_arch.models.vgg import CONFIGURATIONS

_VGG_COLUMNS = {"VGG16": "D", "VGG19": "E"}
_APPLICATIONS = ("ResNet50", "ResNet101", "ResNet152", *_VGG_COLUMNS)


def from_keras_applications(model: keras.Model, **arguments: Any) -> keras.Model:
    """Build a network with the weights of one of `keras.applications`.

    Converted are `ResNet50`, `ResNet101`, `ResNet152`, `VGG16` and `VGG19`, with their top or
    without, of any number of classes. ResNets have the stride of a block in its first convolution
    (`variant="v1"`).

    Args:
        model: A model of `keras.applications` with any weights.
        **arguments: Arguments of our builder that replace the model's: for example `name`, or
            `classifier_activation=None`.

    Returns:
        Our `keras.Model` with equal outputs. Its images are prepared as `keras.applications` does:
        `Preprocessing((224, 224), scale=1.0, mean=[103.939, 116.779, 123.68],
        channel_order="bgr")`.

    Raises:
        ConvertError: If the model is another one, or its layers do not fit; the message lists the
            missing, unexpected and misshaped ones.
        ArgumentError: If it is no Keras model, or an argument is not one of the builder's.

    Example:
        >>> theirs = keras.applications.VGG16(
        ...     weights=None, include_top=False, input_shape=(32, 32, 3), pooling="avg"
        ... )
        >>> from_keras_applications(theirs).output_shape
        (None, 512)
    """
    _check_model(model)
    names = {layer.name for layer in model.layers}
    if "conv2_block1_preact_bn" in names:
        raise ConvertError(
            f"{model.name} is a ResNetV2, whose norms come before its convolutions; "
            f"{', '.join(_APPLICATIONS)} are converted"
        )
    if "conv2_block1_1_conv" in names:
        ends = [re.fullmatch(r"conv(\d)_block\d+_out", name) for name in names]
        stages = [int(end[1]) for end in ends if end]
        counts = tuple(stages.count(stage) for stage in range(2, 6))
        architecture = f"ResNet{depth_of(counts, bottleneck=True)}"
    else:
        convolutions = [n for n in names if re.fullmatch(r"block\d_conv\d", n)]
        architecture = f"VGG{len(convolutions) + 3}"
    if architecture not in _APPLICATIONS:
        raise ConvertError(
            f"{model.name} has no converter; of keras.applications there is one for "
            f"{', '.join(_APPLICATIONS)}"
        )
    found = _head_of(model, "predictions") | {"input_shape": tuple(model.input_shape[1:])}
    if architecture.startswith("ResNet"):
        found["variant"] = "v1"
    elif found["include_top"]:
        found["units"] = model.get_layer("fc2").units
    ours = models.create(architecture, **(found | arguments))
    if architecture in _VGG_COLUMNS:
        sources = _vgg_sources(architecture)
    else:
        sources = _resnet_sources(ours, "conv{}_block{}_{}", stages=1, blocks=0)
    sources["logits"] = ("predictions",)
    return _copy(ours, _layers(model), sources, f"{model.name} of keras.applications")


def from_keras_hub(model: keras.Model, **arguments: Any) -> keras.Model:
    """Build a network with the weights of a ResNet of KerasHub.

    Converted are `keras_hub.models.ResNetBackbone`s of 18 to 152 layers as He et al. have them
    (KerasHub's presets `resnet_18_imagenet` to `resnet_152_imagenet`), and the
    `ResNetImageClassifier` on one. They have the stride of a bottleneck in its 3x3 convolution
    (`variant="v1.5"`). KerasHub itself is not imported.

    Args:
        model: A `ResNetBackbone` or a `ResNetImageClassifier`.
        **arguments: Arguments of our builder that replace the model's. Default for a backbone:
            without top, the last map as output.

    Returns:
        Our `keras.Model` with equal outputs; those of a backbone are its last level.

    Raises:
        ConvertError, ArgumentError: As for `from_keras_applications`.

    Example:
        >>> from_keras_hub(keras.Sequential([keras.Input((8, 8, 3))], name="small"))
        Traceback (most recent call last):
        keras_arch.errors.ConvertError: small is no ResNetBackbone of KerasHub...
    """
    _check_model(model)
    backbone = getattr(model, "backbone", model)
    if type(backbone).__name__ != "ResNetBackbone":
        raise ConvertError(
            f"{model.name} is no ResNetBackbone of KerasHub and no classifier on one, but "
            f"{type(backbone).__name__}"
        )
    _check_model(backbone)
    facts = backbone.get_config()
    _check_hub_kind(backbone.name, facts)
    counts = tuple(facts["stackwise_num_blocks"])
    depth = depth_of(counts, bottleneck=facts["block_type"] == "bottleneck_block")
    if depth is None:
        raise ConvertError(
            f"{backbone.name} has {counts} blocks of the kind {facts['block_type']}; there is no "
            "such ResNet here"
        )
    found: dict[str, Any] = {"input_shape": tuple(facts["image_shape"]), "variant": "v1.5"}
    if backbone is model:
        found["include_top"] = False
    else:
        found |= _head_of(model, model.output_dense.name)
        if model.pooling != "avg":
            raise ConvertError(f"{model.name} pools by {model.pooling!r}; ResNets here by 'avg'")
    ours = models.create(f"ResNet{depth}", **(found | arguments))
    sources = _resnet_sources(ours, "stack{}_block{}_{}", stages=-1, blocks=-1)
    if backbone is not model:
        sources["logits"] = (model.output_dense.name,)
    theirs = _layers(backbone) | _layers(model)
    return _copy(ours, theirs, sources, f"{backbone.name} of KerasHub")


def _check_model(model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise ArgumentError(f"a keras.Model is converted, got {type(model).__name__}")
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


def _head_of(model: keras.Model, head: str) -> dict[str, Any]:
    """Builder's arguments for the head of a model."""
    last = model.layers[-1]
    if last.name == head:
        return {
            "include_top": True,
            "classes": last.units,
            "classifier_activation": keras.activations.serialize(last.activation),
        }
    kinds = {"GlobalAveragePooling2D": "avg", "GlobalMaxPooling2D": "max"}
    return {"include_top": False, "pooling": kinds.get(type(last).__name__)}


def _vgg_sources(architecture: str) -> dict[str, tuple[str, ...]]:
    """Layers of `keras.applications` for each of ours."""
    sources: dict[str, tuple[str, ...]] = {"fc6": ("fc1",), "fc7": ("fc2",)}
    for stage, row in enumerate(CONFIGURATIONS[_VGG_COLUMNS[architecture]], start=1):
        for number in range(1, len(row) + 1):
            sources[f"conv{stage}_{number}"] = (f"block{stage}_conv{number}",)
    return sources


def _resnet_sources(
    ours: keras.Model, name: str, *, stages: int, blocks: int
) -> dict[str, tuple[str, ...]]:
    """Layers of the other library for each of ours: a convolution, or it and its norm.

    `name` is theirs, with places for stage, block and part; a shortcut is part 0. Their numbers of
    stages and blocks are ours plus `stages` and `blocks`.
    """
    sources = {"stem_conv": ("conv1_conv",), "stem_norm": ("conv1_conv", "conv1_bn")}
    for layer, (stage, block, part, kind) in block_layers(ours).items():
        part = "0" if part == "shortcut" else part
        prefix = name.format(stage + stages, block + blocks, part)
        norm = (f"{prefix}_bn",) if kind == "norm" else ()
        sources[layer] = (f"{prefix}_conv", *norm)
    return sources


def _layers(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Layers with weights of their own, by name."""
    return {
        layer.name: layer
        for layer in model.layers
        if layer.weights and not isinstance(layer, keras.Model)
    }


def _copy(
    ours: keras.Model,
    theirs: dict[str, keras.layers.Layer],
    sources: dict[str, tuple[str, ...]],
    name: str,
) -> keras.Model:
    """Set the weights of our layers, all or none."""
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
    refuse_misfits(f"{name} does not fit {ours.name}", problems)
    for target, arrays in values.items():
        own[target].set_weights(arrays)
    return ours


def _values(ours: keras.layers.Layer, theirs: list[keras.layers.Layer]) -> list[np.ndarray]:
    """Weights of one of our layers; those of a norm are adapted."""
    convolution, *norm = theirs
    if not norm:
        # A bias goes into the norm that follows.
        return convolution.get_weights()[: len(ours.weights)]
    gain, beta, mean, variance = (weight.astype(np.float64) for weight in norm[0].get_weights())
    if convolution.use_bias:
        mean = mean - convolution.get_weights()[1]
    gain = gain * np.sqrt((variance + ours.epsilon) / (variance + norm[0].epsilon))
    return [weight.astype(np.float32) for weight in (gain, beta, mean, variance)]
