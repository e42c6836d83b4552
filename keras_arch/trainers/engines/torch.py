"""PyTorch's engine: a declared game as an eager step on autograd."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras
import torch
from keras import ops

from keras_arch.errors import DataError

SeedGenerator = keras.random.SeedGenerator


def compiles_faster(trainer: Any) -> bool:
    """Whether `torch.compile` is worth its time: games are eager steps, as is Keras' default."""
    return False


def scope(trainer: Any) -> Any:
    """The scope that the trainer's variables belong to: none, they are on Keras' device."""
    return contextlib.nullcontext()


def build_optimizers(trainer: Any) -> None:
    """Make every optimizer's variables."""
    for player in trainer.players():
        if not player.optimizer.built:
            player.optimizer.build(player.variables)


def wrap_step(trainer: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself: an eager step can refuse its batch."""
    return function


def input_gradient(function: Callable[[Any], Any], at: Any) -> Any:
    """The gradient of the sum of `function(at)` in `at`, itself differentiable in training."""
    training = torch.is_grad_enabled()
    # Keras evaluates without gradients, of which this is one.
    with torch.enable_grad():
        if not at.requires_grad:
            at = at.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(ops.sum(function(at)), at, create_graph=training)
    return gradient


def exchange(tensors: dict[str, Any]) -> tuple[dict[str, Any], Callable[[Any], Any]]:
    """The tensors as they are: there is one replica."""
    return tensors, lambda joined: joined


def check_labels(labels: Any, classes: int) -> Any:
    """The labels, checked."""
    outside = labels[(labels < 0) | (labels >= classes)]
    if outside.numel():
        raise DataError(
            f"the data has the label {int(outside[0])}, outside the classes: labels must be 0 to "
            f"{classes - 1}; give the trainer as many classes as the data has"
        )
    return labels


def translate_errors() -> Any:
    """Nothing to translate: errors come from Python."""
    return contextlib.nullcontext()


def train_step(trainer: Any, data: Any) -> dict[str, Any]:
    """One turn of every player, all on one forward of `trainer.produce`."""
    batch = _drawn(trainer, data, trainer.seed_generator)
    players = trainer.players()
    for player in players:
        # A batch that cannot be shared out is refused before anything has moved.
        trainer.micro_batch(batch, 0, player.num_updates)
    tensors = batch | trainer.shared_forward(batch, training=True)
    turns = [(player, turn) for player in players for turn in range(player.num_updates)]
    last = len(turns) - 1
    values: dict[str, list[Any]] = {}
    pending = []
    for number, (player, turn) in enumerate(turns):
        variables = player.variables
        part = trainer.micro_batch(tensors, turn, player.num_updates)
        losses, logged = player.loss(part, True)
        loss = player.optimizer.scale_loss(ops.mean(losses))
        gradients = torch.autograd.grad(
            loss,
            [variable.value for variable in variables],
            # The shared forward is needed again by those who follow.
            retain_graph=number < last,
            allow_unused=True,
        )
        _collect(values, {f"{player.name}_loss": losses} | logged)
        if trainer.update == "simultaneous":
            pending.append((player.optimizer, gradients, variables))
        else:
            _apply(player.optimizer, gradients, variables)
    for optimizer, gradients, variables in pending:
        _apply(optimizer, gradients, variables)
    return _log(trainer, values)


def test_step(trainer: Any, data: Any) -> dict[str, Any]:
    """Every player's loss on a batch in inference mode."""
    batch = _drawn(trainer, data, trainer.evaluation_seed_generator)
    values: dict[str, list[Any]] = {}
    # A network that uses batch statistics or dropout at inference would move its state.
    with keras.StatelessScope():
        tensors = batch | trainer.shared_forward(batch, training=False)
        for player in trainer.players():
            losses, logged = player.loss(tensors, False)
            _collect(values, {f"{player.name}_loss": losses} | logged)
    return _log(trainer, values)


def _drawn(trainer: Any, data: Any, seed_generator: Any) -> dict[str, Any]:
    """The batch on Keras' device, with its noise."""
    batch = {name: ops.convert_to_tensor(part) for name, part in trainer.unpack(data).items()}
    return trainer.draw(batch, seed_generator)


@torch.no_grad()
def _apply(optimizer: Any, gradients: Any, variables: list[Any]) -> None:
    optimizer.apply(list(gradients), variables)


def _collect(values: dict[str, list[Any]], new: dict[str, Any]) -> None:
    for name, value in new.items():
        values.setdefault(name, []).append(ops.reshape(ops.stop_gradient(value), [-1]))


def _log(trainer: Any, values: dict[str, list[Any]]) -> dict[str, Any]:
    """Update the running means."""
    trackers = {tracker.name: tracker for tracker in trainer.trackers}
    for name, parts in values.items():
        trackers[name].update_state(ops.concatenate(parts))
    return {name: trackers[name].result() for name in values}
