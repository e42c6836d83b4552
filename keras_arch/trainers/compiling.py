"""Optimizers and checks of `AdversarialTrainer.compile`."""

import logging
from collections.abc import Mapping
from typing import Any

import keras

from keras_arch import losses
from keras_arch.errors import ArgumentError
from keras_arch.trainers.players import Player

_log = logging.getLogger("keras_arch")


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
