"""Checks of a network against its card, when a model is saved and when it is loaded."""

from typing import TYPE_CHECKING

from keras_arch import registry
from keras_arch.errors import NonFiniteError
from keras_arch.hub.card import Card

if TYPE_CHECKING:
    import keras


def check_network(network: "keras.Model", card: Card) -> Card:
    """Refuse a network whose weights are not numbers, or that its card does not fit.

    Returns:
        The card, with what only the network knows: the activation of its output.

    Raises:
        NonFiniteError: If a weight is NaN or infinite.
        ArgumentError: If labels, latent, or sizes and channels of the preprocessing do not fit.
    """
    check_finite(network)
    return registry.TASKS.get(card.task).check_network(network, card)


def check_finite(network: "keras.Model") -> None:
    """Refuse (`NonFiniteError`) a network with a weight that is NaN or infinite."""
    from keras import backend, ops

    for variable in network.variables:
        if backend.is_float_dtype(variable.dtype) and not ops.all(ops.isfinite(variable)):
            raise NonFiniteError(
                f"weight {variable.path} of {network.name} is not finite (NaN or infinite); train "
                "again with a lower learning rate, or take an earlier checkpoint"
            )
