"""The maps inside a backbone by name: the ends of its stages, and any layer's output."""

import difflib
import math
import re
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import keras
from keras import layers

from keras_arch.errors import ArgumentError
from keras_arch.layers import recursion_limit

_WITH_STRIDES = (
    layers.Conv2D
    | layers.DepthwiseConv2D
    | layers.SeparableConv2D
    | layers.MaxPooling2D
    | layers.AveragePooling2D
)


def features(
    model: keras.Model, levels: Iterable[str | int] | str | int | None = None
) -> keras.Model:
    """Feature maps of a backbone by name, for any model whose stages are named.

    Every backbone of this package has layers `stage1`, `stage2`, ... at the ends of its stages,
    and most have a `stem`. The names are part of a saved model, so that this works on a model that
    was loaded as well.

    Args:
        model: A model with layers named `stage1`, `stage2`, ...
        levels: Which maps: names of stages, levels of stride (3 or `"P3"` is the last stage at
            stride 8), or the name of any layer, such as `"relu3_3"` of a VGG. Default: all stages.

    Returns:
        A `keras.Model` on the same input with the outputs `{"stage1": map, ...}`, named as asked
        (a level 3 as `"P3"`); it shares the weights of the model.

    Raises:
        ArgumentError: If no layer is named as a stage, or there is no such level; the message
            lists those that there are.

    Example:
        >>> from keras_arch import models
        >>> pyramid = models.features(models.CIFARResNet(depth=20))
        >>> {name: tuple(map.shape[1:]) for name, map in pyramid.output.items()}
        {'stage1': (32, 32, 16), 'stage2': (16, 16, 32), 'stage3': (8, 8, 64)}
        >>> backbone = models.ResNet18(include_top=False, input_shape=(64, 64, 3))
        >>> pyramid = models.features(backbone, ["P2", "P5"])
        >>> {name: tuple(map.shape[1:]) for name, map in pyramid.output.items()}
        {'P2': (16, 16, 64), 'P5': (2, 2, 512)}
    """
    if levels is None:
        outputs = _stages(model)
        outputs.pop("stem", None)
    else:
        levels = [levels] if isinstance(levels, str | int) else list(levels)
        outputs = dict(_map_of(model, level) for level in levels)
        if not outputs:
            raise ArgumentError("levels is empty; name one, or leave it out for all stages")
    with recursion_limit():
        return keras.Model(model.input, outputs, name=f"{model.name}_features")


def levels(model: keras.Model) -> dict[str, str]:
    """The last stage at each power of two of the stride.

    Args:
        model: A model with layers named `stage1`, `stage2`, ...

    Returns:
        Names of layers by level, `{"P3": "stage2"}` for stride 8.

    Raises:
        ArgumentError: If no layer is named as a stage.

    Example:
        >>> from keras_arch import models
        >>> levels(models.CIFARResNet(depth=20))
        {'P0': 'stage1', 'P1': 'stage2', 'P2': 'stage3'}
    """
    return _levels(_stages(model))


def coarsest_stride(model: keras.Model) -> int:
    """How many pixels an image may be moved by so that all maps are moved by whole pixels.

    Args:
        model: A functional model.

    Returns:
        The least common multiple of the strides of its maps.

    Example:
        >>> from keras_arch import models
        >>> coarsest_stride(models.CIFARResNet(depth=20))
        4
    """
    strides = [
        _stride(output).numerator
        for layer in model.layers
        for output in keras.tree.flatten(layer.output)
        if len(output.shape) == 4
    ]
    inside = [coarsest_stride(layer) for layer in model.layers if isinstance(layer, keras.Model)]
    return math.lcm(*strides, *inside)


def keras_cv_backbone(model: keras.Model) -> keras.Model:
    """A backbone that KerasCV's tasks take: `DeepLabV3Plus`, `ImageClassifier`, ...

    They look for `pyramid_level_inputs`, which names the layer of each level of stride. A task that
    was saved opens where `keras_arch.models` is imported.

    Args:
        model: A model with named stages, with or without a top, which is cut off.

    Returns:
        A `keras.Model` on the same input whose output is the last stage's map; it shares the
        weights of the model.

    Raises:
        ArgumentError: If no layer is named as a stage.

    Example:
        >>> from keras_arch import models
        >>> backbone = models.keras_cv_backbone(models.ResNet18(input_shape=(64, 64, 3)))
        >>> backbone.pyramid_level_inputs
        {'P1': 'stem', 'P2': 'stage1', 'P3': 'stage2', 'P4': 'stage3', 'P5': 'stage4'}
        >>> # keras_cv.models.DeepLabV3Plus(backbone=backbone, num_classes=21)
    """
    last = list(_stages(model).values())[-1]
    with recursion_limit():
        return KerasCVBackbone(model.input, last, name=f"{model.name}_backbone")


@keras.saving.register_keras_serializable("keras_arch")
class KerasCVBackbone(keras.Model):
    """A functional model that says which of its layers are the levels of its pyramid."""

    @property
    def pyramid_level_inputs(self) -> dict[str, str]:
        """Names of the last stages at stride 2, 4, 8, ... as `{"P1": ..., "P2": ...}`."""
        return levels(self)


def _stages(model: keras.Model) -> dict[str, Any]:
    """The maps at the ends of the stages by name, the stem first if it is named."""
    found = {
        layer.name: layer.output
        for layer in model.layers
        if re.fullmatch(r"stem|stage\d+", layer.name)
    }
    stages = sorted(found.keys() - {"stem"}, key=lambda name: int(name.removeprefix("stage")))
    if not stages:
        raise ArgumentError(
            f"model {model.name!r} has no layer named stage1, stage2, ...: nothing to take "
            "features from"
        )
    return {name: found[name] for name in ["stem", *stages] if name in found}


def _map_of(model: keras.Model, level: str | int) -> tuple[str, Any]:
    """The name that a map goes by, and the map."""
    stages = _stages(model)
    levels = _levels(stages)
    name = f"P{level}" if isinstance(level, int) else level
    if name in levels:
        return name, stages[levels[name]]
    maps = {layer.name: layer.output for layer in model.layers}
    if name in maps:
        return name, maps[name]
    strides = {stage: f" ({known})" for known, stage in levels.items()}
    close = difflib.get_close_matches(str(name), maps, n=3)
    raise ArgumentError(
        f"{model.name} has no level {level!r}; it has "
        f"{', '.join(stage + strides.get(stage, '') for stage in stages)}, and every layer by its "
        f"name{': did you mean ' + ', '.join(close) + '?' if close else ''}"
    )


def _levels(stages: dict[str, Any]) -> dict[str, str]:
    """The last stage at each power of two, as `{"P3": "stage2"}`."""
    levels = {}
    for name, output in stages.items():
        stride = _stride(output)
        if stride.denominator == 1 and stride.numerator.bit_count() == 1:
            levels[f"P{stride.numerator.bit_length() - 1}"] = name
    return levels


def _stride(tensor: Any) -> Fraction:
    """How many input pixels apart two pixels of a map are, from the layers between.

    Counted and not taken from the sizes of the maps, which may be open, and which windows without
    padding make smaller.
    """
    stride = Fraction(1)
    while True:
        history = tensor._keras_history
        operation = history.operation
        parents = operation._inbound_nodes[history.node_index].input_tensors
        if not parents:
            return stride
        if isinstance(operation, layers.UpSampling2D):
            stride /= operation.size[0]
        elif isinstance(operation, layers.Conv2DTranspose):
            stride /= operation.strides[0]
        elif isinstance(operation, _WITH_STRIDES):
            stride *= operation.strides[0]
        # All ways to a map have the same stride.
        tensor = parents[0]
