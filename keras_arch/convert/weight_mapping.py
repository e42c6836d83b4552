"""Mapping from the tensors of a PyTorch source to the layers of our networks.

A mapping has two functions. `arguments` infers the builder's arguments from names and shapes, so
that other widths, depths and channels convert as well; the rest is left to the builder's defaults.
`prefixes` then names the PyTorch module of every layer of the network that was built.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_arch.errors import ConvertError, listed

Shapes = dict[str, tuple[int, ...]]
Arguments = dict[str, Any]
# Most names of one kind in a message.
_LISTED = 20


@dataclasses.dataclass(frozen=True)
class Layout:
    """Layout of a weight in PyTorch.

    Attributes:
        shape: From the shape of the Keras weight to that of the PyTorch tensor.
        values: From the PyTorch tensor to the Keras weight.
    """

    shape: Callable[[tuple[int, ...]], tuple[int, ...]]
    values: Callable[[np.ndarray], np.ndarray]


VECTOR = Layout(lambda shape: shape, lambda tensor: tensor)
# (out, in, h, w) to (h, w, in, out), and of a transposed one (in, out, h, w) to (h, w, out, in).
CONVOLUTION = Layout(
    lambda shape: (shape[3], shape[2], shape[0], shape[1]),
    lambda tensor: tensor.transpose(2, 3, 1, 0),
)
LINEAR = Layout(lambda shape: shape[::-1], np.transpose)
# A dense layer that PyTorch writes as a convolution over a map of one pixel.
POINTWISE = Layout(lambda shape: (*shape[::-1], 1, 1), lambda tensor: tensor[..., 0, 0].T)
# Dense layers that PyTorch writes as convolutions over a whole map of 4x4 pixels.
FROM_LATENT = Layout(
    lambda shape: (shape[0], shape[1] // 16, 4, 4),
    lambda tensor: tensor.transpose(0, 2, 3, 1).reshape(tensor.shape[0], -1),
)
TO_LOGIT = Layout(
    lambda shape: (shape[1], shape[0] // 16, 4, 4),
    lambda tensor: tensor.transpose(2, 3, 1, 0).reshape(-1, tensor.shape[0]),
)


def from_map(height: int, width: int, channels: int, *, convolution: bool = False) -> Layout:
    """Layout of a dense layer on a map that PyTorch flattens with the channels first.

    PyTorch may write it as a `convolution` over the whole map.

    Example:
        >>> from_map(7, 7, 512).shape((25088, 4096))
        (4096, 25088)
    """

    def shape(kernel: tuple[int, ...]) -> tuple[int, ...]:
        return (kernel[1], channels, height, width) if convolution else kernel[::-1]

    def values(tensor: np.ndarray) -> np.ndarray:
        maps = tensor.reshape(-1, channels, height, width)
        return maps.transpose(2, 3, 1, 0).reshape(-1, len(maps))

    return Layout(shape, values)


@dataclasses.dataclass(frozen=True)
class WeightMapping:
    """Mapping of one PyTorch source.

    Attributes:
        source: Name of the PyTorch code, for messages.
        arguments: From the state's shapes and the user's arguments to the builder's arguments.
        prefixes: From the built network and the state's shapes to the PyTorch module of each layer
            with weights.
        dense: Layout of its dense layers.
        layouts: From the built network to the other layouts of its kernels, by layer.
        optional: From the network's arguments to a pattern of tensors that may be left over, as
            PyTorch does not use them in `eval()`.
        recognizes: Whether a state's names are this source's, if an architecture has several.
        head: Pattern of the tensors that may also be left over with `include_top=False`.
    """

    source: str
    arguments: Callable[[Shapes, Arguments], Arguments]
    prefixes: Callable[[keras.Model, Shapes], dict[str, str]]
    dense: Layout = LINEAR
    layouts: Callable[[keras.Model], dict[str, Layout]] = lambda model: {}
    optional: Callable[[Arguments], str | None] = lambda arguments: None
    recognizes: Callable[[Shapes], bool] = lambda shapes: True
    head: str | None = None


def known(**arguments: Any) -> Arguments:
    """Drop the arguments that are `None`.

    Example:
        >>> known(filters=64, classes=None)
        {'filters': 64}
    """
    return {name: value for name, value in arguments.items() if value is not None}


def length(shapes: Shapes, name: str, axis: int, *, rank: int = 4) -> int | None:
    """Length of one axis of a weight, or `None` if there is no such weight.

    Example:
        >>> length({"conv1.weight": (64, 3, 7, 7)}, "conv1.weight", 1)
        3
    """
    shape = shapes.get(name, ())
    return shape[axis] if len(shape) == rank and shape[axis] > 0 else None


def numbers_in(shapes: Shapes, pattern: str) -> list[int]:
    """Numbers that a pattern's group finds in the names, in order.

    Example:
        >>> numbers_in({"layer1.0.bias": (3,), "layer1.1.bias": (3,)}, r"layer1[.](\\d)")
        [0, 1]
    """
    found = (re.match(pattern, name) for name in shapes)
    return sorted({int(match[1]) for match in found if match})


def square_image(
    shapes: Shapes, name: str, side: int | None
) -> tuple[int | None, int | None, int] | None:
    """Shape of a square image with the channels that the convolution `name` sees, if it is there.

    Example:
        >>> square_image({"conv1.weight": (64, 3, 7, 7)}, "conv1.weight", 224)
        (224, 224, 3)
    """
    channels = length(shapes, name, 1)
    return (side, side, channels) if channels else None


def count_layers(model: keras.Model, pattern: str) -> int:
    """Number of layers whose whole name matches a pattern.

    Example:
        >>> count_layers(keras.Sequential([keras.layers.ReLU(name="stage1")]), r"stage[0-9]+")
        1
    """
    return sum(re.fullmatch(pattern, layer.name) is not None for layer in model.layers)


def sequential_stages(module: str, stages: int, offset: int) -> dict[str, str]:
    """Prefixes of stages 2 to `stages` in a `Sequential` of (convolution, norm, activation).

    `offset` is the index of the convolution of stage s less 3 s.

    Example:
        >>> sequential_stages("main", 2, -4)
        {'stage2_conv': 'main.2', 'stage2_norm': 'main.3'}
    """
    return {
        f"stage{stage}_{part}": f"{module}.{3 * stage + offset + index}"
        for stage in range(2, stages + 1)
        for index, part in enumerate(("conv", "norm"))
    }


def none_of(architecture: str, source: str, tensor: str, shapes: Shapes) -> ConvertError:
    """Error for a state without `tensor`, the first of an architecture by the names of a source.

    Example:
        >>> raise none_of("AlexNet", "torchvision", "features.0.weight", {"conv1.weight": ()})
        Traceback (most recent call last):
        keras_arch.errors.ConvertError: the state dict holds no tensor of AlexNet by ...
    """
    return ConvertError(
        f"the state dict holds no tensor of {architecture} by the names of {source}, such as "
        f"{tensor!r}; it begins with {next(iter(shapes), None)!r}"
    )


def refuse_misfits(what: str, problems: dict[str, list[str]]) -> None:
    """Raise a `ConvertError` that says what does not fit, with the names by the kind of problem.

    Example:
        >>> refuse_misfits("the state dict does not fit VGG16", {"missing": ["a"], "misshaped": []})
        Traceback (most recent call last):
        keras_arch.errors.ConvertError: the state dict does not fit VGG16; missing: a
    """
    kinds = [f"{kind}: {listed(names, _LISTED)}" for kind, names in problems.items() if names]
    if kinds:
        raise ConvertError("; ".join([what, *kinds]))
