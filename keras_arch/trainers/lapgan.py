"""The Laplacian pyramid of adversarial networks (LAPGAN) as a trainer."""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_arch import losses, optimizers
from keras_arch.errors import ArgumentError
from keras_arch.registry import LATENTS
from keras_arch.trainers.adversarial import (
    AdversarialTrainer,
    Noise,
    Player,
    Tensors,
    Values,
    compiled_optimizer,
    serialized,
)
from keras_arch.trainers.conditional_gan import class_labels
from keras_arch.trainers.gan import sample

LOSSES = ("non_saturating", "minimax", "lsgan", "hinge")
# Updates an epoch of the authors' code: 45,000 images, 64 of them in each batch of 128.
UPDATES_PER_EPOCH = 704


@keras.saving.register_keras_serializable("keras_arch")
class LAPGAN(AdversarialTrainer):
    """Trains a generator and a discriminator for each level of a Laplacian pyramid at once.

    Source: Denton et al. 2015, "Deep Generative Image Models using a Laplacian Pyramid of
    Adversarial Networks", sections 2.3 and 3. The lowest level makes small images, each other one
    the residual between the enlarged image of the level below and its own. In training a level
    gets the small image of a real one, so that the levels have nothing to do with each other.

    Args:
        generator: From a flat latent, or a latent and a label, to images, made of levels that are
            its layers `level8`, `level16`, ...: the first from its part of the latent, the others
            from a noise plane and the enlarged image of the level below, each with the label
            where there is one. See `models.LAPGANGenerator`.
        discriminators: One a level, by its size (`{8: ..., 16: ..., 32: ...}`) or in order. The
            first judges images, the others a residual and the enlarged image that it belongs to,
            each with the label where there is one; positive says real.
        classes: Number of classes of networks that take labels, or `None`.
        latent: Distribution of the latent: `"uniform"` for U(-1, 1) (the authors'), `"normal"`
            for N(0, 1), `"uniform01"` for U(0, 1).
        seed: Seed of the latents drawn in training, or `None` to draw one.
        name: Name of the trainer.

    Raises:
        ArgumentError: If the networks do not fit each other, or `latent` is none of these.

    Example:
        >>> from keras_arch import models, trainers
        >>> shape, small = (12, 12, 3), (4, 4, 3)
        >>> lapgan = trainers.LAPGAN(
        ...     models.LAPGANGenerator(image_shape=shape, coarser_sizes=(4,), classes=3),
        ...     [
        ...         models.LAPGANDiscriminator(input_shape=small, classes=3, coarsest=True),
        ...         models.LAPGANDiscriminator(input_shape=shape, classes=3),
        ...     ],
        ...     classes=3,
        ... )
        >>> lapgan.compile("sgd")
        >>> lapgan.generate(3, seed=0).shape
        (3, 12, 12, 3)
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminators: Mapping[int, keras.Model] | Sequence[keras.Model],
        classes: int | None = None,
        latent: str = "uniform",
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        if latent not in LATENTS:
            raise ArgumentError(f"latent must be one of {', '.join(LATENTS)}, got {latent!r}")
        if classes is not None and (not isinstance(classes, int) or classes < 1):
            raise ArgumentError(f"classes must be a positive whole number or None, got {classes!r}")
        sizes = _sizes(generator)
        discriminators = _in_order(discriminators, sizes)
        _check_networks(generator, sizes, discriminators, classes)
        values = ("d{}_loss", "d{}_real", "d{}_fake", "g{}_loss")
        logged = tuple(value.format(size) for size in sizes for value in values)
        super().__init__(logged, seed, name or "lapgan")
        self.generator = generator
        self.discriminators = discriminators
        self.sizes = sizes
        self.classes = classes
        self.latent = latent
        self.player_optimizers = {player.name: None for player in self._level_players()}
        self.loss_name = "non_saturating"
        self.d_weight = 0.5
        self.built = True

    def compile(
        self,
        optimizer: Any = None,
        loss: str = "non_saturating",
        d_weight: float = 0.5,
        update: str = "alternating",
        jit_compile: bool | str = "auto",
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
    ) -> None:
        """Say how the players `d8`, `g8`, `d16`, ... are trained.

        Args:
            optimizer: An optimizer or the name of one, of which each player gets its own of the
                same settings; a dictionary with an optimizer for each player by name; or a
                function from a player's name to its optimizer. Default the paper's gradient
                descent (section 3.3 and the authors' code): learning rate 0.02, divided by
                1.00004 an epoch of 704 updates, momentum from 0.5 to 0.8 in steps of 0.0008 an
                epoch.
            loss: `"non_saturating"` (the paper's), `"minimax"`, `"lsgan"` or `"hinge"`.
            d_weight: Factor on the discriminators' losses. Default one half: the authors take the
                mean over real and generated images where others take the sum.
            update: `"alternating"`: a generator meets its updated discriminator.
                `"simultaneous"`: both move from the same point.
            jit_compile: Compile with XLA; `"auto"` does so where it is faster (on a GPU).
            run_eagerly: Run step by step in Python, for debugging.
            steps_per_execution: Steps in one call of the compiled function.

        Raises:
            ArgumentError: If an argument is not one of the above.
        """
        if loss not in LOSSES:
            raise ArgumentError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}")
        if not d_weight > 0:
            raise ArgumentError(f"d_weight must be positive, got {d_weight!r}")
        optimizers = self._optimizers(optimizer)
        if len({id(each) for each in optimizers.values()}) < len(optimizers):
            raise ArgumentError(
                "the players must have an optimizer object each, which keeps the moments of its "
                "own network; two of them were given the same"
            )
        self.player_optimizers = optimizers
        self.loss_name, self.d_weight = loss, float(d_weight)
        self.compile_players(
            update=update,
            jit_compile=jit_compile,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
        )

    def call(self, latent: Any, training: bool = False) -> Any:
        """Images from latents, or latents and labels: the generator's forward, all levels."""
        return self.generator(latent, training=training)

    def generate(
        self,
        count: int,
        seed: int | None = None,
        batch_size: int = 128,
        labels: Any = None,
    ) -> np.ndarray:
        """Draw images, from the lowest level up.

        Args:
            count: How many.
            seed: The same seed gives the same images; `None` gives new ones.
            batch_size: Images in one forward.
            labels: With classes, one whole number an image; default 0, 1, ... and again from 0.

        Returns:
            A `float32` array `(count, height, width, channels)` in the generator's range.

        Raises:
            ArgumentError: If `count` is not positive, a label is outside the classes, or labels
                are given to networks without classes.
        """
        if self.classes is not None:
            labels = class_labels(count, self.classes, labels)
        generator = self.ema_network(self.generator)
        return sample(generator, count, seed, self.latent, batch_size, labels)

    def pyramid(self, images: Any) -> Tensors:
        """The Laplacian pyramid of images.

        Args:
            images: `(batch, height, width, channels)` of the highest level's size.

        Returns:
            For each level of a size N but the lowest `coarseN`, the images of the level below
            enlarged, and `realN`, the residual that makes the level's images of it; for the
            lowest `realN`, its images. Both ways are bilinear (halving takes the mean of the
            neighbours as well, so that nothing is aliased).
        """
        images = ops.cast(images, "float32")
        levels = {}
        for size, below in zip(self.sizes[:0:-1], self.sizes[-2::-1], strict=True):
            smaller = _resize(images, size, below)
            levels[f"coarse{size}"] = _resize(smaller, below, size)
            levels[f"real{size}"] = images - levels[f"coarse{size}"]
            images = smaller
        return levels | {f"real{self.sizes[0]}": images}

    # The game.

    def players(self) -> tuple[Player, ...]:
        """Each level's discriminator and generator, from the lowest level up."""
        return self._level_players()

    def noise(self) -> dict[str, Noise]:
        """The latent of all levels."""
        return {"latent": Noise(tuple(self.generator.inputs[0].shape[1:]), self.latent)}

    def shared_forward(self, tensors: Tensors, training: bool) -> Tensors:
        """The pyramid of the real images, and what each level makes of the image below."""
        made = self.pyramid(tensors["image"])
        first = 0
        for size in self.sizes:
            level = self.generator.get_layer(f"level{size}")
            shape = tuple(level.inputs[0].shape[1:])
            numbers = tensors["latent"][:, first : first + int(np.prod(shape))]
            first += int(np.prod(shape))
            given = [ops.reshape(numbers, (-1, *shape)), *self._condition(size, tensors | made)]
            made[f"fake{size}"] = level(given if len(given) > 1 else given[0], training=training)
        return made

    def input_spec(self) -> dict[str, tuple[int | None, ...]]:
        """Images of the generator's shape, each with its label where there are classes."""
        labels = {} if self.classes is None else {"label": ()}
        return {"image": tuple(self.generator.output_shape[1:])} | labels

    def output_networks(self) -> dict[str, keras.Model]:
        """The generator makes images like the data's."""
        return {"image": self.generator}

    def unpack(self, data: Any) -> Tensors:
        """A batch as a dictionary, its labels checked."""
        tensors = super().unpack(data)
        if self.classes is None:
            return tensors
        labels = ops.cast(tensors["label"], "int32")
        return tensors | {"label": self.engine.check_labels(labels, self.classes)}

    def _level_players(self) -> tuple[Player, ...]:
        players = []
        optimizers = getattr(self, "player_optimizers", {})
        for size, discriminator in zip(self.sizes, self.discriminators, strict=True):
            level = self.generator.get_layer(f"level{size}")
            d_loss = functools.partial(self._discriminator_loss, size, discriminator)
            g_loss = functools.partial(self._generator_loss, size, discriminator)
            d, g = f"d{size}", f"g{size}"
            players.append(Player(d, (discriminator,), optimizers.get(d), d_loss))
            players.append(Player(g, (level,), optimizers.get(g), g_loss))
        return tuple(players)

    def _condition(self, size: int, tensors: Tensors) -> list[Any]:
        """What both networks of a level are given besides what they make or judge."""
        names = [f"coarse{size}"] * (size != self.sizes[0])
        names += ["label"] * (self.classes is not None)
        return [tensors[name] for name in names]

    def _judge(
        self, size: int, discriminator: keras.Model, images: Any, tensors: Tensors, training: bool
    ) -> Any:
        given = [images, *self._condition(size, tensors)]
        return discriminator(given if len(given) > 1 else given[0], training=training)

    def _discriminator_loss(
        self, size: int, discriminator: keras.Model, tensors: Tensors, training: bool
    ) -> tuple[Any, Values]:
        loss = losses.adversarial(self.loss_name)
        fake = ops.stop_gradient(tensors[f"fake{size}"])
        on_real = self._judge(size, discriminator, tensors[f"real{size}"], tensors, training)
        on_fake = self._judge(size, discriminator, fake, tensors, training)
        scores = {
            f"d{size}_real": losses.per_example(loss.score(on_real)),
            f"d{size}_fake": losses.per_example(loss.score(on_fake)),
        }
        return self.d_weight * loss.discriminator(on_real, on_fake), scores

    def _generator_loss(
        self, size: int, discriminator: keras.Model, tensors: Tensors, training: bool
    ) -> tuple[Any, Values]:
        loss = losses.adversarial(self.loss_name)
        fake = tensors[f"fake{size}"]
        return loss.generator(self._judge(size, discriminator, fake, tensors, training)), {}

    # Optimizers.

    def _optimizers(self, given: Any) -> dict[str, keras.optimizers.Optimizer]:
        names = [player.name for player in self.players()]
        if isinstance(given, Mapping) and "class_name" not in given:
            missing, unknown = set(names) - set(given), set(given) - set(names)
            if missing or unknown:
                raise ArgumentError(
                    f"optimizer must have one for each of {', '.join(names)}, got "
                    f"{', '.join(map(str, given)) or 'none'}"
                )
            return {name: compiled_optimizer(self, given[name]) for name in names}
        if given is None:
            given = authors_optimizer
        if callable(given) and not isinstance(given, keras.optimizers.Optimizer | type):
            return {name: compiled_optimizer(self, given(name)) for name in names}
        # The settings and not the object, which can serve one network only.
        config = keras.optimizers.serialize(compiled_optimizer(self, given))
        return {name: compiled_optimizer(self, _copy_of(config)) for name in names}

    # Saving.

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LAPGAN":
        """The inverse of `get_config`."""
        restored = keras.saving.deserialize_keras_object(config["discriminators"])
        return super().from_config(config | {"discriminators": restored})

    def get_config(self) -> dict[str, Any]:
        """The networks, the classes and the latent, for `keras.saving`."""
        discriminators = [keras.saving.serialize_keras_object(d) for d in self.discriminators]
        return serialized({"generator": self.generator}) | {
            "discriminators": discriminators,
            "classes": self.classes,
            "latent": self.latent,
            "name": self.name,
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """The inverse of `get_compile_config`."""
        restored = {
            name: keras.saving.deserialize_keras_object(value)
            for name, value in config["optimizer"].items()
        }
        super().compile_from_config(config | {"optimizer": restored})

    def get_compile_config(self) -> dict[str, Any]:
        """How it was compiled, for `keras.saving`."""
        return {
            "optimizer": serialized(dict(self.player_optimizers)),
            "loss": self.loss_name,
            "d_weight": self.d_weight,
            "update": self.update,
            "steps_per_execution": self.steps_per_execution,
        }


def authors_optimizer(player: str = "") -> keras.optimizers.Optimizer:
    """LAPGAN's gradient descent, with its learning rate and momentum moved at every update.

    Source: Denton et al. 2015, section 3.3: learning rate 0.02, divided by 1 + 4e-5 an epoch,
    momentum 0.5 to 0.8 in steps of 0.0008 an epoch. An epoch is 704 updates, as in their code.

    Args:
        player: The player that it is for; all have the same.

    Example:
        >>> round(float(authors_optimizer().learning_rate), 6)
        0.02
    """
    return optimizers.ScheduledSGD(
        optimizers.FlooredDecay(0.02, 1.00004 ** (1 / UPDATES_PER_EPOCH), 1e-6),
        optimizers.LinearRamp(0.5, 0.8, round(0.3 / 0.0008) * UPDATES_PER_EPOCH),
    )


def _copy_of(config: dict[str, Any]) -> keras.optimizers.Optimizer:
    return keras.optimizers.deserialize(config)


def _resize(images: Any, size: int, new: int) -> Any:
    """Square images of another size: bilinear, with the wider kernel where they shrink."""
    weights = ops.convert_to_tensor(_weights(size, new))
    # As products with a matrix: alike on all backends, and XLA has no antialiased resize.
    rows = ops.einsum("nh,bhwc->bnwc", weights, images)
    return ops.einsum("nw,bhwc->bhnc", weights, rows)


def _weights(size: int, new: int) -> np.ndarray:
    """The weights of the old pixels in each new one, `(new, size)`: triangles about its centre."""
    scale = size / new
    centres = (np.arange(new)[:, None] + 0.5) * scale - 0.5
    distances = np.abs(centres - np.arange(size)[None, :]) / max(scale, 1.0)
    weights = np.maximum(0.0, 1.0 - distances)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def _sizes(generator: keras.Model) -> tuple[int, ...]:
    found = [re.fullmatch(r"level(\d+)", layer.name) for layer in generator.layers]
    sizes = tuple(sorted(int(match[1]) for match in found if match))
    if len(sizes) < 2:
        raise ArgumentError(
            f"LAPGAN needs a generator with at least two levels, layers named level8, level16, "
            f"...; {generator.name} has {len(sizes)}"
        )
    return sizes


def _in_order(
    discriminators: Mapping[int, keras.Model] | Sequence[keras.Model], sizes: tuple[int, ...]
) -> list[keras.Model]:
    if not isinstance(discriminators, Mapping):
        discriminators = dict(enumerate(discriminators))
        if len(discriminators) == len(sizes):
            discriminators = dict(zip(sizes, discriminators.values(), strict=True))
    elif set(discriminators) == set(map(str, sizes)):
        discriminators = {int(size): each for size, each in discriminators.items()}
    if set(discriminators) != set(sizes):
        raise ArgumentError(
            f"LAPGAN needs a discriminator for each of the sizes {', '.join(map(str, sizes))}, "
            f"got {', '.join(map(str, discriminators)) or 'none'}"
        )
    return [discriminators[size] for size in sizes]


def _check_networks(
    generator: keras.Model,
    sizes: tuple[int, ...],
    discriminators: list[keras.Model],
    classes: int | None,
) -> None:
    label = [] if classes is None else [()]
    latent = 0
    for size, discriminator in zip(sizes, discriminators, strict=True):
        level = generator.get_layer(f"level{size}")
        made = tuple(level.output_shape[1:])
        if made[:2] != (size, size):
            raise ArgumentError(f"level{size} must make {size}x{size} images, it makes {made}")
        coarse = [made] if size != sizes[0] else []
        latent += int(np.prod(level.inputs[0].shape[1:]))
        noise = tuple(level.inputs[0].shape[1:])
        for network, wanted in (
            (level, [noise, *coarse, *label]),
            (discriminator, [made, *coarse, *label]),
        ):
            taken = [tuple(tensor.shape[1:]) for tensor in network.inputs]
            if taken != wanted:
                raise ArgumentError(
                    f"with classes={classes} the network {network.name} at size {size} must take "
                    f"{' and '.join(map(str, wanted))}, it takes {' and '.join(map(str, taken))}"
                )
    taken = [tuple(tensor.shape[1:]) for tensor in generator.inputs]
    if taken != [(latent,), *label]:
        raise ArgumentError(
            f"with classes={classes} {generator.name} must take "
            f"{' and '.join(map(str, [(latent,), *label]))}: what its levels take, flat and in "
            f"order; it takes {' and '.join(map(str, taken))}"
        )
