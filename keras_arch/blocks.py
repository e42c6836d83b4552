"""Layers that more than one family is built from, all of them stock Keras.

Epsilon and momentum of batch norm are the references' (1e-5 and 0.9), not Keras' (1e-3 and 0.99).
"""

import contextlib
import math
import sys
from collections.abc import Iterator

import keras
from keras import layers

from keras_arch.errors import ArgumentError

BATCH_NORM_EPSILON = 1e-5
BATCH_NORM_MOMENTUM = 0.9


def batch_norm(
    name: str,
    *,
    synchronized: bool = False,
    gamma_initializer: keras.initializers.Initializer | str = "ones",
) -> layers.Layer:
    """Batch normalisation with the epsilon and momentum of the reference implementations.

    Args:
        name: Name of the layer.
        synchronized: Take the statistics over all replicas of a distribution strategy instead of
            each replica's own part of the batch.
        gamma_initializer: How the gain starts.

    Returns:
        A `keras.layers.BatchNormalization`.

    Example:
        >>> batch_norm("norm").epsilon
        1e-05
    """
    return layers.BatchNormalization(
        epsilon=BATCH_NORM_EPSILON,
        momentum=BATCH_NORM_MOMENTUM,
        gamma_initializer=gamma_initializer,
        synchronized=synchronized,
        name=name,
    )


def he_normal() -> keras.initializers.Initializer:
    """A fresh initializer N(0, sqrt(2 / fan_in)) (He et al. 2015, "Delving Deep", equation 10).

    Fresh because a Keras initializer that is shared between layers gives them equal weights.

    Example:
        >>> he_normal() is he_normal()
        False
    """
    return keras.initializers.VarianceScaling(
        scale=2.0, mode="fan_in", distribution="untruncated_normal"
    )


def output_dtype() -> str | None:
    """`"float32"` under a mixed precision policy, else the policy's own type.

    Outputs and losses are kept in full precision: half a softmax is no softmax.

    Example:
        >>> output_dtype() is None
        True
    """
    mixed = keras.config.dtype_policy().compute_dtype in ("float16", "bfloat16")
    return "float32" if mixed else None


def load_weights(model: keras.Model, weights: str | None) -> keras.Model:
    """Load a `.weights.h5` file into a freshly built model, or nothing when it is `None`.

    Raises:
        ArgumentError: If the file is missing or does not fit the model.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
        >>> load_weights(model, None) is model
        True
    """
    if weights is None:
        return model
    try:
        model.load_weights(weights)
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ArgumentError(
            f"weights must be None or a .weights.h5 file made for {model.name!r}, "
            f"got {str(weights)!r}: {reason}"
        ) from error
    return model


@contextlib.contextmanager
def room_for_deep_graphs(layers: int = 10_000) -> Iterator[None]:
    """Let Keras walk a graph that is deeper than Python's recursion limit.

    Keras follows a functional graph by one recursive call a layer, and a ResNet of 1,202 layers
    has some 6,000 of them. Building and loading happen inside this.

    Args:
        layers: The deepest graph to make room for.

    Example:
        >>> with room_for_deep_graphs():
        ...     sys.getrecursionlimit() >= 10_000
        True
    """
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, layers))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def trainable_parameters(model: keras.Model) -> int:
    """How many numbers training changes: what papers count. Moving statistics are not among them.

    Args:
        model: A built model.

    Example:
        >>> dense = keras.Sequential([keras.Input((3,)), layers.Dense(4)])
        >>> trainable_parameters(dense)
        16
    """
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)
