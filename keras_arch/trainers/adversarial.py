"""Games declared, not hand-written.

A trainer says what noise a batch needs, what one shared forward produces from it, and who the
players are: each a network, an optimizer and a loss written in `keras.ops`. The backend's engine
(`engine_tensorflow.py`) turns that into a training step. Nothing here knows the backend.
"""

import dataclasses
import importlib
import types
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_arch.errors import ArgumentError, DataError
from keras_arch.trainers.inference import infer

UPDATES = ("alternating", "simultaneous")
ENGINES = {
    "tensorflow": "keras_arch.trainers.engines.tensorflow",
    "jax": "keras_arch.trainers.engines.jax",
    "torch": "keras_arch.trainers.engines.torch",
}
# What the last layer's activation can give.
RANGES = {"tanh": (-1.0, 1.0), "hard_tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}
_SEED = "training_seed"

Tensors = dict[str, Any]
Values = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Noise:
    """Random numbers that every batch needs anew.

    Attributes:
        shape: Shape of one example's numbers.
        distribution: `"normal"` for N(0, 1), `"uniform"` for U(-1, 1), `"uniform01"` for U(0, 1).
    """

    shape: tuple[int, ...]
    distribution: str = "normal"

    def draw(self, count: Any, seed: Any) -> Any:
        """`(count, *shape)` numbers from an integer or a `SeedGenerator`."""
        shape = (count, *self.shape)
        if self.distribution == "normal":
            return keras.random.normal(shape, seed=seed)
        low = -1.0 if self.distribution == "uniform" else 0.0
        return keras.random.uniform(shape, low, 1.0, seed=seed)


@dataclasses.dataclass(frozen=True)
class Player:
    """One side of a game.

    Attributes:
        name: Prefix of its loss in the logs: `"d"` gives `d_loss`.
        networks: What it may change: one network, or several that share the optimizer.
        optimizer: How it changes it.
        loss: From the tensors of a batch and `training` to one loss an example and further
            values an example to log.
        num_updates: Updates a step. Each takes its own equal part of the batch.
    """

    name: str
    networks: tuple[keras.Model, ...]
    optimizer: keras.optimizers.Optimizer | None
    loss: Callable[[Tensors, bool], tuple[Any, Values]]
    num_updates: int = 1

    @property
    def variables(self) -> list[Any]:
        """The trainable variables, in the order in which the optimizer knows them."""
        return [variable for network in self.networks for variable in network.trainable_variables]


class AdversarialTrainer(keras.Model):
    """Base of the adversarial trainers: the declaration's half of a `keras.Model`.

    Sub-classes implement `players`, `noise`, `shared_forward` and `input_spec`, and say what a batch
    holds in `PARTS`. Losses are means over the global batch, so that one replica and many give
    the same weights; a step runs `shared_forward` once.

    Args:
        logged: Names of the values that `fit` reports: a loss for each player, `"d_loss"`, and
            whatever else the losses give.
        seed: Seed of the trainer's own random numbers, or `None` to draw one.
        name: Name of the trainer.
    """

    # Names of what a batch that is a tuple holds. The first is images; the others may be absent.
    PARTS: tuple[str, ...] = ("image", "label")

    def __init__(
        self, logged: tuple[str, ...] = (), seed: int | None = None, name: str | None = None
    ) -> None:
        super().__init__(name=name)
        if keras.backend.backend() not in ENGINES:
            raise ArgumentError(
                f"trainers run on the Keras backends {', '.join(ENGINES)}; KERAS_BACKEND is "
                f"{keras.backend.backend()!r}"
            )
        self.engine = importlib.import_module(ENGINES[keras.backend.backend()])
        self.seed_generator = self.engine.SeedGenerator(seed, name="training_seed")
        # Evaluation draws from its own generator: looking does not change what is trained.
        self.evaluation_seed_generator = self.engine.SeedGenerator(0, name="evaluation_seed")
        self.trackers = [keras.metrics.Mean(name=value) for value in logged]
        self.update = "alternating"
        # In a holder of its own: Keras would take networks in a dictionary for parts of the model.
        self._averaged = types.SimpleNamespace(copies={})

    # The declaration, for sub-classes.

    def players(self) -> tuple[Player, ...]:
        """The players in the order of their updates."""
        raise NotImplementedError

    def noise(self) -> dict[str, Noise]:
        """What a batch needs to have drawn, by the name under which the losses find it."""
        raise NotImplementedError

    def shared_forward(self, tensors: Tensors, training: bool) -> Tensors:
        """The one forward that all players share, for example `{"fake": G(latent)}`."""
        raise NotImplementedError

    def input_spec(self) -> dict[str, tuple[int | None, ...]]:
        """The shape of one example of each part of a batch, by name, as the networks take it."""
        raise NotImplementedError

    def output_networks(self) -> dict[str, keras.Model]:
        """For each part of the data that is images like those a network makes, that network."""
        return {}

    # What Keras asks of a trainer.

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The running means that `fit` and `evaluate` report."""
        return self.trackers

    @property
    def optimizers(self) -> dict[str, keras.optimizers.Optimizer]:
        """The players' optimizers by the player's name."""
        return {player.name: player.optimizer for player in self.players()}

    def compile_players(
        self,
        *,
        update: str,
        jit_compile: bool | str,
        run_eagerly: bool,
        steps_per_execution: int,
    ) -> None:
        """The part of `compile` that every game has: checks, engine settings, built optimizers."""
        if update not in UPDATES:
            raise ArgumentError(f"update must be one of {', '.join(UPDATES)}, got {update!r}")
        self.update = update
        if jit_compile == "auto":
            jit_compile = not run_eagerly and self.engine.compiles_faster(self)
        super().compile(
            optimizer=None,
            jit_compile=jit_compile,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
        )
        # Keras builds a model's optimizer at the first batch, which is too late inside a
        # distribution strategy: slots must be made in its scope, before the replicas run.
        self.engine.build_optimizers(self)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        # Under a strategy Keras would take a batch and average it over the replicas to learn its
        # shape, which fails where the replicas' parts differ in size. Here all is built already.
        return

    def make_train_function(self, force: bool = False) -> Any:
        """As in `keras.Model`, with what the engine must look at before a compiled step."""
        if self.train_function is None or force:
            super().make_train_function(force)
            self.train_function = self.engine.wrap_step(self, self.train_function)
        return self.train_function

    def make_test_function(self, force: bool = False) -> Any:
        """As in `keras.Model`, with what the engine must look at before a compiled step."""
        if self.test_function is None or force:
            super().make_test_function(force)
            self.test_function = self.engine.wrap_step(self, self.test_function)
        return self.test_function

    def train_step(self, *args: Any) -> Any:
        """One step of every player on a batch; see `keras.Model.train_step` of the backend."""
        return self.engine.train_step(self, *args)

    def test_step(self, *args: Any) -> Any:
        """The losses on a batch, without a change; see `keras.Model.test_step`."""
        return self.engine.test_step(self, *args)

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Train; arguments and result are those of `keras.Model.fit`.

        Args:
            x: A dataset of images, of tuples as `PARTS` names them, or of dictionaries with those
                names as keys (which may also bring their own noise, under its name: `latent`).
            *args: As in `keras.Model.fit`.
            **kwargs: As in `keras.Model.fit`.

        Raises:
            DataError: If the data is not of the shape or the range that the networks are made for.
        """
        self.check_data(x, args[0] if args else kwargs.get("y"))
        with self.engine.translate_errors():
            return super().fit(x, *args, **kwargs)

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """The mean losses over a dataset, with the same draws at every call.

        Arguments and result are those of `keras.Model.evaluate`.
        """
        self.check_data(x, args[0] if args else kwargs.get("y"))
        self.evaluation_seed_generator.state.assign([0, 0])
        with self.engine.translate_errors():
            return super().evaluate(x, *args, **kwargs)

    def check_data(self, x: Any, y: Any = None) -> None:
        """Refuse data of the wrong shape or range, as far as both can be known beforehand."""
        given = x if y is None else (x, y)
        found = self._named(getattr(given, "element_spec", given))
        for name, wanted in self.input_spec().items():
            shape = _static_shape(found.get(name))
            if found and name not in found:
                raise DataError(
                    f"{type(self).__name__} needs the part {name!r} in each batch, the data has "
                    f"{', '.join(found)}"
                )
            fits = shape is None or (
                len(shape) == len(wanted) + 1
                and all(
                    None in (got, want) or got == want
                    for got, want in zip(shape[1:], wanted, strict=True)
                )
            )
            if not fits:
                raise DataError(
                    f"{type(self).__name__} takes batches of {name} of shape {wanted}, the data "
                    f"has batches of shape {shape}"
                )
        first = self._named(_first_batch(given))
        for name, network in self.output_networks().items():
            if name in first:
                check_range(name, first[name], network)

    def unpack(self, data: Any) -> Tensors:
        """A batch as a dictionary: the first of `PARTS`, and whatever else came with it."""
        tensors = self._named(data)
        if self.PARTS[0] not in tensors:
            raise DataError(
                f"a batch that is a dictionary needs the key {self.PARTS[0]!r}, got "
                f"{sorted(tensors)}"
            )
        return tensors

    def _named(self, data: Any) -> Tensors:
        if data is None:
            return {}
        if isinstance(data, dict):
            return dict(data)
        if isinstance(data, (tuple, list)):
            # Keras packs a bare array as (x,) and (x, y) as itself.
            named = zip(self.PARTS, data, strict=False)
            return {name: part for name, part in named if part is not None}
        return {self.PARTS[0]: data}

    def draw(self, tensors: Tensors, seed_generator: Any) -> Tensors:
        """The batch with the noise that it did not bring itself."""
        count = ops.shape(tensors[self.PARTS[0]])[0]
        drawn = {
            name: noise.draw(count, seed_generator)
            for name, noise in self.noise().items()
            if name not in tensors
        }
        return tensors | drawn

    def micro_batch(self, tensors: Tensors, turn: int, turns: int) -> Tensors:
        """Every `turns`-th example, so that the parts are the same whatever the replicas are."""
        if turns == 1:
            return tensors
        size = tensors[self.PARTS[0]].shape[0]
        if size is not None and size % turns:
            raise ArgumentError(
                f"n_critic={turns} needs batches that divide by it (each critic update takes its "
                f"own part), got {size} examples a replica; make batches a multiple of {turns} and "
                "drop the remainder"
            )
        return {name: tensor[turn::turns] for name, tensor in tensors.items()}

    # Saving. Sub-classes give `get_config` and `get_compile_config`.

    def save_own_variables(self, store: Any) -> None:
        """As in `keras.Model`, with the random numbers' state, which Keras does not save."""
        super().save_own_variables(store)
        store[_SEED] = ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store: Any) -> None:
        """The inverse of `save_own_variables`; files that are older keep the seed as it is."""
        own = {name: store[name] for name in store.keys()}  # noqa: SIM118
        seed = own.pop(_SEED, None)
        if seed is not None:
            self.seed_generator.state.assign(np.asarray(seed))
        super().load_own_variables(own)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "AdversarialTrainer":
        """The inverse of `get_config`."""
        return cls(**deserialized(config))

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """The inverse of `get_compile_config`."""
        self.compile(**deserialized(config))

    # Weights that are averaged over the steps.

    def ema_network(self, network: keras.Model) -> keras.Model:
        """A network as it is sampled from and shared: with averaged weights where they are kept.

        Args:
            network: One of the trainer's networks, or one that is made of them.

        Returns:
            The network itself, or a copy that holds the moving averages when its optimizer was
            made with `use_ema=True`.
        """
        averages = {}
        for player in self.players():
            optimizer = getattr(player.optimizer, "inner_optimizer", player.optimizer)
            averaging = optimizer is not None and optimizer.use_ema and optimizer.built
            # Before the first update Keras' averages are zeros.
            if averaging and int(ops.convert_to_numpy(optimizer.iterations)):
                kept = optimizer._model_variables_moving_average
                pairs = zip(player.variables, kept, strict=True)
                averages |= {id(variable): average for variable, average in pairs}
        if not any(id(variable) in averages for variable in network.variables):
            return network
        # Not by name, which two generators of one architecture share.
        copy = self._averaged.copies.get(id(network))
        if copy is None:
            copy = keras.models.clone_model(network)
            self._averaged.copies[id(network)] = copy
        for own, other in zip(network.variables, copy.variables, strict=True):
            other.assign(ops.convert_to_tensor(averages.get(id(own), own)))
        return copy


def compiled_optimizer(trainer: AdversarialTrainer, given: Any) -> keras.optimizers.Optimizer:
    """The user's optimizer or DCGAN's, with its loss scaled where gradients are half precision."""
    with trainer.engine.scope(trainer):
        if given is None:
            given = keras.optimizers.Adam(2e-4, beta_1=0.5)
        try:
            optimizer = keras.optimizers.get(given)
        except ValueError as error:
            raise ArgumentError(f"no optimizer can be made of {given!r}") from error
        half = keras.config.dtype_policy().name == "mixed_float16"
        if half and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def forward(network: keras.Model, inputs: Any) -> np.ndarray:
    """A network's outputs at inference as a `float32` array, with nothing of its state moved."""
    return ops.convert_to_numpy(infer(network, inputs)).astype(np.float32)


def serialized(objects: dict[str, Any]) -> dict[str, Any]:
    """Keras objects as `keras.saving` keeps them."""
    return {
        name: None if value is None else keras.saving.serialize_keras_object(value)
        for name, value in objects.items()
    }


def deserialized(config: dict[str, Any]) -> dict[str, Any]:
    """The inverse of `serialized`, for whatever in a configuration is a Keras object."""
    return {
        name: keras.saving.deserialize_keras_object(value)
        if isinstance(value, dict) and "class_name" in value
        else value
        for name, value in config.items()
    }


def check_range(name: str, images: Any, network: keras.Model) -> None:
    """Refuse images that a network of this last activation cannot make.

    Args:
        name: What the images are called in the message.
        images: Some of them.
        network: The network that is to make images like them.

    Raises:
        DataError: If they reach outside the range, or plainly fill only half of it.
    """
    activation = getattr(getattr(network.layers[-1], "activation", None), "__name__", None)
    if activation not in RANGES:
        return
    low, high = RANGES[activation]
    images = ops.convert_to_numpy(images).astype("float32")
    least, most = float(images.min()), float(images.max())
    outside = least < low - 0.05 or most > high + 0.05
    half = low < 0 and least >= 0 and most > 0.5
    if outside or half:
        raise DataError(
            f"{network.name} ends in {activation} and makes values in [{low:g}, {high:g}]; the "
            f"data's {name} has values from {least:.4g} to {most:.4g}: scale it to that range "
            "(Preprocessing scale and mean)"
        )


def _static_shape(spec: Any) -> tuple[int | None, ...] | None:
    """The shape of a batch of an array, tensor or `tf.TensorSpec`, or `None`."""
    shape = getattr(spec, "shape", None)
    unknown = shape is None or (hasattr(shape, "rank") and shape.rank is None)
    return None if unknown else tuple(shape)


def _first_batch(data: Any) -> Any:
    """One batch of what `fit` was given, where looking at it takes nothing away."""
    if type(data).__module__.startswith("tensorflow.python.data"):
        return next(iter(data.take(1)), None)
    parts = data.values() if isinstance(data, dict) else data
    parts = parts if isinstance(parts, tuple | list) or isinstance(data, dict) else (data,)
    arrays = all(part is None or _static_shape(part) is not None for part in parts)
    if not arrays:
        return None
    if isinstance(data, dict):
        return {name: part[:64] for name, part in data.items()}
    if isinstance(data, tuple | list):
        return tuple(None if part is None else part[:64] for part in data)
    return data[:64]
