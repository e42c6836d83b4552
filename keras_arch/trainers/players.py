"""Players of an adversarial game with their optimizers, its noise, and the types of its tensors."""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypedDict

import keras

from keras_arch import losses
from keras_arch.errors import ArgumentError
from keras_arch.registry import LATENTS
from keras_arch.trainers.checks import check_reading, check_regularizers

_log = logging.getLogger("keras_arch")

Tensors = dict[str, Any]
Values = dict[str, Any]
Loss: TypeAlias = (
    str
    | losses.AdversarialLoss
    | keras.losses.Loss
    | Callable[..., Any]
    | tuple[Callable[..., Any], Callable[..., Any]]
)


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

    @property
    def regularized(self) -> list[Any]:
        """The variables that have a regularizer."""
        return [v for v in self.variables if getattr(v, "regularizer", None) is not None]

    @property
    def means(self) -> tuple[str, ...]:
        """The names under which its values are logged, that of its loss first."""
        more = (f"{self.name}_regularization",) if self.regularized else ()
        return f"{self.name}_loss", *self.logged, *more

    def regularized_loss(self, tensors: Tensors, training: bool) -> tuple[Any, Values]:
        """Its loss and further values, with the regularizers of its own networks.

        Each example's loss gets their sum, so that it is in the mean over the batch once.
        """
        value, logged = self.loss(tensors, training)
        terms = [variable.regularizer(variable) for variable in self.regularized]
        if not terms:
            return value, logged
        total = sum(keras.ops.cast(term, "float32") for term in terms)
        each = total * keras.ops.ones_like(value, "float32")
        return value + keras.ops.cast(total, value.dtype), logged | {
            f"{self.name}_regularization": each
        }


class CompileOptions(TypedDict, total=False):
    """Arguments of `AdversarialTrainer.compile` that every trainer takes; documented there."""

    penalty_weight: float | None
    update: str
    jit_compile: bool | str
    run_eagerly: bool
    steps_per_execution: int
    metrics: Any
    loss_weights: Any


def refuse_compile_arguments(given: Mapping[str, Any]) -> None:
    """Refuse (`ArgumentError`) arguments of `keras.Model.compile` that have no place in a game."""
    remedies = {
        "metrics": "return further values an example from a player's loss (docs/new_game.md), or "
        "measure the generator: keras_arch.evaluate_generator",
        "loss_weights": "a game's weights are arguments of their own, such as penalty_weight, "
        "l1_weight and d_weight",
    }
    for name, value in given.items():
        if value not in (None, [], {}):
            raise ArgumentError(f"compile of a trainer takes no {name}: {remedies[name]}")


def check_networks(loss: losses.AdversarialLoss, players: tuple[Player, ...]) -> None:
    """Refuse (`ArgumentError`) or warn of networks of players that a loss does not go with."""
    for player in players:
        for network in player.networks:
            check_regularizers(network)
            if player.name.startswith("d"):
                check_reading("the discriminator", network, loss)
                if loss.penalty:
                    _warn_of_batch_norm(loss, network)


def _warn_of_batch_norm(loss: losses.AdversarialLoss, network: keras.Model) -> None:
    layers = network._flatten_layers()
    if any(isinstance(each, keras.layers.BatchNormalization) for each in layers):
        # TensorFlow's moments also pass the penalty's second derivative only in part.
        _log.warning(
            "the gradient penalty of loss %s is of one image at a time, and batch normalization "
            "in %s mixes them; build it without (Gulrajani et al. 2017)",
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
