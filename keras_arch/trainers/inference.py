"""A network as it is used once training is over: the same inputs give the same outputs.

Batch statistics and dropout that a network keeps at inference (pix2pix) are part of it, but they
leave traces in it: moving averages move, and the next mask is another one. Here nothing moves,
and the masks are those of a network that has just been loaded. Prediction in Python, samples
during training and every export go through this.
"""

from typing import Any

import keras


def infer(network: keras.Model, inputs: Any) -> Any:
    """A network's outputs at inference, with nothing of its state moved.

    Args:
        network: A built model. What it was built to keep at inference (layers called with
            `training=True` inside it) is kept: the argument `training`, which would overrule
            that, is not passed.
        inputs: What it takes.

    Returns:
        Tensors of the backend. Dropout that is kept draws the first mask of its seed, however
        often the network was called or trained before: a saved model starts there too.

    Example:
        >>> import numpy as np
        >>> from keras_arch.trainers.inference import infer
        >>> image = keras.Input((64,))
        >>> kept = keras.Model(image, keras.layers.Dropout(0.5, seed=1)(image, training=True))
        >>> ones = np.ones((1, 64), "float32")
        >>> bool(keras.ops.all(infer(kept, ones) == infer(kept, ones)))
        True
    """
    with keras.StatelessScope(first_draws(network)):
        return network(inputs)


def first_draws(network: keras.Model) -> list[tuple[Any, Any]]:
    """The states of a network's seed generators with the values at which they started.

    Args:
        network: A built model.

    Returns:
        Pairs for `keras.StatelessScope`. A generator without a seed of its own is left out: it
        starts anywhere.
    """
    # Keras saves seeds, not how far they have been drawn from.
    return [
        (generator.state, [generator.get_config()["seed"], 0])
        for layer in network._flatten_layers()
        for generator in layer._seed_generators
        if generator.get_config()["seed"] is not None
    ]
