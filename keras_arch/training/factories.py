"""Optimizers, networks and cards of a config, and the checks that its parts fit."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_arch import config, models, optimizers, registry, trainers
from keras_arch.errors import ConfigError
from keras_arch.preprocessing import Preprocessing
from keras_arch.trainers.engines.tensorflow import compiles_faster

EVALUATION_BATCH = 256


def make_optimizer(settings: config.Optimizer) -> keras.optimizers.Optimizer:
    """A Keras optimizer with its schedule from a config's section.

    Example:
        >>> make_optimizer(config.Adam(name="adam", learning_rate=2e-4, beta_1=0.5)).beta_1
        0.5
    """
    arguments = settings.model_dump(
        exclude={"name", "learning_rate", "average", "weight_decay", "weight_decay_on"}
    )
    if settings.average is not None:
        # Kept beside the weights and never written over them.
        arguments |= {"use_ema": True, "ema_momentum": settings.average}
    classes = {
        "sgd": keras.optimizers.SGD,
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "rmsprop": keras.optimizers.RMSprop,
    }
    chosen = classes[settings.name]
    if isinstance(getattr(settings, "momentum", None), config.Ramp):
        ramp = settings.momentum
        chosen = optimizers.ScheduledSGD
        arguments["momentum"] = optimizers.LinearRamp(ramp.start, ramp.end, ramp.steps)
    decay = getattr(settings, "weight_decay", 0.0)
    if decay or settings.name == "adamw":
        # Keras refuses an AdamW without, and has others count zero as a decay.
        arguments["weight_decay"] = decay
    made = chosen(learning_rate=_learning_rate(settings.learning_rate), **arguments)
    kernels_only = decay and settings.weight_decay_on == "kernels"
    return optimizers.decay_kernels_only(made) if kernels_only else made


def _learning_rate(rate: Any) -> Any:
    if isinstance(rate, config.Schedule):
        return keras.optimizers.schedules.PiecewiseConstantDecay(rate.boundaries, rate.values)
    if isinstance(rate, config.Decay):
        return optimizers.FlooredDecay(rate.initial, rate.factor, rate.floor)
    if isinstance(rate, config.LinearDecay):
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


def build_network(
    builder: config.Builder,
    replicas: int = 1,
    synchronized: bool | str = "auto",
    **more: Any,
) -> keras.Model:
    """A network of a config; batch norm looks at all replicas where there are several."""
    known = registry.entry(builder.name).arguments
    if "synchronized" in known and "synchronized" not in builder.arguments:
        more["synchronized"] = replicas > 1 if synchronized == "auto" else synchronized
    return models.create(builder.name, **(builder.arguments | more))


def published(builder: config.Builder, trained: keras.Model) -> keras.Model:
    """A trained network as it is shared: single precision, without a trace of the replicas."""
    network = in_single_precision(builder)
    # All variables: those of dropout's seeds decide what a network that keeps dropout gives.
    for own, other in zip(network.variables, trained.variables, strict=True):
        own.assign(keras.ops.convert_to_tensor(other))
    return network


def in_single_precision(builder: config.Builder) -> keras.Model:
    """A new network whatever the policy of the run."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        return build_network(builder)
    finally:
        keras.config.set_dtype_policy(before)


def jit_compile(recipe: config.Recipe, model: keras.Model) -> bool:
    """The recipe's choice, or what is faster on this machine."""
    return compiles_faster(model) if recipe.jit_compile == "auto" else recipe.jit_compile


def check_task(builder: config.Builder, key: str, *tasks: str) -> None:
    """Refuse an architecture that is made for something else.

    Raises:
        ConfigError: Naming what it is for.
    """
    found = registry.entry(builder.name).task
    if found not in tasks:
        raise ConfigError(
            f"{key}.name must be an architecture for {tasks[0]}, {builder.name} is {found}"
        )


def check_shape(network: keras.Model, preprocessing: Preprocessing, what: str, shape: Any) -> None:
    """Refuse a network that takes or makes images of another shape than the data's.

    Raises:
        ConfigError: Naming both shapes.
    """
    wanted = tuple(shape[1:])
    given = preprocessing.input_shape
    if any(want is not None and want != got for want, got in zip(wanted, given, strict=True)):
        raise ConfigError(f"preprocessing makes images of shape {given}, {what} is {wanted}")


def pixel_range(preprocessing: Preprocessing) -> tuple[float, float]:
    """What preprocessing makes of the darkest and the brightest pixel.

    Example:
        >>> pixel_range(Preprocessing((8, 8), 1, scale=1 / 127.5, mean=1.0))
        (-1.0, 1.0)
    """
    ends = [preprocessing.normalize(np.full(preprocessing.input_shape, v)) for v in (0, 255)]
    return float(np.min(ends[0])), float(np.max(ends[1]))


def check_range(network: keras.Model, preprocessing: Preprocessing) -> None:
    """Refuse a generator whose range is not that of the images it is compared with.

    Raises:
        ConfigError: Naming both ranges.
    """
    activation = getattr(getattr(network.layers[-1], "activation", None), "__name__", None)
    if activation not in trainers.OUTPUT_RANGES:
        return
    low, high = pixel_range(preprocessing)
    made = trainers.OUTPUT_RANGES[activation]
    if not np.allclose((low, high), made, atol=0.05):
        raise ConfigError(
            f"preprocessing brings pixels to [{low:.3g}, {high:.3g}]; the generator ends in "
            f"{activation} and makes [{made[0]:g}, {made[1]:g}]: set preprocessing.scale and mean "
            "to that range"
        )


def argument(builder: config.Builder, name: str) -> Any:
    """An argument of a config's builder, or the builder's own default."""
    known = registry.entry(builder.name).arguments
    return builder.arguments.get(name, known[name].default if name in known else None)


def common_of_cards(checked: config.Config, builder: config.Builder) -> dict[str, Any]:
    """What all cards say; of what is on this machine only the name, not where it lay."""
    entry = registry.entry(builder.name)
    kind, colon, path = checked.data.source.partition(":")
    source = f"{kind}:{Path(path).name}" if colon else kind
    recipe = checked.model_dump(mode="json", exclude={"preprocessing", "expected"})
    recipe["data"] = recipe["data"] | {"source": source, "data_dir": None}
    if recipe.get("judge"):
        judge = recipe["judge"]["network"]
        if not judge.startswith("hf://"):
            recipe["judge"] = recipe["judge"] | {"network": Path(judge).name}
    return {
        "description": checked.description,
        "license": checked.license,
        "datasets": [source],
        "recipe": recipe,
        "paper": f"{entry.paper}, {entry.url}",
        "repository": checked.repository,
    }
