"""Checks of the arguments of trainers: shapes, outputs and losses of the networks."""

import dataclasses
import weakref
from typing import Any

import keras

from keras_arch.data.checks import BatchCheck, Part, Shape
from keras_arch.errors import ArgumentError

# Values that a last layer's activation can give.
OUTPUT_RANGES = {"tanh": (-1.0, 1.0), "hard_tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}
# Activations whose outputs are bounded: probabilities, and none of them a logit.
_PROBABILITIES = ("sigmoid", "hard_sigmoid", "softmax")
_BOUNDED = (*_PROBABILITIES, "log_softmax", "log_sigmoid", "tanh", "hard_tanh")
# Layers that leave the kind of their input's values as it is.
_TRANSPARENT = ("Flatten", "Reshape", "Permute", "Dropout", "Identity", "Cropping2D")
# Of subclassed networks, which are called symbolically to know.
_OUTPUT_SHAPES: weakref.WeakKeyDictionary[keras.Model, Shape] = weakref.WeakKeyDictionary()


def output_range(network: keras.Model) -> tuple[float, float] | None:
    """The values that a network can give, by its last activation; `None` where it has no bounds.

    Example:
        >>> output_range(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "tanh")]))
        (-1.0, 1.0)
    """
    return OUTPUT_RANGES.get(last_activation(network) or "")


def last_activation(network: keras.Model) -> str | None:
    """The name of a network's last activation; `None` for a subclassed one, which does not say.

    Example:
        >>> inputs = keras.Input((2,))
        >>> x = keras.layers.Flatten()(keras.layers.Dense(1, "sigmoid")(inputs))
        >>> last_activation(keras.Model(inputs, x))
        'sigmoid'
    """
    if not is_functional(network):
        return None
    operation = network.outputs[0]._keras_history.operation
    while type(operation).__name__ in _TRANSPARENT or _is_linear(operation):
        (tensor,) = keras.tree.flatten(operation.input)
        before = tensor._keras_history.operation
        if type(before).__name__ == "InputLayer":
            break
        operation = before
    if isinstance(operation, keras.Model):
        return last_activation(operation)
    function = getattr(operation, "activation", None)
    if function is not None:
        linear = function is keras.activations.linear
        return None if linear else getattr(function, "__name__", None)
    # Layers and operations that are activations themselves: Softmax, ops.sigmoid.
    name = "".join("_" + c.lower() if c.isupper() else c for c in type(operation).__name__)[1:]
    return name if name in _BOUNDED else None


def _is_linear(operation: Any) -> bool:
    function = getattr(operation, "activation", None)
    return isinstance(operation, keras.layers.Activation) and function is keras.activations.linear


def check_reading(title: str, network: keras.Model, loss: Any) -> None:
    """Refuse (`ArgumentError`) a discriminator whose output is not what the loss reads.

    Args:
        title: Name of the discriminator, for the message.
        network: The discriminator.
        loss: A `losses.AdversarialLoss`.
    """
    activation = last_activation(network)
    if loss.reads == "logits" and activation in _BOUNDED:
        raise ArgumentError(
            f"{title} {network.name} ends in {activation}, and loss {loss.name} reads logits of "
            "any size: end it without an activation, or train with loss='lsgan', which takes "
            f"outputs of {activation}"
        )
    unlike = activation not in _PROBABILITIES and is_functional(network)
    if loss.reads == "probabilities" and unlike:
        raise ArgumentError(
            f"{title} {network.name} ends in {activation or 'no'} activation, and loss "
            f"{loss.name} reads probabilities: end it in a sigmoid, or give the loss "
            "from_logits=True"
        )
    if activation == "softmax" and output_shape(network)[-1] == 1:
        raise ArgumentError(
            f"{title} {network.name} ends in a softmax over one value, which is always 1: end it "
            "without an activation"
        )


def check_regularizers(network: keras.Model) -> None:
    """Refuse (`ArgumentError`) regularizers of activations, which no player's loss counts."""
    for layer in network._flatten_layers():
        if getattr(layer, "activity_regularizer", None) is not None:
            raise ArgumentError(
                f"layer {layer.name} of {network.name} has an activity_regularizer, which trainers "
                "do not count: use a kernel_regularizer, or add the term to a player's loss "
                "(docs/new_game.md)"
            )


def check_input_shapes(title: str, network: keras.Model, expected: list[Shape]) -> None:
    """Refuse (`ArgumentError`) a network with other input shapes; `title` begins the message."""
    taken = input_shapes(network)
    if taken != expected:
        raise ArgumentError(
            f"{title} must take {' and '.join(map(str, expected))}, {network.name} takes "
            f"{' and '.join(map(str, taken))}"
        )


def check_positive(**values: float) -> None:
    """Refuse (`ArgumentError`) numbers that are not positive, by the argument's name."""
    for name, value in values.items():
        if not value > 0:
            raise ArgumentError(f"{name} must be positive, got {value!r}")


def example_shape(tensor: Any) -> Shape:
    """The shape of one example of a network's input or output."""
    return tuple(tensor.shape[1:])


def is_functional(network: keras.Model) -> bool:
    """Whether a network is a graph of layers, whose inputs and outputs are tensors of Keras."""
    return bool(getattr(network, "inputs", None)) and bool(getattr(network, "outputs", None))


def input_shapes(network: keras.Model) -> list[Shape]:
    """The shapes of one example of a network's inputs; a subclassed one must be built.

    Raises:
        ArgumentError: If it is not built, or does not take its inputs as one argument.

    Example:
        >>> input_shapes(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
        [(2,)]
    """
    if is_functional(network):
        return [example_shape(tensor) for tensor in network.inputs]
    config = network.get_build_config() if network.built and network.variables else None
    if not config or "input_shape" not in config:
        raise ArgumentError(
            f"{network.name} is a subclass of keras.Model whose inputs are not known yet: call it "
            "once on a batch, all inputs as its first argument (a list where there are several)"
        )
    given = config["input_shape"]
    shapes = [given] if all(size is None or isinstance(size, int) for size in given) else given
    return [tuple(shape[1:]) for shape in shapes]


def output_shape(network: keras.Model) -> Shape:
    """The shape of one example of a network's first output; a subclassed one must be built.

    Raises:
        ArgumentError: As for `input_shapes`.

    Example:
        >>> output_shape(keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)]))
        (3,)
    """
    if is_functional(network):
        return example_shape(network.outputs[0])
    if network not in _OUTPUT_SHAPES:
        specs = [
            keras.KerasTensor((None, *shape), dtype="float32" if shape else "int32")
            for shape in input_shapes(network)
        ]
        outputs = network.compute_output_spec(specs if len(specs) > 1 else specs[0])
        _OUTPUT_SHAPES[network] = example_shape(keras.tree.flatten(outputs)[0])
    return _OUTPUT_SHAPES[network]


def batch_check(trainer: Any) -> BatchCheck:
    """What the batches of a trainer must be, by its `input_spec` and `output_networks`."""
    classes = getattr(trainer, "classes", None)
    parts = {
        name: Part(shape, labels=not shape, classes=None if shape else classes)
        for name, shape in trainer.input_spec().items()
    }
    for name, network in trainer.output_networks().items():
        bounds = output_range(network)
        if bounds:
            why = f"{network.name} ends in {last_activation(network)}"
            parts[name] = dataclasses.replace(parts[name], bounds=bounds, why=why)
    owner = type(trainer).__name__
    return BatchCheck(owner, trainer.BATCH_KEYS, parts, tuple(trainer.noise()))
