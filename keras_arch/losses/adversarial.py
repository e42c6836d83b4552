"""Losses as functions of tensors, written in `keras.ops`: they know no backend and no trainer.

Each returns one value an example; the trainer takes the mean over the global batch.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_arch.errors import ArgumentError


@dataclasses.dataclass(frozen=True)
class AdversarialLoss:
    """The two sides of one adversarial game.

    Attributes:
        name: Its name in `ADVERSARIAL`.
        discriminator: From logits on real and on generated images to what the discriminator
            minimises.
        generator: From logits on generated images to what the generator minimises.
        score: From logits to what is reported as D(x): a probability where the loss reads the
            logits as one, else the raw critic value.
        penalty: Weight of the gradient penalty, 0 for none.
        paper: Where it was proposed.
    """

    name: str
    discriminator: Callable[[Any, Any], Any]
    generator: Callable[[Any], Any]
    score: Callable[[Any], Any]
    penalty: float
    paper: str


def adversarial(name: str) -> AdversarialLoss:
    """An adversarial loss by name.

    Args:
        name: `"non_saturating"`, `"minimax"`, `"lsgan"`, `"hinge"` or `"wgan-gp"`.

    Returns:
        The loss.

    Raises:
        ArgumentError: If there is no such loss.

    Example:
        >>> import numpy as np
        >>> undecided = np.zeros((1, 1), "float32")
        >>> loss = adversarial("non_saturating")
        >>> round(float(loss.discriminator(undecided, undecided)[0]), 4)  # 2 log 2
        1.3863
    """
    if name not in ADVERSARIAL:
        raise ArgumentError(f"loss must be one of {', '.join(ADVERSARIAL)}, got {name!r}")
    return ADVERSARIAL[name]


def per_example(values: Any) -> Any:
    """Mean over everything but the batch: one value an example, whatever map D gives.

    Example:
        >>> import numpy as np
        >>> per_example(np.ones((4, 30, 30, 1), "float32")).shape
        TensorShape([4])
    """
    values = _float32(values)
    return ops.mean(ops.reshape(values, (ops.shape(values)[0], -1)), axis=1)


def gradient_penalty(gradient: Any) -> Any:
    """`(|gradient| - 1)^2` of a critic's gradient in its input (Gulrajani et al. 2017, equation 3).

    Args:
        gradient: `(batch, ...)`, the gradient at points between real and generated images.

    Returns:
        `(batch,)`.

    Example:
        >>> import numpy as np
        >>> float(gradient_penalty(np.array([[3.0, 4.0]], "float32"))[0])
        16.0
    """
    gradient = _float32(gradient)
    squares = ops.reshape(ops.square(gradient), (ops.shape(gradient)[0], -1))
    # The root has no derivative at 0, where a critic that ignores its input would be.
    norm = ops.sqrt(ops.sum(squares, axis=1) + 1e-12)
    return ops.square(norm - 1.0)


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


def _float32(values: Any) -> Any:
    """Losses are computed in full precision; doubles stay doubles."""
    values = ops.convert_to_tensor(values)
    if keras.backend.standardize_dtype(values.dtype) in ("float16", "bfloat16"):
        return ops.cast(values, "float32")
    return values


def _sigmoid(logits: Any) -> Any:
    return ops.sigmoid(_float32(logits))


_IDENTITY = _float32

ADVERSARIAL: dict[str, AdversarialLoss] = {
    loss.name: loss
    for loss in (
        AdversarialLoss(
            "non_saturating",
            lambda real, fake: (
                per_example(ops.softplus(-_float32(real)))
                + per_example(ops.softplus(_float32(fake)))
            ),
            lambda fake: per_example(ops.softplus(-_float32(fake))),
            _sigmoid,
            0.0,
            "Goodfellow et al. 2014, section 3",
        ),
        AdversarialLoss(
            "minimax",
            lambda real, fake: (
                per_example(ops.softplus(-_float32(real)))
                + per_example(ops.softplus(_float32(fake)))
            ),
            lambda fake: per_example(-ops.softplus(_float32(fake))),
            _sigmoid,
            0.0,
            "Goodfellow et al. 2014, equation 1",
        ),
        AdversarialLoss(
            "lsgan",
            lambda real, fake: (
                0.5 * per_example(ops.square(_float32(real) - 1.0))
                + 0.5 * per_example(ops.square(_float32(fake)))
            ),
            lambda fake: 0.5 * per_example(ops.square(_float32(fake) - 1.0)),
            _IDENTITY,
            0.0,
            "Mao et al. 2016, equation 9",
        ),
        AdversarialLoss(
            "hinge",
            lambda real, fake: (
                per_example(ops.relu(1.0 - _float32(real)))
                + per_example(ops.relu(1.0 + _float32(fake)))
            ),
            lambda fake: per_example(-_float32(fake)),
            _IDENTITY,
            0.0,
            "Lim and Ye 2017; Miyato et al. 2018, equations 16 and 17",
        ),
        AdversarialLoss(
            "wgan-gp",
            lambda real, fake: per_example(_float32(fake)) - per_example(_float32(real)),
            lambda fake: per_example(-_float32(fake)),
            _IDENTITY,
            10.0,
            "Gulrajani et al. 2017, algorithm 1",
        ),
    )
}
