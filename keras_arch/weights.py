"""Loading of weights into a new network: from a file, or by layer names from another model."""

import dataclasses
import logging
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from keras_arch import pretrained, registry
from keras_arch.errors import ArgumentError, listed

# The argument `weights` of builders: nothing, a file, the name of a model, or a model.
Weights = str | os.PathLike[str] | keras.Model | None

# Layers of the classifiers at the ends of backbones: those of the auxiliary heads, the others.
_HEADS = (re.compile(r"auxiliary\d+_.+"), re.compile(r"logits|fc\d+"))
_LOGITS = re.compile(r"(auxiliary\d+_)?logits")
# Attributes in which layers with weights of equal shapes may differ.
SETTINGS = ("strides", "dilation_rate", "groups", "epsilon")

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Source:
    """An opened model whose weights a network is to have.

    Attributes:
        model: The model.
        label: The source in messages.
        architecture: Name of its builder, `None` where it is not known.
        arguments: Those of its builder.
    """

    model: keras.Model
    label: str
    architecture: str | None = None
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def open_source(
    weights: "Weights | Source", architecture: str | None = None, **settings: Any
) -> "Weights | Source":
    """Open the model that an argument `weights` names, once for all who read from it.

    Args:
        weights: As for `load_weights`.
        architecture: Name of the builder, which a tag needs.
        **settings: Arguments of the builder that the weights must have, for a tag.

    Returns:
        A `Source`; `None` and the path of a `.weights.h5` file as they are.

    Raises:
        KerasArchError: If it is none of those, or there is no such model.

    Example:
        >>> from keras_arch import models
        >>> open_source(models.CIFARResNet(depth=8)).label
        "the model 'resnet8'"
    """
    if weights is None or isinstance(weights, Source):
        return weights
    if isinstance(weights, keras.Model):
        return Source(weights, f"the model {weights.name!r}")
    if not isinstance(weights, str | os.PathLike):
        raise ArgumentError(
            "weights must be None, a .weights.h5 or .keras file, a model directory, "
            f"hf://user/repo, the name of a config, a model, 'imagenet' or another tag of "
            f"models.list_weights(), got {weights!r}"
        )
    if isinstance(weights, str):
        path = pretrained.resolve(weights, architecture, **settings)
    else:
        path = os.fspath(weights)
        path = pretrained.find_file(path, architecture) or path
    if path.endswith(pretrained.WEIGHTS_FILE):
        return path
    model, known, arguments = registry.open_model(path)
    return Source(model, f"{path!r} ({known or model.name})", known, arguments)


def load_weights(
    model: keras.Model, weights: Weights | Source, architecture: str | None = None, **settings: Any
) -> keras.Model:
    """Load weights into a freshly built model; with `None` the model stays as it is.

    Layers are matched by name and every shape is checked before the first value is set. A backbone
    takes its part of a whole classifier. A classifier of other classes than the weights' has its
    own fresh `logits`, and so does one whose weights have no head. For images of other channels the
    first convolution of weights for RGB is summed or repeated, see `fit_channels`. The logger
    `keras_arch` warns of each.

    Args:
        model: The model.
        weights: `None`; the path of a `.weights.h5` or a `.keras` file; a model directory,
            `"hf://user/repo"` or the name of a config, as for `keras_arch.hub.load`; a model; a
            `Source`; or a tag of `keras_arch.models.list_weights`: `"imagenet"`, `"tv_in1k"`, ...
            (`"a1_in1k@REVISION"` pins a revision). A folder of that name is `"./imagenet"`. How
            images are prepared is in `keras_arch.hub.pretrained_card`.
        architecture: Name of the builder, to refuse weights that are known to be another one's.
        **settings: Arguments of the builder that the weights must have too, as their shapes do not
            show them.

    Returns:
        The same model.

    Raises:
        ArgumentError: If the weights do not fit; the message lists what is missing, unexpected,
            misshaped or set differently, and nothing was loaded.
        KerasArchError: If there is no such model, as from `keras_arch.hub.load`.

    Example:
        >>> from keras_arch import models
        >>> trained = models.CIFARResNet(depth=8)
        >>> backbone = models.CIFARResNet(depth=8, include_top=False, weights=trained)
        >>> bool((backbone.get_weights()[-1] == trained.get_weights()[-3]).all())
        True
    """
    source = open_source(weights, architecture, **settings)
    if source is None:
        return model
    if not isinstance(source, Source):
        return _load_file(model, source)
    if architecture is not None and source.architecture is not None:
        _check_architecture(source, architecture, settings)
    try:
        return transfer(model, source.model, source.label)
    except ArgumentError as error:
        if not source.arguments:
            raise
        given = ", ".join(f"{key}={value!r}" for key, value in source.arguments.items())
        raise ArgumentError(
            f"{error}; it is {source.architecture}({given}), which keras_arch.hub.load gives"
        ) from None


def transfer(model: keras.Model, source: keras.Model, where: str) -> keras.Model:
    """Copy weights by layer names, all that fit or none.

    Args:
        model: The model to give weights to; it is returned.
        source: The model that has them.
        where: Name of the source in messages.

    Raises:
        ArgumentError: As for `load_weights`.

    Example:
        >>> import keras
        >>> def model(units):
        ...     x = keras.Input((3,))
        ...     return keras.Model(x, keras.layers.Dense(units, name="hidden")(x), name="small")
        >>> transfer(model(2), model(4), "the other")
        Traceback (most recent call last):
        keras_arch.errors.ArgumentError: the other does not fit small; misshaped: hidden/kernel ...
    """
    own, given = _layers(model), _layers(source)
    shapes = {name: _shapes(layer) for name, layer in given.items()}
    stems = fit_stems(model, shapes)
    fresh = _check(model, own, shapes, where, lambda name: _differences(own[name], given[name]))
    for name, layer in own.items():
        if name not in fresh:
            _set(layer, given[name].get_weights(), name in stems)
    warn_of_stems(model, stems, where)
    return model


def fit_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    """The kernel of a convolution over RGB images for images of other channels.

    One channel has the sum over the three, so that a grey image gives what its repetition in RGB
    gave. Others repeat the filters in order, times 3 / channels, which keeps the size of the sums.
    So does timm, https://github.com/huggingface/pytorch-image-models.

    Args:
        kernel: `(height, width, 3, filters)`.
        channels: Of the images.

    Example:
        >>> fit_channels(np.ones((1, 1, 3, 1)), 4)[0, 0, :, 0]
        array([0.75, 0.75, 0.75, 0.75])
    """
    if channels == 1:
        return kernel.sum(axis=2, keepdims=True)
    return kernel[:, :, np.arange(channels) % 3] * (3 / channels)


def fit_stems(model: keras.Model, shapes: dict[str, list[tuple[int, ...]]]) -> list[str]:
    """Find the convolutions over the image that `fit_channels` fits to a model's images.

    Args:
        model: The model that is to have the weights.
        shapes: Those of the given weights by layer; where they can be fitted they become the
            model's.

    Returns:
        The names of these layers.

    Example:
        >>> image = keras.Input((8, 8, 1))
        >>> model = keras.Model(image, keras.layers.Conv2D(4, 3, name="stem")(image))
        >>> fit_stems(model, {"stem": [(3, 3, 3, 4), (4,)]})
        ['stem']
    """
    found = []
    for layer in model.layers:
        theirs = shapes.get(layer.name)
        if not theirs or not _is_on_image(layer):
            continue
        ours = _shapes(layer)
        height, width, channels, filters = ours[0]
        if channels != 3 and theirs == [(height, width, 3, filters), *ours[1:]]:
            shapes[layer.name] = ours
            found.append(layer.name)
    return found


def warn_of_stems(model: keras.Model, stems: list[str], where: str) -> None:
    """Log the convolutions that were fitted to the channels of a model's images."""
    for name in stems:
        channels = model.get_layer(name).kernel.shape[2]
        how = "summed over RGB" if channels == 1 else f"repeated and scaled by 3/{channels}"
        _log.warning(
            "%s: the filters of %s, of %s for RGB, are %s for %d channels",
            model.name,
            name,
            where,
            how,
            channels,
        )


def _is_on_image(layer: keras.layers.Layer) -> bool:
    """Whether a layer is a convolution over an input, which may be padded before."""
    if not isinstance(layer, keras.layers.Conv2D) or layer.groups != 1:
        return False
    tensor = layer.input
    while isinstance(tensor, keras.KerasTensor):
        operation = tensor._keras_history.operation
        if isinstance(operation, keras.layers.InputLayer):
            return True
        if getattr(operation, "weights", None):
            return False
        tensor = operation.input
    return False


def _set(layer: keras.layers.Layer, values: list[np.ndarray], fit: bool) -> None:
    if fit:
        values = [fit_channels(values[0], layer.kernel.shape[2]), *values[1:]]
    layer.set_weights(values)


def _load_file(model: keras.Model, path: str) -> keras.Model:
    """Load a `.weights.h5` file, in which Keras has numbered the layers of each class."""
    own = _layers(model)
    nested = any(isinstance(x, keras.Model | keras.layers.Wrapper) for x in model.layers)
    try:
        values = {} if nested else _read(model, path)
        shapes = {name: [array.shape for array in arrays] for name, arrays in values.items()}
        if nested or shapes == {name: _shapes(layer) for name, layer in own.items()}:
            # Keras' own loading also restores the state of random layers.
            model.load_weights(path)
            return model
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ArgumentError(
            f"weights must be None or a .weights.h5 file of {model.name!r}, got {path!r}: {reason}"
        ) from error
    if not any(isinstance(layer, keras.layers.Dense) for layer in own.values()):
        # Dense layers are then those of a head that this model is without.
        shapes = {n: shape for n, shape in shapes.items() if not re.fullmatch(r"dense(_\d+)?", n)}
    stems = fit_stems(model, shapes)
    fresh = _check(model, own, shapes, repr(path), lambda name: [])
    for name, layer in own.items():
        if name not in fresh:
            _set(layer, values[name], name in stems)
    warn_of_stems(model, stems, repr(path))
    return model


def _read(model: keras.Model, path: str) -> dict[str, list[np.ndarray]]:
    """The arrays of a file by their layers' names in the model, else their names in the file."""
    import h5py

    # The file numbers the layers of each class: the key is `conv2d`, `conv2d_1`, ...
    names, counts = {}, {}
    for layer in model.layers:
        kind = _snake_case(type(layer).__name__)
        number = counts[kind] = counts.get(kind, -1) + 1
        names[f"{kind}_{number}" if number else kind] = layer.name
    values = {}
    with h5py.File(path, "r") as file:
        for key, group in file.get("layers", {}).items():
            arrays = group.get("vars", {})
            if len(arrays):
                ordered = sorted(arrays, key=int)
                values[names.get(key, key)] = [_array(arrays[number]) for number in ordered]
    return values


def _array(dataset: Any) -> np.ndarray:
    if dataset.attrs.get("dtype") == "bfloat16":
        # Stored as the upper half of a float32.
        return (np.asarray(dataset).view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return np.asarray(dataset)


def _check(
    model: keras.Model,
    own: Mapping[str, keras.layers.Layer],
    given: Mapping[str, list[tuple[int, ...]]],
    where: str,
    differences: Callable[[str], list[str]],
) -> set[str]:
    """Names of the layers that start fresh, if all others fit."""
    backbone = [name for name in own if not any(head.fullmatch(name) for head in _HEADS)]
    if given.keys().isdisjoint(backbone):
        raise ArgumentError(
            f"{where} has no layer of {model.name}, such as {backbone[0]!r}; it has "
            f"{', '.join(list(given)[:3])}"
        )
    fresh, dropped, notes = set(), set(), []
    for head in _HEADS:
        here = [name for name in own if head.fullmatch(name)]
        there = [name for name in given if head.fullmatch(name)]
        if not here:
            dropped |= {*there}
        elif not there:
            fresh |= {*here}
            notes.append(f"{', '.join(here)} start fresh, {where} has no such head")
        else:
            for name in (name for name in here if _LOGITS.fullmatch(name) and name in given):
                ours, theirs = _shapes(own[name]), given[name]
                # As many features, but other classes.
                if ours != theirs and ours[0][:-1] == theirs[0][:-1]:
                    fresh.add(name)
                    classes = f"{ours[0][-1]} classes, {where} has {theirs[0][-1]}"
                    notes.append(f"{name} starts fresh for {classes}")
    both = [name for name in own if name in given and name not in fresh]
    problems = {
        "missing": [name for name in own if name not in given and name not in fresh],
        "unexpected": [name for name in given if name not in own and name not in dropped],
        "misshaped": [x for name in both for x in _misshaped(name, own[name], given[name])],
        "set differently": [difference for name in both for difference in differences(name)],
    }
    if any(problems.values()):
        kinds = [f"{kind}: {listed(names, 20)}" for kind, names in problems.items() if names]
        if kinds[0].startswith("set differently"):
            kinds.append("it may be of another variant")
        raise ArgumentError(f"{where} does not fit {model.name}; {'; '.join(kinds)}")
    for note in notes:
        _log.warning("%s: %s", model.name, note)
    return fresh


def _misshaped(name: str, layer: keras.layers.Layer, given: list[tuple[int, ...]]) -> list[str]:
    if len(layer.weights) != len(given):
        return [f"{name} of {len(given)} arrays for {len(layer.weights)}"]
    return [
        f"{name}/{weight.name} {theirs} for {tuple(weight.shape)}"
        for weight, theirs in zip(layer.weights, given, strict=True)
        if tuple(weight.shape) != theirs
    ]


def _differences(own: keras.layers.Layer, given: keras.layers.Layer) -> list[str]:
    pairs = [(key, getattr(own, key, None), getattr(given, key, None)) for key in SETTINGS]
    return [
        f"{own.name} {key} {theirs} for {ours}" for key, ours, theirs in pairs if ours != theirs
    ]


def _check_architecture(source: Source, architecture: str, ours: dict[str, Any]) -> None:
    """Refuse weights of another builder, or with arguments that their shapes would not show."""
    if source.architecture != architecture:
        raise ArgumentError(
            f"{source.label} holds weights of {source.architecture}, and this is {architecture}"
        )
    known = registry.entry(architecture).arguments
    for key, value in ours.items():
        theirs = source.arguments.get(key, known[key].default if key in known else value)
        # Of a variant that followed from weights the layers are compared, in `transfer`.
        if theirs not in (value, None):
            raise ArgumentError(
                f"{source.label} holds weights of {architecture} with {key}={theirs!r}, and this "
                f"is with {key}={value!r}; give {key}={theirs!r}"
            )


def _layers(model: keras.Model, prefix: str = "") -> dict[str, keras.layers.Layer]:
    """The layers with weights by name; those of a model inside the model under its name."""
    found = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found |= _layers(layer, f"{prefix}{layer.name}/")
        elif layer.weights:
            found[f"{prefix}{layer.name}"] = layer
    return found


def _shapes(layer: keras.layers.Layer) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in layer.weights]


def _snake_case(name: str) -> str:
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
