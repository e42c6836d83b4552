"""Net surgery: weights of a classifier, or of a coarser network, in a fully convolutional one.

Source: Long, Shelhamer and Darrell 2015, sections 3.1 (a dense layer over a map is a convolution
as large as the map) and 4.2 (a finer network starts from the coarser one, its new layers at zero).
"""

import logging
import re
from typing import Any

import keras
import numpy as np

from keras_arch.errors import ArgumentError, listed
from keras_arch.weights import (
    SETTINGS,
    Source,
    Weights,
    fit_channels,
    fit_stems,
    load_weights,
    open_source,
    warn_of_stems,
)

# Layers that start fresh where the weights have none that fit, and those that may be left over.
_SCORES = re.compile(r"(up)?score.*")
_DENSE = re.compile(r"fc[67]")
_HEADS = re.compile(r"(up)?score.*|fc\d+|logits|auxiliary\d+_.+")

_log = logging.getLogger(__name__)


def bilinear_kernel(size: int, channels: int) -> np.ndarray:
    """The kernel of a transposed convolution that interpolates each channel by itself.

    Source: Long et al. 2015, section 3.3, and the authors' code.

    Args:
        size: Of the kernel, twice the stride.
        channels: That go in and come out.

    Returns:
        An array `(size, size, channels, channels)`, zero between different channels.

    Example:
        >>> bilinear_kernel(4, 1)[1, :, 0, 0]
        array([0.1875, 0.5625, 0.5625, 0.1875], dtype=float32)
    """
    stride = (size + 1) // 2
    centre = stride - 1 if size % 2 else stride - 0.5
    line = 1 - np.abs(np.arange(size) - centre) / stride
    return np.multiply.outer(np.outer(line, line), np.eye(channels)).astype(np.float32)


def start_from(model: keras.Model, weights: Weights, architecture: str) -> keras.Model:
    """Load the weights of a classifier, or of another FCN on its backbone, into a new FCN.

    Layers are matched by name, all of the backbone or none. `fc6` and `fc7` of a classifier become
    convolutions. Scores that the weights do not have, or have for other classes, start fresh, and
    so do `fc6` and `fc7` where the weights are a backbone's without its top; the logger
    `keras_arch` warns.

    Args:
        model: The network; it is returned.
        weights: As for `keras_arch.weights.load_weights`; a `.weights.h5` file is one of this very
            network.
        architecture: Name of its builder.

    Raises:
        KerasArchError: If there is no such model, or it does not fit; nothing was changed then.

    Example:
        >>> import keras_arch
        >>> start_from(keras_arch.models.FCN32s(units=2, backbone="VGG11"), None, "FCN32s").name
        'fcn32s_vgg11'
    """
    opened = open_source(weights, architecture)
    if not isinstance(opened, Source):
        return load_weights(model, opened, architecture)
    source, where = opened.model, opened.label
    own = {layer.name: layer for layer in model.layers if layer.weights}
    _check_settings(model, own, source, where)
    given = {layer.name: layer.get_weights() for layer in source.layers if layer.weights}
    _to_convolutions(given, own, where)
    stems = fit_stems(model, {name: [x.shape for x in values] for name, values in given.items()})
    for name in stems:
        given[name][0] = fit_channels(given[name][0], own[name].kernel.shape[2])
    fresh = _check(model, own, given, where)
    for name, layer in own.items():
        if name not in fresh:
            layer.set_weights(given[name])
    warn_of_stems(model, stems, where)
    if fresh:
        _log.warning("%s: %s start fresh, %s has none", model.name, ", ".join(fresh), where)
    return model


def _check_settings(
    model: keras.Model, own: dict[str, Any], source: keras.Model, where: str
) -> None:
    """Refuse weights of a backbone whose layers have the same shapes and do something else."""
    for layer in source.layers:
        mine = own.get(layer.name)
        # Windows of maps: those of dense layers, and of scores, are this network's own.
        if mine is None or _HEADS.fullmatch(layer.name):
            continue
        for key in SETTINGS:
            ours, theirs = getattr(mine, key, None), getattr(layer, key, None)
            if ours != theirs:
                raise ArgumentError(
                    f"{where} does not fit {model.name}: {layer.name} has {key} {theirs} there and "
                    f"{ours} here; it may be of another variant, see backbone_arguments"
                )


def _to_convolutions(given: dict[str, list], own: dict[str, Any], where: str) -> None:
    """Reshape kernels of dense layers to those of the convolutions that they become."""
    for name in filter(_DENSE.fullmatch, own):
        kernel = given.get(name, [np.empty(())])[0]
        if kernel.ndim != 2:
            continue
        height, width, channels = own[name].kernel.shape[:3]
        # A wrong `fc7` shows in its shape, a wrong `fc6` does not.
        if name == "fc6" and len(kernel) != height * width * channels:
            raise ArgumentError(
                f"fc6 of {where} takes {len(kernel)} numbers, and here it looks at "
                f"{height}x{width} pixels of {channels} channels, which are "
                f"{height * width * channels}; give a classifier of 224x224 pixels"
            )
        given[name][0] = kernel.reshape(height, width, -1, kernel.shape[1])


def _check(
    model: keras.Model, own: dict[str, Any], given: dict[str, list], where: str
) -> list[str]:
    """Names of the layers that start fresh, if all others fit."""
    fresh, missing, misshaped = [], [], []
    has_dense = any(_DENSE.fullmatch(name) for name in given)
    for name, layer in own.items():
        shapes = [tuple(weight.shape) for weight in layer.weights]
        theirs = [array.shape for array in given.get(name, ())]
        if shapes == theirs:
            continue
        if _SCORES.fullmatch(name) or (_DENSE.fullmatch(name) and not has_dense):
            fresh.append(name)
        elif name not in given:
            missing.append(name)
        else:
            misshaped.append(f"{name} {theirs[0]} for {shapes[0]}")
    unexpected = [name for name in given if name not in own and not _HEADS.fullmatch(name)]
    problems = {"missing": missing, "unexpected": unexpected, "misshaped": misshaped}
    if any(problems.values()):
        kinds = "; ".join(f"{kind}: {listed(names)}" for kind, names in problems.items() if names)
        raise ArgumentError(f"{where} does not fit {model.name}; {kinds}")
    return fresh
