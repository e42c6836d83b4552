"""Trainer of the Laplacian pyramid of adversarial networks, LAPGAN (Denton et al. 2015)."""

import functools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import keras
import numpy as np
from keras import ops

from keras_arch import optimizers
from keras_arch.errors import ArgumentError, whole_number
from keras_arch.trainers.adversarial import AdversarialTrainer
from keras_arch.trainers.checks import check_input_shapes, check_positive, example_shape
from keras_arch.trainers.latent_sampling import LatentSampling
from keras_arch.trainers.players import CompileOptions, Loss, Noise, Player, Tensors, Values

# Updates an epoch of the authors' code: 45,000 images, 64 of them in each batch of 128.
UPDATES_PER_EPOCH = 704


@keras.saving.register_keras_serializable("keras_arch")
class LAPGAN(LatentSampling, AdversarialTrainer):
    """Trainer of a generator and a discriminator for each level of a Laplacian pyramid.

    Source: Denton et al. 2015, "Deep Generative Image Models using a Laplacian Pyramid of
    Adversarial Networks", sections 2.3 and 3. The lowest level generates small images, each other
    one the residual between the enlarged image of the level below and its own. In training a level
    gets the small image of a real one, so that the levels are independent of each other.

    Args:
        generator: From a flat latent, or a latent and a label, to images. Its levels are its
            layers `level8`, `level16`, ...: the first from its part of the latent, the others
            from a noise plane and the enlarged image of the level below, each with the label
            where there is one. See `models.LAPGANGenerator`.
        discriminators: One a level, by its size (`{8: ..., 16: ..., 32: ...}`) or in order: the
            first of images, the others of a residual and the enlarged image that it belongs to,
            each with the label where there is one; positive says real.
        classes: Number of classes of networks that take labels, or `None`.
        latent: Distribution of the latent, as for `GAN`. Default `"uniform"`, the authors'.
        seed: Seed of the latents drawn in training, or `None` to draw one.
        levels: Sizes of the levels to train; the others stay as they are. No level needs another
            one to be trained, so each can have its own number of updates. Default: all.
        name: Name of the trainer.

    Raises:
        ArgumentError: If the networks do not fit each other, `latent` is none of these, or a size
            of `levels` is not a level's.

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

    COMPILE_KEYS = ("d_weight",)

    def __init__(
        self,
        generator: keras.Model,
        discriminators: Mapping[int, keras.Model] | Sequence[keras.Model],
        classes: int | None = None,
        latent: str = "uniform",
        seed: int | None = None,
        levels: Sequence[int] | None = None,
        name: str | None = None,
    ) -> None:
        if classes is not None:
            classes = whole_number("classes", classes)
        sizes = _sizes(generator)
        discriminators = _in_order(discriminators, sizes)
        _check_networks(generator, sizes, discriminators, classes)
        super().__init__(seed, name or "lapgan")
        self.generator, self.discriminators = generator, discriminators
        self.sizes, self.classes = sizes, classes
        self.levels = sizes if levels is None else _checked_levels(levels, sizes)
        self.latent = Noise(tuple(generator.inputs[0].shape[1:]), latent).distribution
        self.d_weight = 0.5

    def compile(
        self,
        optimizer: Any = None,
        loss: Loss = "non_saturating",
        d_weight: float = 0.5,
        **options: Unpack[CompileOptions],
    ) -> None:
        """Set how the players `d8`, `g8`, `d16`, ... are trained.

        Args:
            optimizer: As for `AdversarialTrainer.compile`. Default the paper's gradient descent,
                `lapgan.authors_optimizer`.
            loss: The adversarial loss; see `AdversarialTrainer.compile`. Default the paper's.
            d_weight: Factor on the discriminators' losses, a gradient penalty included. Default
                one half: the authors take the mean over real and generated images where others
                take the sum.
            **options: Further arguments of `AdversarialTrainer.compile`.

        Raises:
            ArgumentError: If an argument is not one of the above.
        """
        check_positive(d_weight=d_weight)
        self.d_weight = float(d_weight)
        super().compile(authors_optimizer if optimizer is None else optimizer, loss, **options)

    def pyramid(self, images: Any) -> Tensors:
        """The Laplacian pyramid of images.

        Args:
            images: `(batch, height, width, channels)` of the highest level's size.

        Returns:
            For each level of a size N but the lowest: `coarseN`, the enlarged images of the level
            below, and `realN`, the residual between them and the level's images; for the lowest
            `realN`, its images. Resizing is bilinear, with antialiasing where images shrink.
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
        """The discriminator and generator of each level to train, from the lowest level up."""
        players = []
        for size, network in zip(self.sizes, self.discriminators, strict=True):
            if size not in self.levels:
                continue
            level = self.generator.get_layer(f"level{size}")
            d_loss = functools.partial(self._discriminator_loss, size, network)
            g_loss = functools.partial(self._generator_loss, size, network)
            scores = (f"d{size}_real", f"d{size}_fake")
            players.append(Player(f"d{size}", (network,), d_loss, logged=scores))
            players.append(Player(f"g{size}", (level,), g_loss))
        return tuple(players)

    def noise(self) -> dict[str, Noise]:
        """The latent of all levels, and the numbers of gradient penalties."""
        noise = {"latent": Noise(tuple(self.generator.inputs[0].shape[1:]), self.latent)}
        for size in self.levels:
            noise |= self.penalty_noise(3, f"mix{size}")
        return noise

    def shared_forward(self, tensors: Tensors, training: bool) -> Tensors:
        """The pyramid of the real images, and the trained levels' outputs for the ones below."""
        outputs = self.pyramid(tensors["image"])
        first = 0
        for size in self.sizes:
            level = self.generator.get_layer(f"level{size}")
            shape = example_shape(level.inputs[0])
            end = first + math.prod(shape)
            numbers = ops.reshape(tensors["latent"][:, first:end], (-1, *shape))
            first = end
            if size in self.levels:
                inputs = self._inputs(size, numbers, tensors | outputs)
                outputs[f"fake{size}"] = level(inputs, training=training)
        return outputs

    def input_spec(self) -> dict[str, tuple[int | None, ...]]:
        """Images of the generator's shape, each with its label where there are classes."""
        labels = {} if self.classes is None else {"label": ()}
        return {"image": tuple(self.generator.output_shape[1:])} | labels

    def _inputs(self, size: int, first: Any, tensors: Tensors) -> Any:
        """The inputs of a level's network: its first one, the image below and the label."""
        names = [f"coarse{size}"] * (size != self.sizes[0])
        names += ["label"] * (self.classes is not None)
        return [first, *(tensors[name] for name in names)] if names else first

    def _discriminator_loss(
        self, size: int, network: keras.Model, tensors: Tensors, training: bool
    ) -> tuple[Any, Values]:
        loss, scores = self.discriminator_loss(
            lambda images: network(self._inputs(size, images, tensors), training=training),
            tensors[f"real{size}"],
            tensors[f"fake{size}"],
            tensors,
            prefix=f"d{size}",
            mix=f"mix{size}",
        )
        return self.d_weight * loss, scores

    def _generator_loss(
        self, size: int, network: keras.Model, tensors: Tensors, training: bool
    ) -> tuple[Any, Values]:
        inputs = self._inputs(size, tensors[f"fake{size}"], tensors)
        return self.adversarial_loss.for_generator(network(inputs, training=training)), {}

    # Saving.

    def get_config(self) -> dict[str, Any]:
        """The networks, the classes and the latent, for `keras.saving`."""
        names = ("generator", "discriminators", "classes", "latent", "levels", "name")
        return keras.saving.serialize_keras_object({name: getattr(self, name) for name in names})


def authors_optimizer(player: str = "") -> keras.optimizers.Optimizer:
    """LAPGAN's gradient descent for any player, whose settings move at every update.

    Source: Denton et al. 2015, section 3.3: learning rate 0.02, divided by 1 + 4e-5 an epoch,
    momentum 0.5 to 0.8 in steps of 0.0008 an epoch. An epoch is 704 updates, as in their code.

    Example:
        >>> round(float(authors_optimizer().learning_rate), 6)
        0.02
    """
    return optimizers.ScheduledSGD(
        optimizers.FlooredDecay(0.02, 1.00004 ** (1 / UPDATES_PER_EPOCH), 1e-6),
        optimizers.LinearRamp(0.5, 0.8, round(0.3 / 0.0008) * UPDATES_PER_EPOCH),
    )


def _resize(images: Any, size: int, new: int) -> Any:
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


def _checked_levels(levels: Sequence[int], sizes: tuple[int, ...]) -> tuple[int, ...]:
    chosen = {whole_number("levels", size) for size in levels}
    if not chosen or not chosen <= set(sizes):
        raise ArgumentError(
            f"levels must be some of the sizes {', '.join(map(str, sizes))}, got {levels!r}"
        )
    return tuple(size for size in sizes if size in chosen)


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
        output = tuple(level.output_shape[1:])
        if output[:2] != (size, size):
            raise ArgumentError(f"level{size} must give {size}x{size} images, it gives {output}")
        coarse = [output] if size != sizes[0] else []
        noise = example_shape(level.inputs[0])
        latent += math.prod(noise)
        title = f"with classes={classes} the %s at size {size}"
        check_input_shapes(title % "level", level, [noise, *coarse, *label])
        check_input_shapes(title % "discriminator", discriminator, [output, *coarse, *label])
    title = f"with classes={classes} the generator (the flat inputs of its levels, in order)"
    check_input_shapes(title, generator, [(latent,), *label])
