"""Weight decay as a part of a model's loss, as the classic recipes have it."""

import keras

from keras_arch.errors import ArgumentError


def add_weight_decay(model: keras.Model, rate: float, on: str = "all") -> None:
    """Add `rate / 2 * |w|^2` over the trainable weights to a model's loss.

    This is the weight decay of the classic recipes: its gradient passes through the momentum.
    (`weight_decay` of a Keras optimizer is the decoupled kind, which with momentum 0.9 is ten
    times weaker.) It is set on the variables and not on the layers, so that the saved
    architecture stays free of it.

    Args:
        model: A built model.
        rate: The decay, for example 1e-4.
        on: `"all"` trainable weights, as the classic recipes have it, or `"kernels"`: without
            biases and without the gains and shifts of norms.

    Raises:
        ArgumentError: If the rate is negative, or `on` is neither.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        >>> _ = model.weights[0].assign([[2.0]])
        >>> add_weight_decay(model, 0.5)
        >>> float(sum(model.losses))
        1.0
    """
    if rate < 0:
        raise ArgumentError(f"weight decay must not be negative, got {rate!r}")
    if on not in ("all", "kernels"):
        raise ArgumentError(f"weight decay is on 'all' weights or on 'kernels', got {on!r}")
    for variable in model.trainable_variables:
        decays = rate and (on == "all" or len(variable.shape) > 1)
        variable.regularizer = keras.regularizers.L2(rate / 2) if decays else None
