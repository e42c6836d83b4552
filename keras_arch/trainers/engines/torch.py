"""Training step of a game on PyTorch: eager, by autograd."""

from collections.abc import Callable
from typing import Any

import keras
import torch
from keras import ops

from keras_arch.data import checks
from keras_arch.trainers.engines import common

SeedGenerator, scope, global_batch = common.SeedGenerator, common.scope, common.global_batch
exchange = common.exchange
build_optimizers = common.build_optimizers


def compiles_faster(trainer: Any) -> bool:
    """Whether `torch.compile` is worth its time: games are eager steps, as is Keras' default."""
    return False


def wrap_step(trainer: Any, build: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    """The step itself: an eager step can refuse its batch."""
    return build()


def input_gradient(function: Callable[[Any], Any], at: Any) -> Any:
    """The gradient of the sum of `function(at)` in `at`, itself differentiable in training."""
    training = torch.is_grad_enabled()
    # Keras evaluates without gradients, of which this is one.
    with torch.enable_grad():
        if not at.requires_grad:
            at = at.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(ops.sum(function(at)), at, create_graph=training)
    return gradient


def check_labels(labels: Any, classes: int | None) -> Any:
    """The labels `(batch,)`, checked."""
    return ops.convert_to_tensor(checks.check_labels(labels, classes))


def train_step(trainer: Any, data: Any) -> dict[str, Any]:
    """One update of every player, all on one forward of `trainer.shared_forward`."""
    batch = _drawn(trainer, data, trainer.seed_generator)
    optimizers, players = trainer.optimizers, trainer.players()
    tensors = batch | trainer.shared_forward(batch, training=True)
    updates = [(player, index) for player in players for index in range(player.num_updates)]
    values: common.Values = {}
    pending = []
    for number, (player, index) in enumerate(updates, start=1):
        optimizer, variables = optimizers[player.name], player.variables
        micro_batch = trainer.micro_batch(tensors, index, player.num_updates)
        losses, logged = player.regularized_loss(micro_batch, True)
        gradients = torch.autograd.grad(
            optimizer.scale_loss(ops.mean(losses)),
            [variable.value for variable in variables],
            # The players that follow need the shared forward again.
            retain_graph=number < len(updates),
            allow_unused=True,
        )
        common.collect(values, player, losses, logged)
        if trainer.update == "simultaneous":
            pending.append((optimizer, gradients, variables))
        else:
            _apply(optimizer, gradients, variables)
    for optimizer, gradients, variables in pending:
        _apply(optimizer, gradients, variables)
    return _log(trainer, values)


def test_step(trainer: Any, data: Any) -> dict[str, Any]:
    """Every player's loss on a batch in inference mode."""
    batch = _drawn(trainer, data, trainer.evaluation_seed_generator)
    # A network that uses batch statistics or dropout at inference would move its state.
    with keras.StatelessScope():
        values = common.evaluated(trainer, batch)
    return _log(trainer, values)


def _drawn(trainer: Any, data: Any, seed_generator: Any) -> dict[str, Any]:
    """The batch on Keras' device, with its noise."""
    batch = {name: ops.convert_to_tensor(part) for name, part in trainer.unpack(data).items()}
    return trainer.draw(batch, seed_generator)


@torch.no_grad()
def _apply(optimizer: Any, gradients: Any, variables: list[Any]) -> None:
    optimizer.apply(list(gradients), variables)


def _log(trainer: Any, values: common.Values) -> dict[str, Any]:
    trainer.track(*common.missing_means(trainer, values))
    return common.update_means(trainer, values)
