"""Players and noise of an adversarial game, and the types of its tensors."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypedDict

import keras

from keras_arch import losses
from keras_arch.errors import ArgumentError
from keras_arch.registry import LATENTS

Tensors = dict[str, Any]
Values = dict[str, Any]
Loss = str | losses.AdversarialLoss | tuple[Callable[..., Any], Callable[..., Any]]


@dataclasses.dataclass(frozen=True)
class Noise:
    """Random numbers that are drawn anew for every batch.

    Attributes:
        shape: Shape of one example's numbers.
        distribution: `"normal"` for N(0, 1), `"uniform"` for U(-1, 1), `"uniform01"` for U(0, 1).

    Raises:
        ArgumentError: If the distribution is none of these.
    """

    shape: tuple[int, ...]
    distribution: str = "normal"

    def __post_init__(self) -> None:
        if self.distribution not in LATENTS:
            raise ArgumentError(
                f"latent must be one of {', '.join(LATENTS)}, got {self.distribution!r}"
            )

    def draw(self, count: Any, seed: Any) -> Any:
        """`(count, *shape)` numbers from an integer or a `SeedGenerator`."""
        shape = (count, *self.shape)
        if self.distribution == "normal":
            return keras.random.normal(shape, seed=seed)
        low = -1.0 if self.distribution == "uniform" else 0.0
        return keras.random.uniform(shape, low, 1.0, seed=seed)


@dataclasses.dataclass(frozen=True)
class Player:
    """One player of a game: networks that one optimizer trains on one loss.

    Attributes:
        name: Its name in `compile` and the prefix of its loss in the logs: `"d"` gives `d_loss`.
        networks: The networks that it trains.
        loss: From the tensors of a batch and `training` to one loss an example, and a dictionary
            of further values an example, which are logged under their names.
        num_updates: Updates a step. Each takes its own equal part of the batch.
        logged: Names of the further values. Others may be returned too: they are logged after
            these, and cost a second trace of the first step.
    """

    name: str
    networks: tuple[keras.Model, ...]
    loss: Callable[[Tensors, bool], tuple[Any, Values]]
    num_updates: int = 1
    logged: tuple[str, ...] = ()

    @property
    def variables(self) -> list[Any]:
        """The trainable variables, in the order in which the optimizer knows them."""
        return [variable for network in self.networks for variable in network.trainable_variables]


class CompileOptions(TypedDict, total=False):
    """Arguments of `AdversarialTrainer.compile` that every trainer takes; documented there."""

    penalty_weight: float | None
    update: str
    jit_compile: bool | str
    run_eagerly: bool
    steps_per_execution: int
