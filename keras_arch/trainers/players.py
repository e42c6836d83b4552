"""Games declared, not hand-written.

A trainer says what noise a batch needs, what one shared forward produces from it, and who the
players are: each a network, an optimizer and a loss written in `keras.ops`. The backend's engine
(`engine_tensorflow.py`) turns that into a training step. Nothing here knows the backend.
"""

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_arch.errors import ArgumentError, DataError

UPDATES = ("alternating", "simultaneous")
ENGINES = {"tensorflow": "keras_arch.trainers.engine_tensorflow"}

Tensors = dict[str, Any]
Values = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Noise:
    """Random numbers that every batch needs anew.

    Attributes:
        shape: Shape of one example's numbers.
        distribution: `"normal"` for N(0, 1), `"uniform"` for U(-1, 1), `"unit"` for U(0, 1).
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
        network: What it may change.
        optimizer: How it changes it.
        loss: From the tensors of a batch and `training` to one loss an example and further
            values an example to log.
        turns: Updates a step. Each takes its own equal part of the batch.
    """

    name: str
    network: keras.Model
    optimizer: keras.optimizers.Optimizer | None
    loss: Callable[[Tensors, bool], tuple[Any, Values]]
    turns: int = 1


class PlayersTrainer(keras.Model):
    """Base of the adversarial trainers: the declaration's half of a `keras.Model`.

    Sub-classes implement `players`, `noise` and `produce`, and name the logged values in
    `LOGGED`. Losses are means over the global batch, so that one replica and many give the same
    weights; a step runs `produce` once.

    Args:
        seed: Seed of the trainer's own random numbers, or `None` to draw one.
        name: Name of the trainer.
    """

    LOGGED: tuple[str, ...] = ()

    def __init__(self, seed: int | None = None, name: str | None = None) -> None:
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
        self.trackers = [keras.metrics.Mean(name=logged) for logged in self.LOGGED]
        self.update = "alternating"

    # The declaration, for sub-classes.

    def players(self) -> tuple[Player, ...]:
        """The players in the order of their updates."""
        raise NotImplementedError

    def noise(self) -> dict[str, Noise]:
        """What a batch needs to have drawn, by the name under which the losses find it."""
        raise NotImplementedError

    def produce(self, tensors: Tensors, training: bool) -> Tensors:
        """The one forward that all players share, for example `{"fake": G(latent)}`."""
        raise NotImplementedError

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

    def train_step(self, data: Any) -> Values:
        """One step of every player on a batch; see `keras.Model.train_step`."""
        return self.engine.train_step(self, self.unpack(data))

    def test_step(self, data: Any) -> Values:
        """The losses on a batch, without a change; see `keras.Model.test_step`."""
        return self.engine.test_step(self, self.unpack(data))

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Train; arguments and result are those of `keras.Model.fit`.

        Args:
            x: A dataset of images, of `(image, label)`, or of dictionaries with the key `image`
                (which may also bring their own noise, under its name: `latent`).
            *args: As in `keras.Model.fit`.
            **kwargs: As in `keras.Model.fit`.

        Raises:
            DataError: If the images are not of the shape that the networks take.
        """
        self.check_data(x)
        return super().fit(x, *args, **kwargs)

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """The mean losses over a dataset, with the same draws at every call.

        Arguments and result are those of `keras.Model.evaluate`.
        """
        self.check_data(x)
        self.evaluation_seed_generator.state.assign([0, 0])
        return super().evaluate(x, *args, **kwargs)

    def check_data(self, x: Any) -> None:
        """Refuse data whose image shape is known and wrong; sub-classes say what is right."""

    def unpack(self, data: Any) -> Tensors:
        """A batch as a dictionary: `image`, and whatever else came with it by name."""
        if isinstance(data, dict):
            if "image" not in data:
                raise DataError(
                    f"a batch that is a dictionary needs the key 'image', got {sorted(data)}"
                )
            return dict(data)
        if isinstance(data, (tuple, list)):
            names = ("image", "label")
            # Keras packs a bare array as (x,) and (x, y) as itself.
            return {name: part for name, part in zip(names, data, strict=False) if part is not None}
        return {"image": data}

    def draw(self, tensors: Tensors, seed_generator: Any) -> Tensors:
        """The batch with the noise that it did not bring itself."""
        count = ops.shape(tensors["image"])[0]
        drawn = {
            name: noise.draw(count, seed_generator)
            for name, noise in self.noise().items()
            if name not in tensors
        }
        return tensors | drawn


def image_shape_of(x: Any) -> tuple[int | None, ...] | None:
    """The static shape of one batch of images in whatever `fit` was given, or `None`."""
    spec = getattr(x, "element_spec", x)
    if isinstance(spec, dict):
        spec = spec.get("image")
    elif isinstance(spec, (tuple, list)) and spec:
        spec = spec[0]
    shape = getattr(spec, "shape", None)
    unknown = shape is None or (hasattr(shape, "rank") and shape.rank is None)
    return None if unknown else tuple(shape)
