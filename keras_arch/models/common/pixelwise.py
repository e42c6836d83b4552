"""What networks that classify every pixel share: a backbone's maps, crops, and the end."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import layers, ops

from keras_arch import layers as shared
from keras_arch import registry
from keras_arch.errors import ArgumentError
from keras_arch.models.common.features import features, levels
from keras_arch.weights import Weights

# A size at which the maps of every backbone show whether they are whole parts of the image.
_PROBE = 256
# Arguments of a backbone that are not its user's.
_DECIDED = (
    "include_top",
    "weights",
    "input_shape",
    "pooling",
    "classes",
    "classifier_activation",
    "auxiliary",
    "synchronized",
    "units",
    "name",
)


def check_classes(classes: int, activation: str | None) -> None:
    """Refuse classes and an activation that cannot be together.

    Args:
        classes: Number of classes.
        activation: Of the last layer, `None` for logits.

    Raises:
        ArgumentError: If there are none, or the activation is not one of Keras', or a softmax is
            asked for over a single class.

    Example:
        >>> check_classes(1, "sigmoid")
    """
    shared.check_positive(classes=classes)
    try:
        function = keras.activations.get(activation)
    except ValueError:
        raise ArgumentError(
            "classifier_activation must be a Keras activation such as 'softmax' or 'sigmoid', or "
            f"None for logits, got {activation!r}"
        ) from None
    if classes == 1 and function is keras.activations.softmax:
        raise ArgumentError(
            "a softmax over one class is 1 everywhere; give classes=2, or "
            "classifier_activation='sigmoid' with classes=1"
        )


def probabilities(x: Any, activation: str | None) -> Any:
    """The layer `probabilities` on logits, in single precision.

    Args:
        x: Logits `(batch, height, width, classes)`.
        activation: `None` leaves them as they are.

    Returns:
        The output tensor.
    """
    if keras.activations.get(activation) is keras.activations.linear:
        return x
    return layers.Activation(activation, dtype=shared.output_dtype(), name="probabilities")(x)


def crop_to(x: Any, reference: Any, offset: int, name: str) -> Any:
    """The part of a map that lies on another: from an offset on, and of the other's size.

    Where sizes are open the pixels are counted in the graph.

    Args:
        x: Map with channels last, at least `offset` larger than the other.
        reference: Map or image whose height and width are taken.
        offset: Of the first row and column.
        name: Name of the layer.

    Returns:
        The part, with the channels of `x`.

    Example:
        >>> crop_to(keras.Input((20, 30, 5)), keras.Input((16, 16, 1)), 2, "crop").shape
        (None, 16, 16, 5)
    """
    ours, wanted = x.shape[1:3], reference.shape[1:3]
    if None not in (*ours, *wanted):
        sides = [(offset, mine - offset - side) for mine, side in zip(ours, wanted, strict=True)]
        return layers.Cropping2D(sides, data_format="channels_last", name=name)(x)
    for axis in (1, 2):
        line = reference[:1, :, :1, :1] if axis == 1 else reference[:1, :1, :, :1]
        ones = ops.ones_like(ops.reshape(line, (-1,)), dtype="int32")
        x = ops.take(x, ops.cumsum(ones) + (offset - 1), axis=axis)
    return layers.Identity(name=name)(x)


def backbones() -> tuple[str, ...]:
    """Names of the architectures that have stages to build on.

    Example:
        >>> "ResNet18" in backbones()
        True
    """
    return tuple(entry.name for entry in registry.entries() if entry.task == "image-classification")


def pyramid(
    name: str,
    input_shape: tuple[int | None, int | None, int],
    weights: Weights = None,
    *,
    argument: str,
    arguments: Mapping[str, Any] | None = None,
    synchronized: bool = False,
) -> tuple[keras.Model, dict[int, Any]]:
    """A backbone without its top, and its maps by their level of stride.

    Args:
        name: A registered classifier with named stages.
        input_shape: Of the image.
        weights: What the backbone takes.
        argument: What the caller's user calls the backbone, for messages.
        arguments: More of its builder's, such as `{"variant": "v1.5"}`.
        synchronized: Batch norm statistics over all replicas.

    Returns:
        The model, and its last map at stride 2**level by level. Of a stage that ends in
        pooling that is the map before it, which is finer.

    Raises:
        ArgumentError: If there is no such backbone, it has no such argument, or its maps are not
            whole parts of the image.

    Example:
        >>> _, maps = pyramid("ResNet18", (64, 64, 3), argument="encoder")
        >>> {level: tuple(map.shape[1:3]) for level, map in maps.items()}
        {1: (32, 32), 2: (16, 16), 3: (8, 8), 4: (4, 4), 5: (2, 2)}
    """
    if name not in backbones():
        raise ArgumentError(f"{argument} must be one of {', '.join(backbones())}, got {name!r}")
    entry = registry.entry(name)
    given = _check_arguments(name, argument, arguments)
    if "synchronized" in entry.arguments:
        given = {"synchronized": synchronized} | given
    model = entry.builder(include_top=False, input_shape=input_shape, weights=weights, **given)
    found = levels(model)
    outputs = features(model, found).output
    _check_whole(name, argument, model, found, input_shape)
    maps: dict[int, Any] = {}
    for level, output in outputs.items():
        number = int(level[1:])
        before = _before_pooling(output)
        if before is not None:
            maps[number - 1] = before
        maps[number] = output
    return model, dict(sorted(maps.items()))


def _check_arguments(name, argument, arguments):
    """What the user has to say about a backbone, without what the network decides."""
    if arguments is None:
        return {}
    if not isinstance(arguments, Mapping):
        raise ArgumentError(
            f"{argument}_arguments must be arguments of {name} by name, got {arguments!r}"
        )
    free = [known for known in registry.entry(name).arguments if known not in _DECIDED]
    for given in arguments:
        if given not in free:
            raise ArgumentError(
                f"{argument}_arguments has {given!r}; {name} has {', '.join(free) or 'none'}"
            )
    return dict(arguments)


def _check_whole(name, argument, model, levels, input_shape):
    """Refuse maps that are smaller than their strides make of the image."""
    size = input_shape[:2]
    shapes = {level: model.get_layer(layer).output.shape for level, layer in levels.items()}
    if None in size:
        size = tuple(side or _PROBE for side in size)
        shapes = features(model, levels).compute_output_shape((1, *size, input_shape[-1]))
    for level, shape in shapes.items():
        stride = 2 ** int(level[1:])
        for side, whole in zip(shape[1:3], size, strict=True):
            if side < whole // stride:
                raise ArgumentError(
                    f"{argument} {name!r} has unpadded convolutions: of {whole} pixels it leaves "
                    f"{side} at stride {stride}, which do not lie on the image; take a backbone "
                    "that pads, such as 'ResNet18' or 'VGG16'"
                )


def _before_pooling(x: Any) -> Any:
    """The map that a stage pools at its end, as VGG's do; `None` where it does not."""
    operation = x._keras_history.operation
    while isinstance(operation, layers.Identity):
        operation = operation.input._keras_history.operation
    halves = isinstance(operation, layers.MaxPooling2D) and operation.pool_size == (2, 2)
    return operation.input if halves and operation.strides == (2, 2) else None
