"""Inference that leaves a network's state as it is: the same inputs give the same outputs.

Networks that use batch statistics and dropout at inference (pix2pix) would change by a forward:
moving averages move, and the next dropout mask is another one. Here nothing moves, and the masks
are those of a network that has just been loaded. Prediction in Python, samples during training
and every export use this.
"""

from typing import Any

import keras
import numpy as np
from keras import ops


def infer(network: keras.Model, inputs: Any) -> Any:
    """Outputs of a network at inference, without a change of its state.

    Args:
        network: A built model. Layers inside it that were called with `training=True` stay in
            that mode: the argument `training`, which would overrule it, is not passed.
        inputs: Its inputs.

    Returns:
        Tensors of the backend. Dropout in training mode draws the first mask of its seed, however
        often the network was called or trained before: a loaded model starts there too.

    Example:
        >>> image = keras.Input((64,))
        >>> dropout = keras.Model(image, keras.layers.Dropout(0.5, seed=1)(image, training=True))
        >>> ones = np.ones((1, 64), "float32")
        >>> bool(keras.ops.all(infer(dropout, ones) == infer(dropout, ones)))
        True
    """
    with keras.StatelessScope(first_draws(network)):
        return network(inputs)


def forward(network: keras.Model, inputs: Any) -> np.ndarray:
    """Outputs of a network at inference as a `float32` array, without a change of its state."""
    return ops.convert_to_numpy(infer(network, inputs)).astype(np.float32)


def forward_in_batches(
    network: keras.Model, inputs: list[np.ndarray], batch_size: int
) -> np.ndarray:
    """As `forward`, for `batch_size` examples at a time of each input."""
    # Not `predict`, which would start a data pipeline and compile for every call.
    outputs = []
    for first in range(0, len(inputs[0]), batch_size):
        batch = [values[first : first + batch_size] for values in inputs]
        outputs.append(forward(network, batch if len(batch) > 1 else batch[0]))
    return np.concatenate(outputs)


def first_draws(network: keras.Model) -> list[tuple[Any, Any]]:
    """The states of a network's seed generators with their initial values.

    Pairs for `keras.StatelessScope`. A generator without a seed of its own starts anywhere and is
    left out.
    """
    # Keras saves seeds, not how far they have been drawn from.
    return [
        (generator.state, [generator.get_config()["seed"], 0])
        for layer in network._flatten_layers()
        for generator in layer._seed_generators
        if generator.get_config()["seed"] is not None
    ]
