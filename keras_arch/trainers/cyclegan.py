"""Translation between two kinds of image without pairs (CycleGAN) as a trainer."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_arch import losses
from keras_arch.errors import ArgumentError
from keras_arch.trainers.adversarial import (
    AdversarialTrainer,
    Noise,
    Player,
    Tensors,
    Values,
    compiled_optimizer,
    serialized,
)
from keras_arch.trainers.image_pool import ImagePool
from keras_arch.trainers.pix2pix import translate

LOSSES = ("lsgan", "non_saturating", "minimax", "hinge")


@keras.saving.register_keras_serializable("keras_arch")
class CycleGAN(AdversarialTrainer):
    """Trains two generators, from one kind of image to another and back, in `model.fit`.

    Source: Zhu et al. 2017, "Unpaired Image-to-Image Translation using Cycle-Consistent
    Adversarial Networks", sections 3, 4 and 7.1. A batch is `(image, other)`, two kinds of image
    that have nothing to do with each other. As in the authors' code both generators share one
    optimizer and both discriminators another, and the generators move first.

    Args:
        generator: From `image` to `other`.
        generator_back: From `other` to `image`.
        discriminator: Judges what `generator` makes: from `other` to a map of logits, positive
            for real.
        discriminator_back: Judges what `generator_back` makes: from `image` to a map of logits.
        pool_size: Earlier generated images of each kind that the discriminators are shown in
            place of every other new one; 0 shows them the new ones. Default 50, the paper's.
        seed: Seed of the trainer's own random numbers, or `None` to draw one.
        name: Name of the trainer.

    Raises:
        ArgumentError: If the networks do not fit each other.

    Example:
        >>> from keras_arch import models, trainers
        >>> shape = (16, 16, 3)
        >>> cyclegan = trainers.CycleGAN(
        ...     *(models.CycleGANGenerator(1, image_shape=shape, filters=2) for _ in range(2)),
        ...     *(
        ...         models.PatchDiscriminator(1, input_shape=shape, target_channels=None, filters=2)
        ...         for _ in range(2)
        ...     ),
        ... )
        >>> cyclegan.compile()
        >>> cyclegan.translate(np.zeros((2, 16, 16, 3), "float32"), backward=True).shape
        (2, 16, 16, 3)
    """

    PARTS = ("image", "other")

    def __init__(
        self,
        generator: keras.Model,
        generator_back: keras.Model,
        discriminator: keras.Model,
        discriminator_back: keras.Model,
        pool_size: int = 50,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        logged = ("g_loss", "g_gan", "g_gan_back", "g_cycle", "g_identity")
        super().__init__((*logged, "d_loss", "d_real", "d_fake"), seed, name or "cyclegan")
        if not isinstance(pool_size, int) or pool_size < 0:
            raise ArgumentError(f"pool_size must be a whole number from 0, got {pool_size!r}")
        _check_networks(generator, generator_back, discriminator, discriminator_back)
        made = (*_made(generator), *_made(generator_back))
        if pool_size and None in made:
            raise ArgumentError(
                f"a pool of {pool_size} images needs generators of a fixed image size, not "
                f"{_made(generator)} and {_made(generator_back)}; build them so, or give "
                "pool_size=0"
            )
        self.generator = generator
        self.generator_back = generator_back
        self.discriminator = discriminator
        self.discriminator_back = discriminator_back
        self.pool_size = pool_size
        # One of each kind of image that is generated.
        self.other_pool = ImagePool(self, pool_size, _made(generator), "other_pool")
        self.image_pool = ImagePool(self, pool_size, _made(generator_back), "image_pool")
        self.g_optimizer = None
        self.d_optimizer = None
        self.loss_name = "lsgan"
        self.cycle_weight = 10.0
        self.identity_weight = 0.5
        self.d_weight = 0.5
        self.built = True

    def compile(
        self,
        g_optimizer: keras.optimizers.Optimizer | str | None = None,
        d_optimizer: keras.optimizers.Optimizer | str | None = None,
        loss: str = "lsgan",
        cycle_weight: float = 10.0,
        identity_weight: float = 0.5,
        d_weight: float = 0.5,
        jit_compile: bool | str = "auto",
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
    ) -> None:
        """Say how the four are trained.

        Args:
            g_optimizer: The generators' optimizer. Default Adam(2e-4, beta_1=0.5), the paper's.
            d_optimizer: The discriminators' optimizer, another object. Default the same.
            loss: The adversarial term: `"lsgan"` (the paper's, with squares that are not halved),
                `"non_saturating"`, `"minimax"` or `"hinge"`.
            cycle_weight: Lambda of the cycle terms. Default 10.
            identity_weight: Weight of the identity terms, relative to `cycle_weight`: a generator
                that is given what it is to make should change nothing. Default one half (section
                5.2); 0 leaves them out, and saves their two forwards.
            d_weight: Factor on the discriminators' losses. Default one half (section 7.1).
            jit_compile: Compile with XLA; `"auto"` does so where it is faster (on a GPU).
            run_eagerly: Run step by step in Python, for debugging.
            steps_per_execution: Steps in one call of the compiled function.

        Raises:
            ArgumentError: If an argument is not one of the above, or identity terms are asked for
                between images of different shapes.
        """
        if loss not in LOSSES:
            raise ArgumentError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}")
        for name, value in (("cycle_weight", cycle_weight), ("d_weight", d_weight)):
            if not value > 0:
                raise ArgumentError(f"{name} must be positive, got {value!r}")
        if not identity_weight >= 0:
            raise ArgumentError(f"identity_weight must not be negative, got {identity_weight!r}")
        image, other = _made(self.generator_back), _made(self.generator)
        if identity_weight and image != other:
            raise ArgumentError(
                f"identity_weight must be 0 between images of shapes {image} and {other}: no "
                f"generator can leave such images as they are; got {identity_weight!r}"
            )
        optimizers = [compiled_optimizer(self, given) for given in (g_optimizer, d_optimizer)]
        if optimizers[0] is optimizers[1]:
            raise ArgumentError(
                "g_optimizer and d_optimizer must be two objects: each keeps the moments of its "
                "own networks"
            )
        self.g_optimizer, self.d_optimizer = optimizers
        self.loss_name, self.d_weight = loss, float(d_weight)
        self.cycle_weight, self.identity_weight = float(cycle_weight), float(identity_weight)
        self.compile_players(
            update="alternating",
            jit_compile=jit_compile,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
        )

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The running means that `fit` and `evaluate` report."""
        unused = () if self.identity_weight else ("g_identity",)
        return [tracker for tracker in self.trackers if tracker.name not in unused]

    def call(self, image: Any, training: bool = False) -> Any:
        """Translated images: the generator's forward."""
        return self.generator(image, training=training)

    def translate(self, images: Any, batch_size: int = 1, backward: bool = False) -> np.ndarray:
        """Translate images.

        Args:
            images: `(count, height, width, channels)` in the range of the training data.
            batch_size: Images in one forward.
            backward: From `other` to `image` instead of from `image` to `other`.

        Returns:
            A `float32` array `(count, height, width, channels)` in the generator's range.
        """
        network = self.generator_back if backward else self.generator
        return translate(self.ema_network(network), images, batch_size)

    # The game.

    def players(self) -> tuple[Player, ...]:
        """The generators, then the discriminators."""
        return (
            Player(
                "g",
                (self.generator, self.generator_back),
                self.g_optimizer,
                self._generators_loss,
            ),
            Player(
                "d",
                (self.discriminator, self.discriminator_back),
                self.d_optimizer,
                self._discriminators_loss,
            ),
        )

    def noise(self) -> dict[str, Noise]:
        """What the pools choose by."""
        if not self.pool_size:
            return {}
        return {
            "other_numbers": Noise((2,), "uniform01"),
            "image_numbers": Noise((2,), "uniform01"),
        }

    def shared_forward(self, tensors: Tensors, training: bool) -> Tensors:
        """Both kinds translated, translated back and, for the identity terms, left alone."""
        # Not `training=False`, which would overrule what a generator keeps at inference.
        mode = training or None

        def forth(images: Any) -> Any:
            return self.generator(images, training=mode)

        def back(images: Any) -> Any:
            return self.generator_back(images, training=mode)

        image, other = tensors["image"], tensors["other"]
        made = {"fake_other": forth(image), "fake_image": back(other)}
        made["cycled_image"] = back(made["fake_other"])
        made["cycled_other"] = forth(made["fake_image"])
        if self.identity_weight:
            made |= {"same_image": back(image), "same_other": forth(other)}
        return made

    def input_spec(self) -> dict[str, tuple[int | None, ...]]:
        """Both kinds of image."""
        return {"image": _made(self.generator_back), "other": _made(self.generator)}

    def output_networks(self) -> dict[str, keras.Model]:
        """Each generator makes images like those of the other kind."""
        return {"image": self.generator_back, "other": self.generator}

    def _generators_loss(self, tensors: Tensors, training: bool) -> tuple[Any, Values]:
        def deceives(discriminator: keras.Model, fake: str) -> Any:
            loss = losses.adversarial(self.loss_name)
            on_fake = discriminator(tensors[fake], training=training)
            return self._whole_squares() * loss.generator(on_fake)

        def distance(made: str, real: str) -> Any:
            difference = ops.cast(tensors[made], "float32") - ops.cast(tensors[real], "float32")
            return losses.per_example(ops.abs(difference))

        values = {
            "g_gan": deceives(self.discriminator, "fake_other"),
            "g_gan_back": deceives(self.discriminator_back, "fake_image"),
            "g_cycle": distance("cycled_image", "image") + distance("cycled_other", "other"),
        }
        total = values["g_gan"] + values["g_gan_back"] + self.cycle_weight * values["g_cycle"]
        if self.identity_weight:
            values["g_identity"] = distance("same_image", "image") + distance("same_other", "other")
            total = total + self.cycle_weight * self.identity_weight * values["g_identity"]
        return total, values

    def _discriminators_loss(self, tensors: Tensors, training: bool) -> tuple[Any, Values]:
        loss = losses.adversarial(self.loss_name)
        shown = self._pooled(tensors) if training and self.pool_size else tensors
        value, on_real, on_fake = 0.0, [], []
        for discriminator, kind in (
            (self.discriminator, "other"),
            (self.discriminator_back, "image"),
        ):
            real = discriminator(tensors[kind], training=training)
            fake = discriminator(ops.stop_gradient(shown[f"fake_{kind}"]), training=training)
            value = value + loss.discriminator(real, fake)
            on_real.append(losses.per_example(loss.score(real)))
            on_fake.append(losses.per_example(loss.score(fake)))
        scores = {"d_real": sum(on_real) / 2, "d_fake": sum(on_fake) / 2}
        return self.d_weight * self._whole_squares() * value, scores

    def _pooled(self, tensors: Tensors) -> Tensors:
        """What the pools show in place of the generated images.

        They are the pools of the global batch: every replica asks for all images of it, so that
        all come to the same pools, and takes its own part of the answer.
        """
        names = ("fake_other", "fake_image", "other_numbers", "image_numbers")
        asked = {name: ops.cast(ops.stop_gradient(tensors[name]), "float32") for name in names}
        joined, own = self.engine.exchange(asked)
        return {
            "fake_other": own(self.other_pool.query(joined["fake_other"], joined["other_numbers"])),
            "fake_image": own(self.image_pool.query(joined["fake_image"], joined["image_numbers"])),
        }

    def _whole_squares(self) -> float:
        # The paper's least squares are not halved, which counts beside the cycle terms.
        return 2.0 if self.loss_name == "lsgan" else 1.0

    # Saving.

    def get_config(self) -> dict[str, Any]:
        """The networks and the pools' size, for `keras.saving`."""
        networks = {
            "generator": self.generator,
            "generator_back": self.generator_back,
            "discriminator": self.discriminator,
            "discriminator_back": self.discriminator_back,
        }
        return serialized(networks) | {"pool_size": self.pool_size, "name": self.name}

    def get_compile_config(self) -> dict[str, Any]:
        """How it was compiled, for `keras.saving`."""
        optimizers = {"g_optimizer": self.g_optimizer, "d_optimizer": self.d_optimizer}
        return serialized(optimizers) | {
            "loss": self.loss_name,
            "cycle_weight": self.cycle_weight,
            "identity_weight": self.identity_weight,
            "d_weight": self.d_weight,
            "steps_per_execution": self.steps_per_execution,
        }


def _made(generator: keras.Model) -> tuple[int | None, ...]:
    """The shape of one image that a generator makes."""
    return tuple(generator.output_shape[1:])


def _check_networks(
    generator: keras.Model,
    generator_back: keras.Model,
    discriminator: keras.Model,
    discriminator_back: keras.Model,
) -> None:
    networks = (generator, generator_back, discriminator, discriminator_back)
    names = ("generator", "generator_back", "discriminator", "discriminator_back")
    if len({id(network) for network in networks}) < 4:
        raise ArgumentError(
            "CycleGAN needs four networks, one of those given stands in two places; build each "
            "by its own call"
        )
    image, other = _made(generator_back), _made(generator)
    for name, network, shape in zip(names, networks, (image, other, other, image), strict=True):
        taken = [tuple(tensor.shape[1:]) for tensor in network.inputs]
        if taken != [shape]:
            raise ArgumentError(
                f"{name} must take one image of shape {shape}, {network.name} takes "
                f"{' and '.join(map(str, taken))}"
            )
