"""Base class of the adversarial trainers: `keras.Model`s whose training is a game of players.

A trainer declares the noise of a batch, the forward that all players share, and the players: each
its networks and a loss written in `keras.ops`. The engine of the Keras backend
(`keras_arch.trainers.engines`) turns that into a training step.
"""

import importlib
import logging
import types
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_arch import losses
from keras_arch.data.checks_in_graph import translate_errors
from keras_arch.errors import ArgumentError, checked_seed
from keras_arch.trainers import incoming
from keras_arch.trainers.checks import batch_check
from keras_arch.trainers.players import (
    Loss,
    Noise,
    Player,
    Tensors,
    Values,
    check_networks,
    optimizers_of_players,
    refuse_compile_arguments,
)

UPDATES = ("alternating", "simultaneous")
ENGINES = {
    "tensorflow": "keras_arch.trainers.engines.tensorflow",
    "jax": "keras_arch.trainers.engines.jax",
    "torch": "keras_arch.trainers.engines.torch",
}
_SEED = "training_seed"
_log = logging.getLogger("keras_arch")


class AdversarialTrainer(keras.Model):
    """Base class of the adversarial trainers, for use in `compile`, `fit` and `evaluate`.

    Subclasses implement `players`, `noise`, `shared_forward` and `input_spec`, and name the parts
    of a batch in `BATCH_KEYS`; docs/new_game.md writes one. Losses are means over the global
    batch, and noise is drawn for the global batch, so that one replica and many give the same
    weights. A step runs `shared_forward` once.

    Args:
        seed: Seed of the trainer's own random numbers, or `None` to draw one.
        name: Name of the trainer.
    """

    # Names of the parts of a batch that is a tuple. The first is images; others may be absent.
    BATCH_KEYS: tuple[str, ...] = ("image", "label")
    # A subclass's own arguments of `compile`, which are its attributes.
    COMPILE_KEYS: tuple[str, ...] = ()

    def __init__(self, seed: int | None = None, name: str | None = None) -> None:
        super().__init__(name=name)
        if keras.backend.backend() not in ENGINES:
            raise ArgumentError(
                f"trainers run on the Keras backends {', '.join(ENGINES)}; KERAS_BACKEND is "
                f"{keras.backend.backend()!r}"
            )
        self.engine = importlib.import_module(ENGINES[keras.backend.backend()])
        seed = None if seed is None else checked_seed(seed)
        self.seed_generator = self.engine.SeedGenerator(seed, name="training_seed")
        # Evaluation draws from its own generator: it does not change what is trained.
        self.evaluation_seed_generator = self.engine.SeedGenerator(0, name="evaluation_seed")
        self.player_optimizers: dict[str, keras.optimizers.Optimizer] = {}
        self.adversarial_loss = losses.adversarial("non_saturating")
        self.update = "alternating"
        # In namespaces: Keras would take metrics and networks in attributes for parts of the model.
        self._means = types.SimpleNamespace(trackers=[])
        self._averaged = types.SimpleNamespace(copies={})
        self.built = True

    # The game, declared by subclasses.

    def players(self) -> tuple[Player, ...]:
        """The players in the order of their updates."""
        raise NotImplementedError

    def noise(self) -> dict[str, Noise]:
        """The noise of a batch, by the name under which the losses find it."""
        return {}

    def shared_forward(self, tensors: Tensors, training: bool) -> Tensors:
        """The one forward that all players share, for example `{"fake": G(latent)}`."""
        raise NotImplementedError

    def input_spec(self) -> dict[str, tuple[int | None, ...]]:
        """The shape of one example of each part of a batch, by name, as the networks take it."""
        raise NotImplementedError

    def output_networks(self) -> dict[str, keras.Model]:
        """The network that generates images like those of a part of the batch, by its name."""
        return {}

    def discriminator_loss(
        self,
        discriminate: Callable[[Any], Any],
        real: Any,
        fake: Any,
        tensors: Tensors,
        prefix: str = "d",
        mix: str = "mix",
        factor: float = 1.0,
    ) -> tuple[Any, Values]:
        """Loss of a discriminator by the compiled loss, with its gradient penalty.

        Args:
            discriminate: From images to logits.
            real: Real images.
            fake: Generated images; they get no gradient.
            tensors: Tensors of the batch.
            prefix: Prefix of the logged scores.
            mix: Name of the noise of a penalty between images; see `penalty_noise`.
            factor: Factor on the loss without the penalty.

        Returns:
            One value an example, and the scores `{prefix}_real` and `{prefix}_fake`.
        """
        loss, fake = self.adversarial_loss, ops.stop_gradient(fake)
        on_real, on_fake = discriminate(real), discriminate(fake)
        value = loss.for_discriminator(on_real, on_fake)
        if factor != 1.0:
            value = factor * value
        if loss.penalty:
            at = fake if loss.penalty.at == "fake" else ops.cast(real, fake.dtype)
            if loss.penalty.at == "between":
                at = at + ops.cast(tensors[mix], fake.dtype) * (fake - at)
            gradient = self.engine.input_gradient(discriminate, at)
            value = value + loss.penalty_weight * loss.penalty.value(gradient)
        scores = {f"{prefix}_real": on_real, f"{prefix}_fake": on_fake}
        return value, {name: losses.per_example(loss.score(on)) for name, on in scores.items()}

    def penalty_noise(self, rank: int, name: str = "mix") -> dict[str, Noise]:
        """Noise `name` of a gradient penalty between images of `rank` axes, where there is one."""
        penalty = self.adversarial_loss.penalty
        between = penalty is not None and penalty.at == "between"
        return {name: Noise((1,) * rank, "uniform01")} if between else {}

    # The `keras.Model`.

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The running means that `fit` and `evaluate` report."""
        return list(self._means.trackers)

    def track(self, *names: str) -> None:
        """Add running means for the names that have none yet."""
        known = {tracker.name for tracker in self.metrics}
        with self.engine.scope(self):
            self._means.trackers += [
                keras.metrics.Mean(name) for name in names if name not in known
            ]

    @property
    def optimizers(self) -> dict[str, keras.optimizers.Optimizer]:
        """The players' optimizers by the player's name."""
        return {player.name: self.player_optimizers.get(player.name) for player in self.players()}

    def compile(
        self,
        optimizer: Any = None,
        loss: Loss = "non_saturating",
        penalty_weight: float | None = None,
        update: str = "alternating",
        jit_compile: bool | str = "auto",
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        metrics: Any = None,
        loss_weights: Any = None,
    ) -> None:
        """Set how the players are trained.

        Regularizers of a player's weights are added to its loss, and logged.

        Args:
            optimizer: An optimizer or the name of one, of which each player gets its own of the
                same settings; a dictionary with an optimizer for each player by name; or a
                function from a player's name to its optimizer. Default Adam(2e-4, beta_1=0.5).
            loss: The adversarial loss: `"non_saturating"`, `"minimax"`, `"lsgan"`, `"hinge"` or
                `"wgan-gp"`, the first four also with a gradient penalty (`"hinge+gp"`,
                `"non_saturating+r1"`); a `losses.AdversarialLoss`; or a pair of functions
                `(discriminator_loss, generator_loss)` of logits, which return one value an
                example; or a loss of Keras, see `losses.adversarial`.
            penalty_weight: Factor on the gradient penalty: lambda of `gp` and of `wgan-gp`
                (Gulrajani et al. 2017), gamma of `r1` (Mescheder et al. 2018). Default 10.
            update: `"alternating"`: a player meets the others as they are after their update.
                `"simultaneous"`: all move from the same point.
            jit_compile: Compile with XLA; `"auto"` does so where it is faster (on a GPU).
            run_eagerly: Run step by step in Python, for debugging.
            steps_per_execution: Steps in one call of the compiled function.
            metrics: Refused: a game has no `(y_true, y_pred)`. Further values are logged that a
                player's loss returns, see docs/new_game.md.
            loss_weights: Refused: the weights of a game are arguments of their own.

        Raises:
            ArgumentError: If an argument is not one of the above, or a discriminator's output is
                not what the loss reads.
        """
        refuse_compile_arguments({"metrics": metrics, "loss_weights": loss_weights})
        if update not in UPDATES:
            raise ArgumentError(f"update must be one of {', '.join(UPDATES)}, got {update!r}")
        adversarial_loss = losses.adversarial(loss, penalty_weight)
        check_networks(adversarial_loss, self.players())
        self.adversarial_loss = adversarial_loss
        self.update = update
        self.player_optimizers = optimizers_of_players(self, optimizer)
        self._means.trackers.clear()
        means = [player.means for player in self.players()]
        self.track(*(loss for loss, *_ in means))
        self.track(*(name for _, *more in means for name in more))
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
        """As in `keras.Model`, with the engine's checks before a compiled step."""
        return self._build_step("train_function", super().make_train_function, force)

    def make_test_function(self, force: bool = False) -> Any:
        """As in `keras.Model`, with the engine's checks before a compiled step."""
        return self._build_step("test_function", super().make_test_function, force)

    def _build_step(self, name: str, make: Callable[[bool], Any], force: bool) -> Any:
        def build() -> Any:
            before = getattr(self, name)
            make(True)
            function = getattr(self, name)
            setattr(self, name, before)
            return function

        if getattr(self, name) is None or force:
            setattr(self, name, self.engine.wrap_step(self, build))
        return getattr(self, name)

    def train_step(self, *args: Any) -> Any:
        """One step of every player on a batch; see `keras.Model.train_step` of the backend."""
        return self.engine.train_step(self, *args)

    def test_step(self, *args: Any) -> Any:
        """The losses on a batch, without a change; see `keras.Model.test_step`."""
        return self.engine.test_step(self, *args)

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Train the players; arguments and result are those of `keras.Model.fit`.

        Args:
            x: Whatever `keras.Model.fit` takes: arrays, datasets, `PyDataset`s, generators,
                `DataLoader`s. Batches are images, tuples in the order of `BATCH_KEYS`, or
                dictionaries with those keys (which may also bring their own noise, under its
                name: `latent`). Labels are whole numbers `(batch,)` or `(batch, 1)`, or one-hot.
            *args: As in `keras.Model.fit`, like `**kwargs`.
            **kwargs: Likewise; `sample_weight` and `class_weight` are refused.

        Raises:
            DataError: If the data is not of the type, shape, range or classes that the networks
                take; for the first batch and for arrays before the first update.
        """
        with translate_errors():
            arguments = incoming.of_fit(self, x, *args, **kwargs)
            return super().fit(**arguments)

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """The mean losses, as `keras.Model.evaluate`, with the same draws at every call."""
        self.evaluation_seed_generator.state.assign([0, 0])
        with translate_errors():
            # Inside `fit` the data has been checked with all other arguments.
            if not kwargs.get("_use_cached_eval_dataset"):
                return super().evaluate(**incoming.of_evaluate(self, x, *args, **kwargs))
            return super().evaluate(x, *args, **kwargs)

    def train_on_batch(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """One step on a batch, as `keras.Model.train_on_batch`."""
        with translate_errors():
            return super().train_on_batch(**incoming.of_train_on_batch(self, x, *args, **kwargs))

    def test_on_batch(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The losses on a batch, as `keras.Model.test_on_batch`."""
        with translate_errors():
            return super().test_on_batch(**incoming.of_test_on_batch(self, x, *args, **kwargs))

    def export(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Export the generator, as `keras.Model.export` does with any network.

        Args:
            filepath: The folder or file.
            *args: As in `keras.Model.export`, like `**kwargs`.
            **kwargs: Likewise.

        Raises:
            ArgumentError: If the trainer has no network `generator`.
        """
        if not isinstance(generator := getattr(self, "generator", None), keras.Model):
            raise ArgumentError(
                f"{self.name} has no network named generator; export one of its networks instead"
            )
        self.ema_network(generator).export(filepath, *args, **kwargs)

    def unpack(self, data: Any) -> Tensors:
        """A batch as a dictionary, its labels as `int32` numbers `(batch,)`, checked."""
        check = batch_check(self)
        tensors = check.named(data)
        for name, part in check.parts.items():
            if part.labels and name in tensors:
                checked = self.engine.check_labels(tensors[name], part.classes)
                tensors[name] = checked
        return tensors

    def draw(self, tensors: Tensors, seed_generator: Any) -> Tensors:
        """The batch with the noise that it did not bring itself."""
        missing = {name: noise for name, noise in self.noise().items() if name not in tensors}
        if not missing:
            return tensors
        count, own_part = self.engine.global_batch(ops.shape(tensors[self.BATCH_KEYS[0]])[0])
        return tensors | {
            name: own_part(noise.draw(count, seed_generator)) for name, noise in missing.items()
        }

    def micro_batch(self, tensors: Tensors, index: int, count: int) -> Tensors:
        """Every `count`-th example from `index` on: the same parts on any number of replicas.

        Where `count` does not divide the batch, parts differ in size by one. In a batch of fewer
        examples than parts each has one, and the first ones serve again.
        """
        if count == 1:
            return tensors
        images = tensors[self.BATCH_KEYS[0]]
        size = images.shape[0] or ops.shape(images)[0]
        start = index % size if isinstance(size, int) else ops.mod(index, ops.maximum(size, 1))
        return {name: tensor[start::count] for name, tensor in tensors.items()}

    # Saving. Subclasses give `get_config`.

    def get_compile_config(self) -> dict[str, Any] | None:
        """The arguments of `compile` that affect training, for `keras.saving`.

        `None`, with a line in the log, where the loss cannot be saved: a loaded trainer then has
        its weights and must be compiled anew.
        """
        try:
            loss = keras.saving.serialize_keras_object(self.adversarial_loss)
        except ArgumentError as error:
            _log.warning("%s is saved without its compile arguments: %s", self.name, error)
            return None
        return {
            "optimizer": keras.saving.serialize_keras_object(dict(self.player_optimizers)),
            "loss": loss,
            "update": self.update,
            "steps_per_execution": self.steps_per_execution,
        } | {name: getattr(self, name) for name in self.COMPILE_KEYS}

    def save_own_variables(self, store: Any) -> None:
        """As in `keras.Model`, with the random numbers' state, which Keras does not save."""
        super().save_own_variables(store)
        store[_SEED] = ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store: Any) -> None:
        """The inverse of `save_own_variables`; older files leave the seed as it is."""
        own = {name: store[name] for name in store.keys()}  # noqa: SIM118
        seed = own.pop(_SEED, None)
        if seed is not None:
            self.seed_generator.state.assign(np.asarray(seed))
        super().load_own_variables(own)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "AdversarialTrainer":
        """The inverse of `get_config`."""
        return cls(**keras.saving.deserialize_keras_object(config))

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """The inverse of `get_compile_config`."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    # Moving averages of the weights.

    def ema_network(self, network: keras.Model) -> keras.Model:
        """The network, or a copy with its weights' moving averages: with `use_ema=True`.

        Args:
            network: One of the trainer's networks, or one that consists of them.
        """
        averages = {}
        for player in self.players():
            optimizer = self.player_optimizers.get(player.name)
            optimizer = getattr(optimizer, "inner_optimizer", optimizer)
            averaging = optimizer is not None and optimizer.use_ema and optimizer.built
            # Before the first update Keras' averages are zeros.
            if averaging and int(ops.convert_to_numpy(optimizer.iterations)):
                average = optimizer._model_variables_moving_average
                averages |= dict(zip(map(id, player.variables), average, strict=True))
        if not any(id(variable) in averages for variable in network.variables):
            return network
        # Not by name, which two generators of one architecture share.
        if id(network) not in self._averaged.copies:
            self._averaged.copies[id(network)] = keras.models.clone_model(network)
        copy = self._averaged.copies[id(network)]
        for own, other in zip(network.variables, copy.variables, strict=True):
            other.assign(ops.convert_to_tensor(averages.get(id(own), own)))
        return copy
