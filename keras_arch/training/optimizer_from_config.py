"""Keras optimizers with their schedules from the `optimizer` section of a config."""

from typing import Any

import keras

from keras_arch import config, optimizers

_OPTIMIZERS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop"}


def make_optimizer(settings: config.Optimizer) -> keras.optimizers.Optimizer:
    """A Keras optimizer with its schedules, from a section of a config.

    Example:
        >>> make_optimizer(config.Adam(name="adam", learning_rate=2e-4, beta_1=0.5)).beta_1
        0.5
    """
    arguments = settings.model_dump(
        exclude={"name", "learning_rate", "average", "weight_decay", "weight_decay_on"}
    )
    if settings.average is not None:
        # The average is a copy beside the weights and never overwrites them.
        arguments |= {"use_ema": True, "ema_momentum": settings.average}
    chosen = getattr(keras.optimizers, _OPTIMIZERS[settings.name])
    if isinstance(ramp := getattr(settings, "momentum", None), config.LinearRamp):
        chosen = optimizers.ScheduledSGD
        arguments["momentum"] = optimizers.LinearRamp(ramp.start, ramp.end, ramp.steps)
    decay = getattr(settings, "weight_decay", 0.0)
    if decay or settings.name == "adamw":
        # Keras refuses an AdamW without, and the others count zero as a decay.
        arguments["weight_decay"] = decay
    optimizer = chosen(learning_rate=_learning_rate(settings.learning_rate), **arguments)
    if decay and getattr(settings, "weight_decay_on", None) == "kernels":
        optimizers.decay_kernels_only(optimizer)
    return optimizer


def _learning_rate(rate: Any) -> Any:
    if isinstance(rate, config.PiecewiseConstant):
        return keras.optimizers.schedules.PiecewiseConstantDecay(rate.boundaries, rate.values)
    if isinstance(rate, config.FlooredDecay):
        return optimizers.FlooredDecay(rate.initial, rate.factor, rate.floor)
    if isinstance(rate, config.ConstantThenLinear):
        return optimizers.ConstantThenLinear(rate.initial, rate.constant_steps, rate.decay_steps)
    if isinstance(rate, config.Cosine):
        return keras.optimizers.schedules.CosineDecay(
            0.0 if rate.warmup_steps else rate.peak,
            rate.decay_steps,
            alpha=rate.floor / rate.peak,
            warmup_target=rate.peak if rate.warmup_steps else None,
            warmup_steps=rate.warmup_steps,
        )
    return rate
