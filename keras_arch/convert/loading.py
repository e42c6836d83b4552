"""Conversion of PyTorch state dicts: builds a network and sets its weights."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_arch import models, registry
from keras_arch.convert import checkpoint, safetensors
from keras_arch.convert.all_mappings import MAPPINGS, mapping_of
from keras_arch.convert.weight_mapping import (
    CONVOLUTION,
    VECTOR,
    Arguments,
    Layout,
    Shapes,
    WeightMapping,
    none_of,
    refuse_misfits,
)
from keras_arch.errors import ConvertError

_NORM_PARTS = ("weight", "bias", "running_mean", "running_var")
# Prefixes that DataParallel and torch.compile put before every name.
_PREFIXES = ("module.", "_orig_mod.")
# PyTorch tensors of each layer: their names, their shapes and layouts.
_Tensors = dict[str, list[tuple[str, tuple[int, ...], Layout]]]


def convertible() -> tuple[str, ...]:
    """Names of the architectures that `from_torch` converts.

    Example:
        >>> "Pix2PixGenerator" in convertible()
        True
    """
    return tuple(MAPPINGS)


def from_torch(
    name: str, state_dict: Mapping[str, Any] | str | os.PathLike, **arguments: Any
) -> keras.Model:
    """Build a network with the weights of a PyTorch model, without PyTorch.

    Sources of the names: torchvision (`ResNet18` to `ResNet152`, `VGG11` to `VGG19` with and
    without batch norm, `AlexNet`, `GoogLeNet`), timm (its `resnet` and `vgg`), the transformers
    library (its `resnet`, which is how Facebook's and Microsoft's are published),
    pytorch_resnet_cifar10 (`CIFARResNet`), pytorch-CycleGAN-and-pix2pix (`Pix2PixGenerator`,
    `PatchDiscriminator`, `CycleGANGenerator`), the DCGAN of the PyTorch examples, pytorch-fcn
    (`FCN32s`, `FCN16s`, `FCN8s`) and Pytorch-UNet (`UNet` with deconvolutions). Which network
    it is (depth, widths, channels, classes) is inferred from the names and shapes. Other
    content of a checkpoint is left out, and so are a prefix `module.` of all names, counts of
    batches, and tensors that PyTorch does not use in `eval()`: GoogLeNet's auxiliary heads (unless
    `auxiliary=True` asks for them), and the running statistics of norms without gain and bias.

    Args:
        name: A registered architecture, one of `convertible()`.
        state_dict: Tensors by name, as NumPy arrays; or the path of a `.safetensors` file, of the
            index of its shards (`model.safetensors.index.json`, beside them), or of one that
            `torch.save` wrote (`.pth`, `.pt`, `.bin`), which is read without unpickling
            anything but tensors.
        **arguments: Arguments of the builder, before what the state dict says: for example
            `image_shape` (of discriminators `input_shape`), which it cannot know, or
            `include_top=False`. Without a head in the state there is none in the network. ResNets
            are built with `variant="v1.5"`, as all PyTorch sources have them. `Pix2PixGenerator`
            is built with `inference_norm="moving"` and without dropout at inference unless asked
            otherwise, which is PyTorch's `eval()`. A `PatchDiscriminator` that sees more than
            three channels is taken for one with a target of three.

    Returns:
        The built `keras.Model` with the weights in. Its images are prepared as in the source:
        torchvision's with mean [0.485, 0.456, 0.406] and std [0.229, 0.224, 0.225] of pixels
        in [0, 1]; those of torchvision's published GoogLeNet, which has `transform_input=True`,
        with mean and std 0.5.

    Raises:
        ConvertError: If the architecture has no known PyTorch source, or the state dict does
            not fit it; the message lists missing, unexpected and misshaped tensors.
        UnsafeContentError: If a file holds pickled classes or functions.
        ArgumentError: If an argument is not one of the builder's.

    Example:
        >>> import numpy as np
        >>> state = {"net.0.weight": np.zeros((2, 3, 1, 1)), "net.0.bias": np.zeros(2)}
        >>> state |= {"net.2.weight": np.ones((4, 2, 1, 1)), "net.2.bias": np.ones(4)}
        >>> state |= {"net.5.weight": np.ones((1, 4, 1, 1)), "net.5.bias": np.ones(1)}
        >>> from_torch("PatchDiscriminator", state, input_shape=(8, 8, 3)).output_shape
        (None, 8, 8, 1)
    """
    registry.entry(name)
    if name not in MAPPINGS:
        raise ConvertError(f"{name} has no converter; there is one for {', '.join(MAPPINGS)}")
    if (weights := arguments.get("weights")) is not None:
        raise ConvertError(f"weights come from the state dict; leave {weights=} out")
    state = _read(state_dict)
    shapes = {tensor: values.shape for tensor, values in state.items()}
    mapping = mapping_of(name, shapes)
    arguments = mapping.arguments(shapes, arguments) | arguments
    model = models.create(name, **arguments)
    wanted = _wanted(model, mapping, shapes)
    _check(name, mapping, model, wanted, shapes, arguments)
    for layer, parts in wanted.items():
        values = [layout.values(state[tensor]) for tensor, _, layout in parts]
        model.get_layer(layer).set_weights(values)
    return model


def _read(state_dict: Mapping[str, Any] | str | os.PathLike) -> dict[str, np.ndarray]:
    """Read the tensors as float32 arrays, without counts of batches."""
    if isinstance(state_dict, str | os.PathLike):
        path = Path(state_dict)
        if path.name.endswith(safetensors.INDEX):
            state_dict = safetensors.read_shards(path)
        elif path.suffix == ".safetensors":
            state_dict = safetensors.read(path)
        elif checkpoint.is_checkpoint(path):
            state_dict = checkpoint.read(path)
    if not isinstance(state_dict, Mapping) or not state_dict:
        got = "nothing" if isinstance(state_dict, Mapping) else type(state_dict).__name__
        got = repr(str(state_dict)) if isinstance(state_dict, str | os.PathLike) else got
        forms = "arrays by name or the path of a .safetensors or .pth file"
        raise ConvertError(f"state_dict must be {forms}, got {got}")
    state_dict = checkpoint.unwrapped(state_dict)
    short = _without_prefix(list(map(str, state_dict)))
    state = {}
    for name, tensor in state_dict.items():
        if str(name).endswith("num_batches_tracked"):
            continue
        values = None if isinstance(tensor, Mapping) else np.asarray(tensor)
        if values is None or values.dtype.kind not in "fiu":
            raise ConvertError(
                f"state_dict[{name!r}] must be an array of numbers, got {type(tensor).__name__}"
            )
        state[short[str(name)]] = values.astype(np.float32, copy=False)
    return state


def _without_prefix(names: list[str]) -> dict[str, str]:
    """The network's own name for each name."""
    short = {name: name for name in names}
    while True:
        prefix = next((p for p in _PREFIXES if all(v.startswith(p) for v in short.values())), None)
        if prefix is None or not short:
            return short
        short = {name: value.removeprefix(prefix) for name, value in short.items()}


def _wanted(model: keras.Model, mapping: WeightMapping, shapes: Shapes) -> _Tensors:
    """PyTorch tensors of each layer with weights, in Keras' order."""
    prefixes, layouts = mapping.prefixes(model, shapes), mapping.layouts(model)
    wanted = {}
    for layer in model.layers:
        if not layer.weights:
            continue
        if isinstance(layer, layers.BatchNormalization | layers.GroupNormalization):
            parts = [(part, VECTOR) for part in _NORM_PARTS]
        else:
            usual = mapping.dense if isinstance(layer, layers.Dense) else CONVOLUTION
            parts = [("weight", layouts.get(layer.name, usual)), ("bias", VECTOR)]
        wanted[layer.name] = [
            (f"{prefixes[layer.name]}.{part}", layout.shape(tuple(weight.shape)), layout)
            for (part, layout), weight in zip(parts, layer.weights, strict=False)
        ]
    return wanted


def _check(
    name: str,
    mapping: WeightMapping,
    model: keras.Model,
    wanted: _Tensors,
    shapes: Shapes,
    arguments: Arguments,
) -> None:
    """Refuse a state dict with missing, unexpected or misshaped tensors."""
    expected = {tensor: shape for parts in wanted.values() for tensor, shape, _ in parts}
    if not expected.keys() & shapes.keys():
        raise none_of(name, mapping.source, next(iter(expected)), shapes)
    # A network with instance norms leaves the running statistics out.
    modules = {tensor.rpartition(".")[0] for tensor in expected}
    head = mapping.head if arguments.get("include_top") is False else None
    optional = [pattern for pattern in (head, mapping.optional(arguments)) if pattern]
    problems = {
        "missing": [tensor for tensor in expected if tensor not in shapes],
        "unexpected": [
            tensor
            for tensor in shapes
            if tensor not in expected
            and not _is_unused(tensor, shapes, modules)
            and not any(re.match(pattern, tensor) for pattern in optional)
        ],
        "misshaped": [
            f"{tensor} {shapes[tensor]} for {shape}"
            for tensor, shape in expected.items()
            if tensor in shapes and shapes[tensor] != shape
        ],
    }
    rgb = [
        tensor
        for tensor, shape in expected.items()
        if shapes.get(tensor, ()) == (*shape[:1], 3, *shape[2:]) != shape
    ]
    if rgb and not problems["missing"] and len(problems["misshaped"]) == len(rgb) == 1:
        line = f'{name}(input_shape=..., weights=convert.from_torch("{name}", ...))'
        problems["filters for RGB are fitted to other channels by"] = [line]
    refuse_misfits(f"the state dict does not fit {name} ({model.name})", problems)


def _is_unused(tensor: str, shapes: Shapes, modules: set[str]) -> bool:
    """Whether a tensor is a running statistic of an instance norm."""
    match = re.fullmatch(r"(.+)\.running_(mean|var)", tensor)
    if not match:
        return False
    return match[1] in modules or not {f"{match[1]}.weight", f"{match[1]}.bias"} & shapes.keys()
