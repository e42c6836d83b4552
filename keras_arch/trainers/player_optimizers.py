"""The optimizers of all players as one, for what looks at `model.optimizer`.

Keras' callbacks and its JAX trainer do: learning rates are read and set, averaged weights swapped,
variables carried from step to step. Keras knows an optimizer that holds others by `optimizers`.
"""

from collections.abc import Mapping
from typing import Any

import keras


class PlayerOptimizer:
    """One player's optimizer under the player's name, which is what callbacks log it by.

    Every attribute but the name is that of the optimizer, inside the scaling of a loss.
    """

    def __init__(self, name: str, optimizer: keras.optimizers.Optimizer) -> None:
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "_inner", inner)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_inner"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._inner, name, value)


class PlayerOptimizers:
    """All players' built optimizers as one optimizer.

    Attributes:
        optimizers: One for each player, in the players' order.

    Example:
        >>> both = PlayerOptimizers({name: keras.optimizers.SGD(0.1) for name in "dg"})
        >>> both.optimizers[1].learning_rate = 0.5
        >>> [(each.name, round(float(each.learning_rate), 4)) for each in both.optimizers]
        [('d', 0.1), ('g', 0.5)]
    """

    built = True

    def __init__(self, optimizers: Mapping[str, keras.optimizers.Optimizer]) -> None:
        self._whole = tuple(optimizers.values())
        self.optimizers = [PlayerOptimizer(*named) for named in optimizers.items()]

    @property
    def variables(self) -> list[Any]:
        """The variables of all, in the players' order."""
        return [variable for optimizer in self._whole for variable in optimizer.variables]

    @property
    def iterations(self) -> Any:
        """The updates of the last player, which moves once a step."""
        return self._whole[-1].iterations
