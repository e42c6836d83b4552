"""What a PyTorch source is described by, so that its tensors find their layers.

A family has two functions. `arguments` reads from names and shapes which network a state dict is
of, so that sister models (other widths, depths, channels) convert as well; what the state does not
tell is left to the builder's defaults. `prefixes` then names the PyTorch module of every Keras
layer of the network that was built.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_arch.errors import ConvertError

Shapes = dict[str, tuple[int, ...]]
Arguments = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Layout:
    """How PyTorch lays a weight out.

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
    """A dense layer on a flattened map, which PyTorch flattens with the channels first.

    Args:
        height: Of the map.
        width: Of the map.
        channels: Of the map.
        convolution: Whether PyTorch writes it as a convolution over the whole map.

    Example:
        >>> from_map(7, 7, 512).shape((25088, 4096))
        (4096, 25088)
    """

    def shape(kernel: tuple[int, ...]) -> tuple[int, ...]:
        units = kernel[1]
        return (units, channels, height, width) if convolution else (units, kernel[0])

    def values(tensor: np.ndarray) -> np.ndarray:
        maps = tensor.reshape(-1, channels, height, width)
        return maps.transpose(2, 3, 1, 0).reshape(-1, len(maps))

    return Layout(shape, values)


@dataclasses.dataclass(frozen=True)
class Family:
    """One PyTorch source.

    Attributes:
        source: Which PyTorch code the names are from.
        arguments: From the state's shapes and the user's arguments to the builder's arguments.
        prefixes: From the built network and the state's shapes to the PyTorch module of each layer
            with weights.
        dense: Layout of its dense layers.
        layouts: From the built network to the layouts of the kernels that are laid out otherwise.
        optional: Patterns of tensors that PyTorch does not use in `eval()`, or that a network
            which was asked for without them leaves out: with the arguments of the network, those
            that may be left over.
        recognises: Whether a state's names are this source's, where an architecture has several.
    """

    source: str
    arguments: Callable[[Shapes, Arguments], Arguments]
    prefixes: Callable[[keras.Model, Shapes], dict[str, str]]
    dense: Layout = LINEAR
    layouts: Callable[[keras.Model], dict[str, Layout]] = lambda model: {}
    optional: Callable[[Arguments], str | None] = lambda arguments: None
    recognises: Callable[[Shapes], bool] = lambda shapes: True


def known(**arguments: Any) -> Arguments:
    """The arguments that are not `None`.

    Example:
        >>> known(filters=64, classes=None)
        {'filters': 64}
    """
    return {name: value for name, value in arguments.items() if value is not None}


def length(shapes: Shapes, name: str, axis: int, *, rank: int = 4) -> int | None:
    """The length of one axis of a weight, or `None` where there is no such weight.

    Example:
        >>> length({"conv1.weight": (64, 3, 7, 7)}, "conv1.weight", 1)
        3
    """
    shape = shapes.get(name, ())
    return shape[axis] if len(shape) == rank and shape[axis] > 0 else None


def numbers_in(shapes: Shapes, pattern: str) -> list[int]:
    """The numbers that a pattern's group finds in the names, in order.

    Example:
        >>> numbers_in({"layer1.0.bias": (3,), "layer1.1.bias": (3,)}, r"layer1[.](\\d)")
        [0, 1]
    """
    found = (re.match(pattern, name) for name in shapes)
    return sorted({int(match[1]) for match in found if match})


def unless_top(arguments: Arguments, head: str) -> str | None:
    """A pattern of the tensors that a backbone leaves out, `None` for a network with its head.

    Example:
        >>> unless_top({"include_top": False}, r"fc[.]")
        'fc[.]'
    """
    return head if arguments.get("include_top") is False else None


def none_of(architecture: str, source: str, tensor: str, shapes: Shapes) -> ConvertError:
    """What to say of a state that has not even the first tensor of a network.

    Args:
        architecture: What it was to be.
        source: Whose names were looked for.
        tensor: The name of the first one.
        shapes: Of the state.

    Example:
        >>> raise none_of("AlexNet", "torchvision", "features.0.weight", {"conv1.weight": ()})
        Traceback (most recent call last):
        keras_arch.errors.ConvertError: the state dict holds no tensor of AlexNet by ...
    """
    return ConvertError(
        f"the state dict holds no tensor of {architecture} by the names of {source}, such as "
        f"{tensor!r}; it begins with {next(iter(shapes), None)!r}"
    )
