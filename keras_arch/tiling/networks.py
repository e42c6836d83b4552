"""Networks for tiled prediction: a Keras model, a signature of a SavedModel, or any function."""

import functools
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_arch._lazy import tf
from keras_arch.errors import ArgumentError
from keras_arch.models.common.features import coarsest_stride

# The output to take of a network with several: the first of these that it has.
_NAMES = ("probabilities", "logits")
# Tiles of networks of unknown stride begin at multiples of this number of pixels: the coarsest
# stride of nearly all networks, and a multiple of that of others.
_USUAL_MULTIPLE = 32

# The last traced shape of tiles, by model; for models that interpolate.
_TRACED: weakref.WeakKeyDictionary[keras.Model, tuple[int, ...]] = weakref.WeakKeyDictionary()

Size = tuple[int, int]


class Network:
    """A function of a batch of tiles, with the sizes that it takes.

    Attributes:
        name: Its name in messages.
        size: Height and width of its tiles, `None` where they are open.
        channels: Of its tiles, `None` where they are not known.
    """

    def __init__(
        self,
        call: Callable[[np.ndarray], Any],
        name: str,
        shape: tuple[int | None, ...] = (None, None, None),
    ) -> None:
        self._call = call
        self.name = name
        *self.size, self.channels = shape
        self._tried: dict[Size, tuple[int, int, int]] = {}

    def __call__(self, tiles: np.ndarray) -> np.ndarray:
        """Scores `(batch, height, width, classes)` of tiles `(batch, height, width, channels)`."""
        return self._map_of(self._call(tiles))

    def output_of(self, tile: Size, channels: int) -> tuple[int, int, int]:
        """Height, width and classes of the output for a tile; here from a call."""
        if tile not in self._tried:
            self._tried[tile] = self(np.zeros((1, *tile, channels), np.float32)).shape[1:]
        return self._tried[tile]

    def fits(self, tile: Size) -> bool | None:
        """Whether the network takes a tile; `None` where only a call would show it."""
        return None

    @property
    def multiple(self) -> int:
        """Distance of tiles in pixels at which pooling falls on the same pixels in all."""
        return _USUAL_MULTIPLE

    def _map_of(self, outputs: Any) -> np.ndarray:
        if isinstance(outputs, Mapping):
            maps = {name: value for name, value in outputs.items() if len(value.shape) == 4}
            name = next((name for name in _NAMES if name in maps), None)
            if name is None and len(maps) != 1:
                raise ArgumentError(
                    f"{self.name} gives {', '.join(map(str, outputs)) or 'nothing'}, none of them "
                    f"called {' or '.join(_NAMES)}; give a function that returns one of them"
                )
            outputs = maps[name] if name else next(iter(maps.values()))
        tensor = keras.ops.is_tensor(outputs)
        scores = np.asarray(keras.ops.convert_to_numpy(outputs) if tensor else outputs)
        if scores.ndim != 4:
            raise ArgumentError(
                f"{self.name} gives {_shape(scores.shape)} for a batch of tiles, and a class for "
                "every pixel is (batch, height, width, classes)"
            )
        return scores


class KerasNetwork(Network):
    """A functional model, whose graph shows which sizes it takes."""

    def __init__(self, model: keras.Model) -> None:
        inputs, outputs = model.inputs, model.outputs
        name = f"model {model.name!r}"
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            raise ArgumentError(f"{name} takes no single image (batch, height, width, channels)")
        if len(outputs) != 1 or len(outputs[0].shape) != 4:
            raise ArgumentError(
                f"{name} gives {', '.join(_shape(output.shape) for output in outputs)}, and a "
                "class for every pixel is (batch, height, width, classes)"
            )
        exact = _interpolates(model)
        call = functools.partial(_predict_exactly, model) if exact else model.predict_on_batch
        super().__init__(call, name, tuple(inputs[0].shape[1:]))
        self._model = model
        self._graph = _graph_of(model)

    def output_of(self, tile: Size, channels: int) -> tuple[int, int, int]:
        """From the shapes in the graph."""
        return tuple(self._walk(tile).shape[1:])

    def fits(self, tile: Size) -> bool:
        """Whether the graph can be built for a tile, and its output is no larger than the tile."""
        try:
            output = self._walk(tile).shape[1:3]
        except ValueError:
            return False
        return all(0 < inner <= side for inner, side in zip(output, tile, strict=True))

    @functools.cached_property
    def multiple(self) -> int:
        """The coarsest stride."""
        return coarsest_stride(self._model)

    def _walk(self, tile: Size) -> Any:
        """The output for a tile, as a tensor without values."""
        image = self._model.inputs[0]
        tiles = keras.KerasTensor((1, *tile, image.shape[-1]), dtype=image.dtype)
        (output,) = keras.tree.flatten(_outputs(self._graph, [tiles]))
        return output


def network_of(model: Any) -> Network:
    """A `Network` from a Keras model, a loaded SavedModel or one of its signatures, or a function.

    Example:
        >>> network = network_of(lambda tiles: tiles)
        >>> network.size, network.output_of((8, 8), 3)
        ([None, None], (8, 8, 3))
    """
    if isinstance(model, keras.Model) and getattr(model, "inputs", None):
        return KerasNetwork(model)
    signatures = getattr(model, "signatures", None)
    if isinstance(signatures, Mapping):
        if "serving_default" not in signatures:
            raise ArgumentError(
                f"the SavedModel has no signature serving_default; give one of its "
                f"{', '.join(signatures) or '(it has none)'}, as loaded.signatures[NAME]"
            )
        model = signatures["serving_default"]
    if hasattr(model, "structured_input_signature"):
        return _of_signature(model)
    if not callable(model):
        raise ArgumentError(
            "model must be a Keras model, a loaded SavedModel or one of its signatures, or a "
            f"function of a batch of tiles, got {type(model).__name__}"
        )
    return Network(model, getattr(model, "__name__", type(model).__name__))


def _of_signature(function: Any) -> Network:
    _, given = function.structured_input_signature
    if len(given) != 1 or not all(len(spec.shape or ()) == 4 for spec in given.values()):
        names = ", ".join(f"{name} {spec.dtype.name}{spec.shape}" for name, spec in given.items())
        raise ArgumentError(
            f"the signature takes {names}, and tiles are one image (batch, height, width, "
            "channels); give another signature"
        )
    ((name, spec),) = given.items()

    def call(tiles: np.ndarray) -> Any:
        return function(**{name: tf.constant(tiles.astype(spec.dtype.as_numpy_dtype, copy=False))})

    return Network(call, "the signature", tuple(spec.shape[1:]))


def _interpolates(model: keras.Model) -> bool:
    found = (each for each in model._flatten_layers() if isinstance(each, layers.UpSampling2D))
    return any(layer.interpolation != "nearest" for layer in found)


def _predict_exactly(model: keras.Model, tiles: np.ndarray) -> Any:
    """`predict_on_batch`, traced anew for each size of tiles.

    With a second size TensorFlow makes the sizes open, and the interpolation of Keras (3.15) cannot
    be traced for those.
    """
    if _TRACED.get(model) != tiles.shape:
        model.make_predict_function(force=True)
        _TRACED[model] = tiles.shape
    return model.predict_on_batch(tiles)


def _graph_of(model: keras.Model) -> Any:
    """The object with a functional model's operations; a `Sequential` has one inside."""
    return getattr(model, "_functional", None) or model


def _outputs(graph: Any, inputs: list[Any]) -> Any:
    return graph._run_through_graph(
        keras.tree.pack_sequence_as(graph._inputs_struct, inputs),
        operation_fn=lambda operation: functools.partial(_spec, operation),
    )


def _spec(operation: Any, *arguments: Any, **keywords: Any) -> Any:
    """The output of an operation, as a tensor without values.

    Keras checks the sizes of maps that are merged only when a model is built.
    """
    graph = _graph_of(operation) if isinstance(operation, keras.Model) else None
    if hasattr(graph, "_run_through_graph"):
        return _outputs(graph, keras.tree.flatten(arguments))
    if isinstance(operation, layers.Concatenate | layers.Add | layers.Multiply | layers.Average):
        sizes = {tuple(part.shape[1:3]) for part in keras.tree.flatten(arguments)}
        if len(sizes) > 1:
            raise ValueError(f"{operation.name} joins maps of {sizes}")
    return operation.compute_output_spec(*arguments, **keywords)


def _shape(shape: Any) -> str:
    return "(" + ", ".join("batch" if side is None else str(side) for side in shape) + ")"
