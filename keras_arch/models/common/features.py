"""Feature maps of backbones by stage, by level of stride, or by the name of any layer."""

import dataclasses
import difflib
import math
import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import keras
from keras import layers

from keras_arch.errors import ArgumentError
from keras_arch.layers import recursion_limit

_CONVOLUTIONS = layers.Conv2D | layers.DepthwiseConv2D | layers.SeparableConv2D
_WITH_STRIDES = _CONVOLUTIONS | layers.MaxPooling2D | layers.AveragePooling2D
_GLOBAL_POOLING = layers.GlobalAveragePooling2D | layers.GlobalMaxPooling2D


def features(
    model: keras.Model, levels: Iterable[str | int] | str | int | None = None
) -> keras.Model:
    """Feature maps of a backbone by name, for any functional model of images.

    Every backbone of this package has layers `stage1`, `stage2`, ... at the ends of its stages,
    and most have a `stem`; a loaded one has them too. Of other models (`keras.applications`) the
    last map of each stride is a level, of KerasCV's that of their `pyramid_level_inputs`. The
    layers of a model inside the model (a backbone with a head on it) count as its own.

    Args:
        model: A functional model that begins with an image.
        levels: Which maps: names of stages, levels of stride (3 or `"P3"` is the last stage at
            stride 8), or the name of any layer, such as `"relu3_3"` of a VGG. Default: all stages,
            all levels of a model without named stages.

    Returns:
        A `keras.Model` on the same input with the outputs `{"stage1": map, ...}`, named as asked
        (a level 3 as `"P3"`); it shares the weights of the model.

    Raises:
        ArgumentError: If there are no feature maps, or no such level, with those that there are.

    Example:
        >>> from keras_arch import models
        >>> pyramid = models.features(models.CIFARResNet(depth=20))
        >>> {name: tuple(map.shape[1:]) for name, map in pyramid.output.items()}
        {'stage1': (32, 32, 16), 'stage2': (16, 16, 32), 'stage3': (8, 8, 64)}
        >>> backbone = keras.applications.MobileNetV2((64, 64, 3), include_top=False, weights=None)
        >>> models.features(backbone, "P4").output["P4"].shape
        (None, 4, 4, 576)
    """
    flat = flatten(model)
    if levels is None:
        outputs = _all_maps(flat)
    else:
        levels = [levels] if isinstance(levels, str | int) else list(levels)
        outputs = dict(_map_of(flat, level) for level in levels)
        if not outputs:
            raise ArgumentError("levels is empty; name one, or leave it out for all stages")
    with recursion_limit():
        return keras.Model(_inputs(flat), outputs, name=f"{model.name}_features")


def levels(model: keras.Model) -> dict[str, str]:
    """The last map at each power of two of the stride.

    Args:
        model: As for `features`.

    Returns:
        Names of layers by level, `{"P3": "stage2"}` for stride 8.

    Raises:
        ArgumentError: If the model has no feature maps.

    Example:
        >>> from keras_arch import models
        >>> levels(models.CIFARResNet(depth=20))
        {'P0': 'stage1', 'P1': 'stage2', 'P2': 'stage3'}
    """
    model = flatten(model)
    stages = _stages(model)
    if stages:
        return _levels(stages)
    pyramid = getattr(model, "pyramid_level_inputs", None)
    return dict(pyramid) if isinstance(pyramid, Mapping) and pyramid else _last_of_strides(model)


def flatten(model: keras.Model) -> keras.Model:
    """A model with the layers of the models inside it as its own, in one graph.

    Args:
        model: Any model; one that has no functional or sequential model inside is returned.

    Returns:
        A functional model that shares all layers. At the end of what was a model inside there is
        an `Identity` of its name. `layer_outputs` has the tensors of its layers: a layer's own
        `output` is that of its first call, in another graph.

    Example:
        >>> inside = keras.Sequential([keras.Input((4,)), layers.Dense(2, name="low")], name="part")
        >>> flat = flatten(keras.Sequential([inside, layers.Dense(1, name="high")]))
        >>> [layer.name for layer in flat.layers[1:]]
        ['low', 'part', 'high']
    """
    if isinstance(model, keras.Sequential) and model.built:
        model = keras.Model(model.inputs, model.outputs, name=model.name)
    if not any(_has_graph(layer) for layer in model.layers):
        return model

    def call(layer: Any, *arguments: Any, **more: Any) -> Any:
        if not _has_graph(layer):
            return layer(*arguments, **more)
        inside = flatten(layer).call(*arguments)
        return layers.Identity(name=layer.name)(inside) if hasattr(inside, "shape") else inside

    try:
        with recursion_limit():
            return keras.models.clone_model(
                model, clone_function=lambda layer: layer, call_function=call
            )
    except ValueError:
        # Two models inside have layers of one name: nothing tells them apart in one graph.
        return model


def layer_outputs(model: keras.Model) -> dict[str, Any]:
    """The tensors that the layers of a functional model give in its own graph, by name.

    Of a layer that is called several times it is the last one's; layers of several outputs are
    left out.

    Example:
        >>> list(layer_outputs(keras.Sequential([keras.Input((4,)), layers.Dense(2, name="low")])))
        ['low']
    """
    found: dict[str, Any] = {}
    seen: set[int] = set()
    left = list(keras.tree.flatten(model.outputs))
    while left:
        tensor = left.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        history = tensor._keras_history
        node = history.operation._inbound_nodes[history.node_index]
        if len(node.output_tensors) == 1:
            found.setdefault(history.operation.name, tensor)
        left += node.input_tensors
    return {layer.name: found[layer.name] for layer in model.layers if layer.name in found}


def _has_graph(layer: Any) -> bool:
    """Whether a layer is a functional or sequential model."""
    if isinstance(layer, keras.Sequential):
        return layer.built
    return isinstance(layer, keras.Model) and hasattr(layer, "operations")


def coarsest_stride(model: keras.Model) -> int:
    """Stride of the coarsest map: a shift of the image by it shifts all maps by whole pixels.

    It is the least common multiple of the strides of all maps of a functional model.

    Example:
        >>> from keras_arch import models
        >>> coarsest_stride(models.CIFARResNet(depth=20))
        4
    """
    known: dict[int, _Facts] = {}
    strides = [
        _trace(output, known).stride.numerator
        for layer in model.layers
        for output in keras.tree.flatten(layer.output)
        if len(output.shape) == 4
    ]
    inside = [coarsest_stride(layer) for layer in model.layers if isinstance(layer, keras.Model)]
    return math.lcm(*strides, *inside)


def strides_of(model: keras.Model) -> dict[str, Fraction]:
    """The stride of each layer's output, by its name; 1 at the size of the image.

    Example:
        >>> from keras_arch import models
        >>> strides_of(models.CIFARResNet(depth=8))["stage3"]
        Fraction(4, 1)
    """
    known: dict[int, _Facts] = {}
    return {
        layer.name: _trace(keras.tree.flatten(layer.output)[0], known).stride
        for layer in model.layers
    }


def keras_cv_backbone(model: keras.Model) -> keras.Model:
    """A backbone that KerasCV's tasks take: `DeepLabV3Plus`, `ImageClassifier`, ...

    They read `pyramid_level_inputs`, which names the layer of each level of stride. A task that
    was saved opens where `keras_arch.models` is imported.

    Args:
        model: A model that `features` takes, with or without a top, which is cut off.

    Returns:
        A `keras.Model` on the same input, with the same weights, to the last stage's map.

    Raises:
        ArgumentError: If the model has no feature maps.

    Example:
        >>> from keras_arch import models
        >>> backbone = models.keras_cv_backbone(models.ResNet18(input_shape=(64, 64, 3)))
        >>> backbone.pyramid_level_inputs
        {'P1': 'stem', 'P2': 'stage1', 'P3': 'stage2', 'P4': 'stage3', 'P5': 'stage4'}
        >>> # keras_cv.models.DeepLabV3Plus(backbone=backbone, num_classes=21)
    """
    stages = _stages(model)
    last = stages.popitem()[1] if stages else model.get_layer(levels(model).popitem()[1]).output
    with recursion_limit():
        return KerasCVBackbone(_inputs(model), last, name=f"{model.name}_backbone")


@keras.saving.register_keras_serializable("keras_arch")
class KerasCVBackbone(keras.Model):
    """Functional model with the layers of its pyramid's levels as `pyramid_level_inputs`."""

    @property
    def pyramid_level_inputs(self) -> dict[str, str]:
        """Names of the last stages at stride 2, 4, 8, ... as `{"P1": ..., "P2": ...}`."""
        stages = _stages(self)
        return _levels(stages) if stages else _last_of_strides(self)


def _inputs(model: keras.Model) -> Any:
    inputs = model.inputs if isinstance(model, keras.Sequential) else getattr(model, "input", None)
    if inputs is None:
        raise ArgumentError(f"feature maps are those of a functional keras.Model, got {model!r}")
    return inputs[0] if isinstance(inputs, list) and len(inputs) == 1 else inputs


def _stages(model: keras.Model) -> dict[str, Any]:
    """The maps at the ends of named stages, the stem first if it is named; none without stages."""
    _inputs(model)
    found = {
        name: output
        for name, output in layer_outputs(model).items()
        if re.fullmatch(r"stem|stage\d+", name)
    }
    stages = sorted(found.keys() - {"stem"}, key=lambda name: int(name.removeprefix("stage")))
    return {name: found[name] for name in ["stem", *stages] if stages and name in found}


def _last_of_strides(model: keras.Model) -> dict[str, str]:
    """The last layer at each stride of a model whose layers have names of their own.

    Padding belongs to the halving after it, and a map needs a convolution before it.
    """
    known: dict[int, _Facts] = {}
    maps = {
        name: output
        for name, output in layer_outputs(model).items()
        if not isinstance(model.get_layer(name), layers.InputLayer | layers.ZeroPadding2D)
        and (facts := _trace(output, known)).convolved
        and facts.pixels
    }
    found = _levels(maps)
    if not found:
        raise ArgumentError(
            f"model {model.name!r} has no layer named stage1, stage2, ... and no convolutions over "
            "an image: it has no feature maps"
        )
    return dict(sorted(found.items(), key=lambda item: int(item[0][1:])))


def _all_maps(model: keras.Model) -> dict[str, Any]:
    """The maps of all stages, or all levels of a model without named stages."""
    stages = _stages(model)
    stages.pop("stem", None)
    if stages:
        return stages
    outputs = layer_outputs(model)
    return {level: outputs[name] for level, name in levels(model).items()}


def _map_of(model: keras.Model, level: str | int) -> tuple[str, Any]:
    """The name of a map in the outputs, and the map."""
    named = levels(model)
    name = f"P{level}" if isinstance(level, int) else level
    maps = layer_outputs(model)
    if named.get(name, name) in maps:
        return name, maps[named.get(name, name)]
    strides = {stage: f" ({known})" for known, stage in named.items()}
    close = difflib.get_close_matches(str(name), maps, n=3)
    raise ArgumentError(
        f"{model.name} has no level {level!r}; it has "
        f"{', '.join(x + strides.get(x, '') for x in _stages(model) or strides)}, and every layer "
        f"by its name{': did you mean ' + ', '.join(close) + '?' if close else ''}"
    )


def _levels(stages: dict[str, Any]) -> dict[str, str]:
    """The last of some maps at each power of two, as `{"P3": "stage2"}`."""
    levels: dict[str, str] = {}
    known: dict[int, _Facts] = {}
    for name, output in stages.items():
        stride = _trace(output, known).stride
        if stride.denominator == 1 and stride.numerator.bit_count() == 1:
            levels[f"P{stride.numerator.bit_length() - 1}"] = name
    return levels


@dataclasses.dataclass(frozen=True)
class _Facts:
    """Stride of a tensor, and whether it is a convolved map of pixels."""

    stride: Fraction
    convolved: bool
    pixels: bool


def _trace(tensor: Any, known: dict[int, _Facts]) -> _Facts:
    """The facts of a tensor from the operations between it and the input.

    The stride is counted and not taken from the sizes of the maps, which may be open, and which
    windows without padding make smaller. New facts are added to those `known` by tensors' identity.
    """
    path = []
    while id(tensor) not in known:
        history = tensor._keras_history
        operation = history.operation
        parents = operation._inbound_nodes[history.node_index].input_tensors
        if not parents:
            known[id(tensor)] = _Facts(Fraction(1), False, len(tensor.shape) == 4)
            break
        path.append((tensor, operation))
        # All ways to a map have the same stride.
        tensor = parents[0]
    facts = known[id(tensor)]
    for tensor, operation in reversed(path):
        facts = known[id(tensor)] = _after(facts, operation, tensor)
    return facts


def _after(facts: _Facts, operation: Any, output: Any) -> _Facts:
    """The facts of an operation's output from those of its input."""
    stride, convolved = facts.stride, facts.convolved or isinstance(operation, _CONVOLUTIONS)
    if isinstance(operation, layers.UpSampling2D):
        stride /= operation.size[0]
    elif isinstance(operation, layers.Conv2DTranspose):
        stride /= operation.strides[0]
    elif isinstance(operation, _WITH_STRIDES):
        stride *= operation.strides[0]
    elif isinstance(operation, keras.Model):
        inside = _trace(keras.tree.flatten(operation.outputs)[0], {})
        stride, convolved = stride * inside.stride, convolved or inside.convolved
    # Attention weighs channels by one value an image, which is no map.
    pixels = len(output.shape) == 4 and not isinstance(operation, _GLOBAL_POOLING)
    return _Facts(stride, convolved, facts.pixels and pixels)
