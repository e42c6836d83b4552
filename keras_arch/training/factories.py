"""Factories: networks and card fields from the sections of a config."""

import contextlib
import contextvars
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_arch import config, hub, models, registry, trainers
from keras_arch.data.model_checks import pixel_range
from keras_arch.errors import ConfigError
from keras_arch.hub.training_command import without_folders, without_path
from keras_arch.preprocessing import Preprocessing
from keras_arch.trainers.engines.tensorflow import compiles_faster
from keras_arch.training.optimizer_from_config import make_optimizer

EVALUATION_BATCH = 256


# Keys of a config that do not belong to the recipe: the repository is that of the published model.
_OWN_KEYS = {"preprocessing", "expected", "imports", "repository"}
# Arguments of builders that may be a path.
_WEIGHTS = ("weights", "backbone_weights")
# Whether networks are built without them.
_fresh = contextvars.ContextVar("fresh", default=False)


@contextlib.contextmanager
def without_weights() -> Iterator[None]:
    """Build networks whose values come from elsewhere: the files of their weights may be gone.

    The weights are still read where the variant of a network follows from them.
    """
    token = _fresh.set(True)
    try:
        yield
    finally:
        _fresh.reset(token)


def build_network(
    builder: config.Builder, replicas: int = 1, synchronized: bool | str = "auto", **more: Any
) -> keras.Model:
    """A network of a config; with several replicas its batch norm is synchronized."""
    known = registry.entry(builder.name).arguments
    if "synchronized" in known and "synchronized" not in builder.arguments:
        more["synchronized"] = replicas > 1 if synchronized == "auto" else synchronized
    arguments = builder.arguments | more
    if _fresh.get():
        arguments |= dict.fromkeys(_only_values(builder))
    return models.create(builder.name, **arguments)


def _only_values(builder: config.Builder) -> list[str]:
    """Those of the arguments `weights` and `backbone_weights` that decide on values alone.

    The variant of a ResNet follows from its weights. Builders of other packages may do the same.
    """
    backbone, inner = argument(builder, "backbone"), argument(builder, "backbone_arguments")
    owners = {"weights": builder}
    if isinstance(backbone, str):
        owners["backbone_weights"] = config.Builder(name=backbone, arguments=inner or {})
    found = []
    for name, owner in owners.items():
        entry = registry.entry(owner.name)
        chosen = "variant" not in entry.arguments or argument(owner, "variant") is not None
        if name in builder.arguments and chosen and _is_ours(entry):
            found.append(name)
    return found


def _is_ours(entry: registry.Entry) -> bool:
    return entry.builder.__module__.startswith("keras_arch.models.")


def export_copy(builder: config.Builder, trained: keras.Model) -> keras.Model:
    """A copy of a trained network to save: in float32, without synchronized batch norm."""
    network = build_in_float32(builder)
    # All variables: the seeds of dropout decide the output of a network that keeps dropout.
    for own, other in zip(network.variables, trained.variables, strict=True):
        own.assign(keras.ops.convert_to_tensor(other))
    return network


def build_in_float32(builder: config.Builder) -> keras.Model:
    """A new network in float32 to copy values into, whatever the run's dtype policy is."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        with without_weights():
            return build_network(builder)
    finally:
        keras.config.set_dtype_policy(before)


def compile_network(
    network: keras.Model,
    recipe: Any,
    loss: Any,
    metrics: Sequence[Any] = (),
    optimizer: keras.optimizers.Optimizer | None = None,
) -> None:
    """Compile a network as a recipe says, and create all variables of its optimizer.

    Args:
        network: Trained by plain `model.fit`.
        recipe: A `config.Recipe`, with an `optimizer` where none is given.
        loss, metrics: As in `keras.Model.compile`.
        optimizer: Default: that of the recipe.
    """
    auto = recipe.jit_compile == "auto"
    network.compile(
        optimizer=optimizer or make_optimizer(recipe.optimizer),
        loss=loss,
        metrics=list(metrics),
        jit_compile=compiles_faster(network) if auto else recipe.jit_compile,
        steps_per_execution=recipe.steps_per_execution,
    )
    # Keras does so at the first batch; a resumed run restores the variables before it.
    network.optimizer.build(network.trainable_variables)


def make_metric_variables(model: keras.Model, inputs: np.ndarray, targets: np.ndarray) -> None:
    """Create the metrics' variables of a compiled model, which a resumed run then restores.

    The values of `inputs` and `targets`, one example a replica, do not matter.
    """
    # A graph of the step would serve these shapes only, and a TPU runs nothing but graphs.
    eagerly, strategy = model.run_eagerly, model.distribute_strategy
    model.run_eagerly = eagerly or not isinstance(strategy, tf.distribute.TPUStrategy)
    model.test_on_batch(inputs, targets)
    model.run_eagerly, model.test_function = eagerly, None
    model.reset_metrics()


def check_architecture(builder: config.Builder, key: str, *tasks: str) -> None:
    """Refuse an architecture of another task, with a `ConfigError` that names its own."""
    found = registry.entry(builder.name).task
    if found not in tasks:
        raise ConfigError(
            f"{key}.name must be an architecture for {tasks[0]}, {builder.name} is for {found}"
        )


def check_shape(preprocessing: Preprocessing, name: str, shape: Any) -> None:
    """Refuse another shape `(batch, ...)` of `name` than that of preprocessed images.

    Raises:
        ConfigError: With both shapes, and `name`: `"the model's input"`.
    """
    wanted, given = tuple(shape[1:]), preprocessing.input_shape
    if any(want is not None and want != got for want, got in zip(wanted, given, strict=True)):
        raise ConfigError(f"preprocessing makes images of shape {given}, {name} is {wanted}")


def check_range(network: keras.Model, preprocessing: Preprocessing) -> None:
    """Refuse a generator with another output range than the images, with a `ConfigError`."""
    activation = getattr(getattr(network.layers[-1], "activation", None), "__name__", None)
    if activation not in trainers.OUTPUT_RANGES:
        return
    low, high = pixel_range(preprocessing)
    output = trainers.OUTPUT_RANGES[activation]
    if not np.allclose((low, high), output, atol=0.05):
        raise ConfigError(
            f"preprocessing brings pixels to [{low:.3g}, {high:.3g}]; the generator ends in "
            f"{activation}, whose range is [{output[0]:g}, {output[1]:g}]: set "
            "preprocessing.scale and mean to that range"
        )


def argument(builder: config.Builder, name: str) -> Any:
    """An argument of a config's builder, or the builder's own default."""
    known = registry.entry(builder.name).arguments
    return builder.arguments.get(name, known[name].default if name in known else None)


def make_card(checked: config.TaskConfig, builder: config.Builder, **fields: Any) -> hub.Card:
    """The card of a network of a config; of local paths only the last part.

    Args:
        checked: The config.
        builder: Of the network.
        **fields: Fields of the card, `task` among them; they come before those of the config.
    """
    entry = registry.entry(builder.name)
    source = without_folders(checked.data.source)
    recipe = checked.model_dump(mode="json", exclude=_OWN_KEYS)
    recipe["data"] |= {"source": source, "data_dir": None}
    evaluation = recipe.get("generator_evaluation")
    if evaluation:
        evaluation["network"] = without_path(evaluation["network"])
    for section in recipe.values():
        if isinstance(section, dict) and isinstance(section.get("arguments"), dict):
            section["arguments"] = _shown(section["arguments"])
    common = {
        "name": checked.name,
        "architecture": builder.name,
        "arguments": _shown(builder.arguments),
        "preprocessing": checked.preprocessing.build(),
        "description": checked.description,
        "license": checked.license,
        "datasets": [source],
        "recipe": recipe,
        "paper": f"{entry.paper}, {entry.url}",
    }
    return hub.Card(**(common | fields))


def _shown(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a builder, with only the last part of a local path of weights."""
    return arguments | {
        name: without_path(arguments[name])
        for name in _WEIGHTS
        if isinstance(arguments.get(name), str)
    }
