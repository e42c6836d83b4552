"""Parts of networks that classify every pixel: backbones with their pyramid of maps, and crops."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import layers, ops

from keras_arch import registry
from keras_arch._tensorflow.fused_batch_norm import fuse
from keras_arch.errors import ArgumentError, whole_number
from keras_arch.layers import recursion_limit
from keras_arch.models.common import channels_last, sizes
from keras_arch.models.common.features import features, levels
from keras_arch.models.common.heads import check_activation
from keras_arch.weights import Weights

# A size at which the maps of every backbone show whether they are whole parts of the image.
_PROBE = 256
# Arguments of a backbone's builder that the network on it decides.
_DECIDED = {"include_top", "weights", "input_shape", "pooling", "classes", "classifier_activation"}
_DECIDED |= {"auxiliary", "synchronized", "units", "name"}


def check_classes(classes: Any, activation: str | None) -> int:
    """The number of classes as an `int`, if it goes with the activation (`None` for logits).

    Raises:
        ArgumentError: If it is none, or the activation is not one of Keras', or a softmax is asked
            for over a single class.

    Example:
        >>> check_classes(1, "sigmoid")
        1
    """
    classes = whole_number("classes", classes)
    if check_activation(activation) is keras.activations.softmax and classes == 1:
        raise ArgumentError(
            "a softmax over one class is 1 everywhere; give classes=2, or "
            "classifier_activation='sigmoid' with classes=1"
        )
    return classes


def crop_to(x: Any, reference: Any, offset: int, name: str) -> Any:
    """Crop of a map to the size of another; where sizes are open pixels are counted in the graph.

    Args:
        x: Map with channels last, at least `offset` larger than the other.
        reference: Map or image whose height and width are taken.
        offset: Of the first row and column.
        name: Name of the layer.

    Example:
        >>> crop_to(keras.Input((20, 30, 5)), keras.Input((16, 16, 1)), 2, "crop").shape
        (None, 16, 16, 5)
    """
    ours, wanted = x.shape[1:3], reference.shape[1:3]
    if None not in (*ours, *wanted):
        sides = [(offset, mine - offset - side) for mine, side in zip(ours, wanted, strict=True)]
        return channels_last.Cropping2D(sides, name=name)(x)
    for axis in (1, 2):
        line = reference[:1, :, :1, :1] if axis == 1 else reference[:1, :1, :, :1]
        ones = ops.ones_like(ops.reshape(line, (-1,)), dtype="int32")
        x = ops.take(x, ops.cumsum(ones) + (offset - 1), axis=axis)
    return layers.Identity(name=name)(x)


def backbones() -> tuple[str, ...]:
    """Names of the registered architectures that may be backbones: all classifiers."""
    return tuple(entry.name for entry in registry.entries("image-classification"))


def name_of(backbone: Any) -> str:
    """The name of a backbone in names of models and messages."""
    return backbone.name if isinstance(backbone, keras.Model) else str(backbone)


def default_shape(
    backbone: Any, usual: tuple[int | None, int | None, int]
) -> tuple[int | None, int | None, int]:
    """The input shape of a backbone that is a model, else the usual one."""
    if not isinstance(backbone, keras.Model):
        return usual
    shape = getattr(backbone, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[-1] is None:
        raise ArgumentError(
            f"backbone {backbone.name!r} must be a functional model of images (batch, height, "
            f"width, channels), its input is {shape!r}"
        )
    return shape[1:]


def pyramid(
    backbone: str | keras.Model,
    input_shape: tuple[int | None, int | None, int],
    weights: Weights = None,
    arguments: Mapping[str, Any] | None = None,
    synchronized: bool = False,
    multiple: int | None = None,
) -> tuple[Any, dict[int, Any]]:
    """A backbone's image, and its maps by their level of stride.

    Args:
        backbone: A registered classifier by name, or a functional model, which is copied with its
            weights.
        input_shape: Of the image.
        weights: `weights` of a registered backbone's builder, as `synchronized` is.
        arguments: Others of its builder, such as `{"shortcut": "C"}`.
        synchronized: Batch norm statistics over all replicas.
        multiple: Where the backbone rounds sizes down, pad the image below and on the right to a
            multiple of so many pixels first: then no map ends in the image.

    Returns:
        The input `image`, and the last map at stride 2**level by level: of a stage that ends in
        pooling the map before it, which is finer.

    Raises:
        ArgumentError: If there is no such backbone, it has no such argument, or its maps are not
            whole parts of the image.

    Example:
        >>> _, maps = pyramid("ResNet18", (64, 64, 3))
        >>> {level: tuple(map.shape[1:3]) for level, map in maps.items()}
        {1: (32, 32), 2: (16, 16), 3: (8, 8), 4: (4, 4), 5: (2, 2)}
    """
    if isinstance(backbone, keras.Model):
        model = _copy(backbone, input_shape, weights, arguments)
    else:
        model = _build(backbone, input_shape, weights, arguments, synchronized)
    _check_whole(name_of(backbone), model, input_shape)
    if multiple and _rounds_down(model, input_shape, multiple):
        image = keras.Input(input_shape, name="image")
        padded = sizes.pad_to_multiple(image, multiple, "image_pad")
        if not isinstance(backbone, keras.Model):
            # Its own padding follows from the size that it is built for.
            weighted = model
            model = _build(backbone, tuple(padded.shape[1:]), None, arguments, synchronized)
            model.set_weights(weighted.get_weights())
        model = _cloned(model, image, "the backbone", padded)
    maps: dict[int, Any] = {}
    for level, output in model.output.items():
        number = int(level[1:])
        before = _before_pooling(output)
        if before is not None:
            maps[number - 1] = before
        maps[number] = output
    return model.input, dict(sorted(maps.items()))


def _build(name, input_shape, weights, arguments, synchronized):
    """The maps of a registered backbone by level, as a model."""
    if name not in backbones():
        raise ArgumentError(
            f"backbone must be a Keras model or one of {', '.join(backbones())}, got {name!r}"
        )
    entry = registry.entry(name)
    given = {} if arguments is None else arguments
    _check_arguments(name, given)
    if "synchronized" in entry.arguments:
        given = {"synchronized": synchronized, **given}
    model = entry.builder(include_top=False, input_shape=input_shape, weights=weights, **given)
    return features(model, levels(model))


def _copy(backbone, input_shape, weights, arguments):
    """The maps of a given model by level, as a model on an input `image` of its own.

    Copied, so that the image may have another size, the layers are those of one network, and the
    given model stays as it is.
    """
    if weights is not None or arguments is not None:
        raise ArgumentError(
            "backbone_weights and backbone_arguments are for a registered backbone by name; "
            f"backbone is the model {backbone.name!r}, which has its own"
        )
    channels = default_shape(backbone, input_shape)[-1]
    if channels != input_shape[-1]:
        raise ArgumentError(
            f"backbone {backbone.name!r} takes images of {channels} channels, input_shape is "
            f"{input_shape}"
        )

    maps = features(backbone, levels(backbone))
    image = keras.Input(input_shape, name="image")
    return _cloned(maps, image, f"backbone {backbone.name!r}")


def _cloned(model, image, title, begin=None):
    """The layers of a model copied with their weights, on another image.

    The first of them take `begin`, a map of the image, or the image itself.
    """

    def copied(layer):
        if not isinstance(layer, layers.Layer):
            return layer
        copy = type(layer).from_config(layer.get_config())
        return fuse(copy) if type(copy) is layers.BatchNormalization else copy

    def call(layer, *arguments, **more):
        if begin is not None:
            arguments = keras.tree.map_structure(lambda x: begin if x is image else x, arguments)
        return layer(*arguments, **more)

    try:
        with recursion_limit():
            copy = keras.models.clone_model(
                model,
                input_tensors=keras.tree.map_structure(lambda _: image, model.input),
                clone_function=copied,
                call_function=call,
            )
    except ValueError as error:
        reason = str(error).strip().partition("\n")[0]
        raise ArgumentError(
            f"{title} does not take images of {tuple(image.shape[1:])}: {reason}"
        ) from error
    copy.set_weights(model.get_weights())
    return keras.Model(image, copy.output)


def _check_arguments(name, arguments):
    """Refuse what is no argument of a backbone, or one that the network decides."""
    if not isinstance(arguments, Mapping):
        raise ArgumentError(
            f"backbone_arguments must be arguments of {name} by name, got {arguments!r}"
        )
    free = [known for known in registry.entry(name).arguments if known not in _DECIDED]
    for given in arguments:
        if given not in free:
            raise ArgumentError(
                f"backbone_arguments has {given!r}; {name} has {', '.join(free) or 'none'}"
            )


def _sides(model, input_shape, probe):
    """`(stride, side of the map, side of the image)` of all maps, open sides being `probe`."""
    size = tuple(side or probe for side in input_shape[:2])
    shapes = {level: output.shape for level, output in model.output.items()}
    if None in input_shape[:2]:
        shapes = model.compute_output_shape((1, *size, input_shape[-1]))
    for level, shape in shapes.items():
        for side, whole in zip(shape[1:3], size, strict=True):
            yield 2 ** int(level[1:]), side, whole


def _rounds_down(model, input_shape, multiple):
    """Whether maps of strides up to `multiple` end in the image."""
    # A size that is odd after each halving that rounds up.
    sides = _sides(model, input_shape, _PROBE + 1)
    return any(side * stride < whole for stride, side, whole in sides if stride <= multiple)


def _check_whole(name, model, input_shape):
    """Refuse maps that are smaller than the image divided by their strides."""
    for stride, side, whole in _sides(model, input_shape, _PROBE):
        if side < whole // stride:
            raise ArgumentError(
                f"backbone {name!r} has unpadded convolutions: of {whole} pixels it leaves "
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
