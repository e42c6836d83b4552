"""Parts of a training step that several Keras backends share."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_arch.trainers.player_optimizers import PlayerOptimizers

Values = dict[str, list[Any]]


def build_optimizers(trainer: Any) -> None:
    """Build every optimizer's variables in the scope of the networks, and show Keras all as one."""
    optimizers = trainer.optimizers
    with trainer.engine.scope(trainer):
        for player in trainer.players():
            if not optimizers[player.name].built:
                optimizers[player.name].build(player.variables)
    trainer.optimizer = PlayerOptimizers(optimizers)


# Of backends whose step sees the whole batch: JAX shards it by layout, PyTorch has one replica.

SeedGenerator = keras.random.SeedGenerator


def scope(trainer: Any) -> Any:
    """The scope of the trainer's variables: none."""
    return contextlib.nullcontext()


def global_batch(size: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Size of the global batch, and a function that takes a replica's part of it: all."""
    return size, lambda tensor: tensor


def exchange(tensors: dict[str, Any]) -> tuple[dict[str, Any], Callable[[Any], Any]]:
    """The tensors of all replicas, and a function that takes a replica's part of them: all."""
    return tensors, lambda joined: joined


# Of all backends.


class MissingMeans(Exception):
    """Stops the tracing of a step that has values without a running mean.

    Variables cannot be created inside a compiled step: `wrap_step` creates them and traces anew.
    """

    def __init__(self, names: list[str]) -> None:
        super().__init__(", ".join(names))
        self.names = names


def collect(values: Values, player: Any, losses: Any, logged: dict[str, Any]) -> None:
    """Add a player's losses and further values, one an example, to those to log."""
    for name, value in ({f"{player.name}_loss": losses} | logged).items():
        values.setdefault(name, []).append(ops.reshape(ops.stop_gradient(value), [-1]))


def evaluated(trainer: Any, batch: dict[str, Any]) -> Values:
    """Every player's values on a batch with its noise, in inference mode."""
    values: Values = {}
    tensors = batch | trainer.shared_forward(batch, training=False)
    for player in trainer.players():
        collect(values, player, *player.regularized_loss(tensors, False))
    return values


def update_means(trainer: Any, values: Values) -> dict[str, Any]:
    """Update the running means of the logs by all values of a step, and return them."""
    trackers = {tracker.name: tracker for tracker in trainer.metrics}
    for name, parts in values.items():
        trackers[name].update_state(ops.concatenate(parts))
    return {name: trackers[name].result() for name in values}


def missing_means(trainer: Any, values: Values) -> list[str]:
    """Names of values that the trainer has no running mean for yet."""
    known = {tracker.name for tracker in trainer.metrics}
    return [name for name in values if name not in known]
