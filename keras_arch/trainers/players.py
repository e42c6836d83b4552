"""Players of an adversarial game with their optimizers, its noise, and the types of its tensors."""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypedDict

import keras

from keras_arch import losses
from keras_arch.errors import ArgumentError
from keras_arch.registry import LATENTS

_log = logging.getLogger("keras_arch")

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


def warn_of_batch_norm(loss: losses.AdversarialLoss, players: tuple[Player, ...]) -> None:
    """Log a warning where a gradient penalty meets batch normalization in a discriminator."""
    if not loss.penalty:
        return
    for player in players:
        for network in player.networks if player.name.startswith("d") else ():
            layers = network._flatten_layers()
            if any(isinstance(each, keras.layers.BatchNormalization) for each in layers):
                # TensorFlow's moments also pass the penalty's second derivative only in part.
                _log.warning(
                    "the gradient penalty of loss %s is of one image at a time, and batch "
                    "normalization in %s mixes them; build it without (Gulrajani et al. 2017)",
                    loss.name,
                    network.name,
                )


def optimizers_of_players(trainer: Any, given: Any) -> dict[str, keras.optimizers.Optimizer]:
    """An optimizer for each player, as `AdversarialTrainer.compile` takes them."""
    names = [player.name for player in trainer.players()]
    if isinstance(given, Mapping) and "class_name" not in given:
        if set(names) != set(given):
            raise ArgumentError(
                f"optimizer must have one for each of {', '.join(names)}, got "
                f"{', '.join(map(str, given)) or 'none'}"
            )
        found = {name: compiled_optimizer(trainer, given[name]) for name in names}
    elif callable(given) and not isinstance(given, keras.optimizers.Optimizer | type):
        found = {name: compiled_optimizer(trainer, given(name)) for name in names}
    else:
        # The settings and not the object, which can serve one player only.
        config = keras.optimizers.serialize(compiled_optimizer(trainer, given))
        copies = {name: keras.optimizers.deserialize(config) for name in names}
        found = {name: compiled_optimizer(trainer, copies[name]) for name in names}
    if len({id(each) for each in found.values()}) < len(found):
        raise ArgumentError(
            "the players must have an optimizer object each, which keeps the moments of its "
            "own networks; two of them were given the same"
        )
    return found


def compiled_optimizer(trainer: Any, given: Any) -> keras.optimizers.Optimizer:
    """The given optimizer or DCGAN's, with loss scaling where gradients are in half precision."""
    with trainer.engine.scope(trainer):
        if given is None:
            given = keras.optimizers.Adam(2e-4, beta_1=0.5)
        try:
            optimizer = keras.optimizers.get(given)
        except ValueError as error:
            raise ArgumentError(
                f"optimizer must be an optimizer or the name of one, got {given!r}"
            ) from error
        half = keras.config.dtype_policy().name == "mixed_float16"
        if half and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer
