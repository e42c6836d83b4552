"""Checks of the arguments of trainers: shapes and ranges of the data, shapes of the networks."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_arch.errors import ArgumentError, DataError

# Values that a last layer's activation can give.
OUTPUT_RANGES = {"tanh": (-1.0, 1.0), "hard_tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}

Shape = tuple[int | None, ...]


def output_range(network: keras.Model) -> tuple[float, float] | None:
    """The values that a network can give, by its last activation; `None` where it has no bounds.

    Example:
        >>> output_range(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "tanh")]))
        (-1.0, 1.0)
    """
    return OUTPUT_RANGES.get(_activation(network))


def check_range(name: str, images: Any, network: keras.Model) -> None:
    """Refuse images (the part `name` of a batch) that a network's last activation cannot give.

    `DataError` where they reach outside the range, or plainly fill only half of it.
    """
    bounds = output_range(network)
    if bounds is None:
        return
    low, high = bounds
    images = ops.convert_to_numpy(images).astype("float32")
    least, most = float(images.min()), float(images.max())
    half = low < 0 and least >= 0 and most > 0.5
    if least < low - 0.05 or most > high + 0.05 or half:
        raise DataError(
            f"{network.name} ends in {_activation(network)} and gives values in [{low:g}, "
            f"{high:g}]; the data's {name} has values from {least:.4g} to {most:.4g}: scale it to "
            "that range (Preprocessing scale and mean)"
        )


def check_shapes(trainer: str, specs: dict[str, Any], expected: Mapping[str, Shape]) -> None:
    """Refuse (`DataError`) data that lacks a part of a batch or has it in another shape."""
    for name, wanted in expected.items():
        if specs and name not in specs:
            raise DataError(
                f"{trainer} needs {name!r} in each batch, the data has {', '.join(specs)}"
            )
        shape = static_shape(specs.get(name))
        fits = shape is None or (
            len(shape) == len(wanted) + 1
            and all(
                None in (got, want) or got == want
                for got, want in zip(shape[1:], wanted, strict=True)
            )
        )
        if not fits:
            raise DataError(
                f"{trainer} takes batches of {name} of shape {wanted}, the data has batches of "
                f"shape {shape}"
            )


def check_input_shapes(title: str, network: keras.Model, expected: list[Shape]) -> None:
    """Refuse (`ArgumentError`) a network with other input shapes; `title` begins the message."""
    taken = [example_shape(tensor) for tensor in network.inputs]
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


def static_shape(spec: Any) -> Shape | None:
    """The shape of a batch of an array, tensor or `tf.TensorSpec`, or `None`."""
    shape = getattr(spec, "shape", None)
    unknown = shape is None or (hasattr(shape, "rank") and shape.rank is None)
    return None if unknown else tuple(shape)


def first_batch(data: Any) -> Any:
    """One batch of the data of `fit`, or `None` where reading it would use it up."""
    if type(data).__module__.startswith("tensorflow.python.data"):
        return next(iter(data.take(1)), None)
    parts = data.values() if isinstance(data, dict) else data
    parts = parts if isinstance(data, dict | tuple | list) else (data,)
    if any(part is not None and static_shape(part) is None for part in parts):
        return None
    return keras.tree.map_structure(lambda part: None if part is None else part[:64], data)


def _activation(network: keras.Model) -> str | None:
    return getattr(getattr(network.layers[-1], "activation", None), "__name__", None)
