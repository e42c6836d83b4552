"""Mappings of AlexNet, VGG and GoogLeNet: torchvision and timm."""

import functools
import re

import keras

from keras_arch.convert.weight_mapping import (
    LINEAR,
    POINTWISE,
    Arguments,
    Layout,
    Shapes,
    WeightMapping,
    from_map,
    known,
    length,
    none_of,
    numbers_in,
    square_image,
)
from keras_arch.errors import ConvertError
from keras_arch.models.vgg import CONFIGURATIONS

# VGG and AlexNet: a sequence of numbered modules, then dense layers.

_COLUMNS = {11: "A", 13: "B", 16: "D", 19: "E"}


def _vgg_arguments(
    depth: int, hidden: str, head: str, shapes: Shapes, given: Arguments
) -> Arguments:
    numbers = numbers_in(shapes, r"features\.(\d+)\.weight$")
    convolutions = sum(len(shapes[f"features.{number}.weight"]) == 4 for number in numbers)
    if not convolutions:
        raise none_of(f"VGG{depth}", "torchvision and timm", "features.0.weight", shapes)
    if convolutions != depth - 3:
        other = convolutions + 3
        remedy = f"convert it as VGG{other}" if other in _COLUMNS else "no VGG here has as many"
        raise ConvertError(
            f"the state dict has {convolutions} convolutions, VGG{depth} has {depth - 3}; {remedy}"
        )
    has_head = head in shapes
    return known(
        norm="batch" if "features.1.running_mean" in shapes else None,
        input_shape=square_image(shapes, "features.0.weight", 224),
        units=shapes.get(hidden, (None,))[0] if has_head else None,
        classes=length(shapes, head, 0, rank=2),
        include_top=None if has_head else False,
    )


def _vgg_prefixes(
    depth: int, dense: tuple[str, str, str], model: keras.Model, shapes: Shapes
) -> dict[str, str]:
    prefixes = dict(zip(("fc6", "fc7", "logits"), dense, strict=True))
    names = {layer.name for layer in model.layers}
    module = 0
    for stage, row in enumerate(CONFIGURATIONS[_COLUMNS[depth]], start=1):
        for number in range(1, len(row) + 1):
            layer = f"conv{stage}_{number}"
            prefixes[layer] = f"features.{module}"
            if f"{layer}_norm" in names:
                module += 1
                prefixes[f"{layer}_norm"] = f"features.{module}"
            # The ReLU, and then the next convolution or the pooling.
            module += 2
        module += 1
    return prefixes


def _flattened(model: keras.Model, *, convolution: bool = False) -> dict[str, Layout]:
    """Layouts of the dense layers whose input is a flattened map."""
    dense = {"flatten": "fc6"} | {f"auxiliary{n}_flatten": f"auxiliary{n}_fc" for n in (1, 2)}
    return {
        dense[layer.name]: from_map(*layer.input.shape[1:], convolution=convolution)
        for layer in model.layers
        if layer.name in dense
    }


def _vgg_families(depth: int) -> tuple[WeightMapping, ...]:
    torchvision = ("classifier.0", "classifier.3", "classifier.6")
    timm = ("pre_logits.fc1", "pre_logits.fc2", "head.fc")
    return (
        WeightMapping(
            "torchvision",
            functools.partial(_vgg_arguments, depth, "classifier.0.weight", "classifier.6.weight"),
            functools.partial(_vgg_prefixes, depth, torchvision),
            layouts=_flattened,
            head=r"classifier\.",
        ),
        WeightMapping(
            "timm",
            functools.partial(_vgg_arguments, depth, "pre_logits.fc1.weight", "head.fc.weight"),
            functools.partial(_vgg_prefixes, depth, timm),
            layouts=lambda model: (
                _flattened(model, convolution=True) | {"fc7": POINTWISE, "logits": LINEAR}
            ),
            head=r"(pre_logits|head)\.",
            recognizes=lambda shapes: any(name.startswith("pre_logits.") for name in shapes),
        ),
    )


def _torchvision_arguments(
    architecture: str, stem: str, head: str, shapes: Shapes, given: Arguments
) -> Arguments:
    """Arguments by the weights of the first convolution and of the classifier."""
    image = square_image(shapes, stem, 224)
    if image is None:
        raise none_of(architecture, "torchvision", stem, shapes)
    return known(
        variant="torchvision",
        input_shape=image,
        classes=length(shapes, head, 0, rank=2),
        include_top=None if head in shapes else False,
    )


def _alexnet_arguments(shapes: Shapes, given: Arguments) -> Arguments:
    stem, head = "features.0.weight", "classifier.6.weight"
    found = _torchvision_arguments("AlexNet", stem, head, shapes, given)
    return found | known(units=length(shapes, "classifier.1.weight", 0, rank=2))


def _alexnet_prefixes(model: keras.Model, shapes: Shapes) -> dict[str, str]:
    numbers = (0, 3, 6, 8, 10)
    prefixes = {f"conv{i}": f"features.{number}" for i, number in enumerate(numbers, start=1)}
    return prefixes | {"fc6": "classifier.1", "fc7": "classifier.4", "logits": "classifier.6"}


# GoogLeNet.

_BRANCHES = {
    "1x1": "branch1",
    "3x3_reduce": "branch2.0",
    "3x3": "branch2.1",
    "5x5_reduce": "branch3.0",
    "5x5": "branch3.1",
    "pool_proj": "branch4.1",
}


def _googlenet_prefixes(model: keras.Model, shapes: Shapes) -> dict[str, str]:
    prefixes = {"logits": "fc"}
    for number in (1, 2):
        prefixes[f"auxiliary{number}_fc"] = f"aux{number}.fc1"
        prefixes[f"auxiliary{number}_logits"] = f"aux{number}.fc2"
    modules = {"conv1": "conv1", "conv2_reduce": "conv2", "conv2": "conv3"}
    for layer in model.layers:
        name, _, kind = layer.name.rpartition("_")
        if kind not in ("conv", "norm"):
            continue
        if match := re.fullmatch(r"inception_(\d[a-e])_(.+)", name):
            module = f"inception{match[1]}.{_BRANCHES[match[2]]}"
        elif match := re.fullmatch(r"auxiliary(\d)_reduce", name):
            module = f"aux{match[1]}.conv"
        else:
            module = modules[name]
        prefixes[layer.name] = f"{module}.{'conv' if kind == 'conv' else 'bn'}"
    return prefixes


MAPPINGS: dict[str, tuple[WeightMapping, ...]] = {
    "AlexNet": (
        WeightMapping(
            "torchvision",
            _alexnet_arguments,
            _alexnet_prefixes,
            layouts=_flattened,
            head=r"classifier\.",
        ),
    ),
    "GoogLeNet": (
        WeightMapping(
            "torchvision",
            functools.partial(
                _torchvision_arguments, "GoogLeNet", "conv1.conv.weight", "fc.weight"
            ),
            _googlenet_prefixes,
            layouts=_flattened,
            head=r"fc\.",
            optional=lambda arguments: None if arguments.get("auxiliary") else r"aux[12]\.",
        ),
    ),
}
MAPPINGS |= {f"VGG{depth}": _vgg_families(depth) for depth in _COLUMNS}
