"""Trainer of CycleGAN: translation between two kinds of image without pairs (Zhu et al. 2017)."""

import functools
from typing import Any, Unpack

import keras
import numpy as np
from keras import ops

from keras_arch import losses
from keras_arch.errors import ArgumentError, whole_number
from keras_arch.trainers.checks import check_input_shapes, check_positive, output_shape
from keras_arch.trainers.generator_discriminator import GeneratorDiscriminatorTrainer
from keras_arch.trainers.image_pool import ImagePool
from keras_arch.trainers.pix2pix import translate
from keras_arch.trainers.players import CompileOptions, Loss, Noise, Player, Tensors, Values

NETWORKS = ("generator", "generator_back", "discriminator", "discriminator_back")


@keras.saving.register_keras_serializable("keras_arch")
class CycleGAN(GeneratorDiscriminatorTrainer):
    """Trainer of two generators, from one kind of image to another and back.

    Source: Zhu et al. 2017, "Unpaired Image-to-Image Translation using Cycle-Consistent
    Adversarial Networks", sections 3, 4 and 7.1. A batch is `(image, other)`, two kinds of image
    that have nothing to do with each other. As in the authors' code both generators share one
    optimizer and both discriminators another, and the generators move first.

    Args:
        generator: From `image` to `other`.
        generator_back: From `other` to `image`.
        discriminator: Of `other`: from real ones and those of `generator` to a map of logits,
            positive for real.
        discriminator_back: Of `image`, likewise.
        pool_size: Earlier generated images of each kind that the discriminators get in place of
            every other new one; 0 gives them the new ones. Default 50, the paper's.
        seed: Seed of the trainer's own random numbers, or `None` to draw one.
        name: Name of the trainer.

    Raises:
        ArgumentError: If the networks do not fit each other.

    Example:
        >>> from keras_arch import models, trainers
        >>> shape = (16, 16, 3)
        >>> discriminator = dict(input_shape=shape, target_channels=None, filters=2)
        >>> cyclegan = trainers.CycleGAN(
        ...     *(models.CycleGANGenerator(1, image_shape=shape, filters=2) for _ in range(2)),
        ...     *(models.PatchDiscriminator(1, **discriminator) for _ in range(2)),
        ... )
        >>> cyclegan.compile()
        >>> cyclegan.translate(np.zeros((2, 16, 16, 3), "float32"), backward=True).shape
        (2, 16, 16, 3)
    """

    BATCH_KEYS = ("image", "other")
    COMPILE_KEYS = ("cycle_weight", "identity_weight", "d_weight")

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
        super().__init__(seed, name or "cyclegan")
        pool_size = whole_number("pool_size", pool_size, least=0)
        networks = (generator, generator_back, discriminator, discriminator_back)
        _check_networks(dict(zip(NETWORKS, networks, strict=True)))
        other, image = output_shape(generator), output_shape(generator_back)
        if pool_size and None in (*other, *image):
            raise ArgumentError(
                f"a pool of {pool_size} images needs generators of a fixed image size, not "
                f"{other} and {image}; build them so, or give pool_size=0"
            )
        self.generator, self.generator_back = generator, generator_back
        self.discriminator, self.discriminator_back = discriminator, discriminator_back
        self.pool_size = pool_size
        # One of each kind of image that is generated.
        self.other_pool = ImagePool(self, pool_size, other, "other_pool")
        self.image_pool = ImagePool(self, pool_size, image, "image_pool")
        self.cycle_weight = 10.0
        self.identity_weight = 0.5
        self.d_weight = 0.5

    def compile(
        self,
        g_optimizer: keras.optimizers.Optimizer | str | None = None,
        d_optimizer: keras.optimizers.Optimizer | str | None = None,
        loss: Loss = "lsgan",
        cycle_weight: float = 10.0,
        identity_weight: float = 0.5,
        d_weight: float = 0.5,
        **options: Unpack[CompileOptions],
    ) -> None:
        """Set how the four networks are trained.

        Args:
            g_optimizer: As for `GAN.compile`, for both generators; the default is the paper's.
            d_optimizer: As for `GAN.compile`, for both discriminators.
            loss: The adversarial term; see `AdversarialTrainer.compile`. Default the paper's
                `"lsgan"`, with squares that are not halved.
            cycle_weight: Lambda of the cycle terms. Default 10.
            identity_weight: Weight of the identity terms, relative to `cycle_weight`: a generator
                should leave images of its output's kind as they are. Default one half (section
                5.2); 0 leaves the terms out, and saves their two forwards.
            d_weight: Factor on the discriminators' losses, a gradient penalty included. Default
                one half (section 7.1).
            **options: Further arguments of `AdversarialTrainer.compile`.

        Raises:
            ArgumentError: If an argument is not one of the above, or identity terms are asked for
                between images of different shapes.
        """
        check_positive(cycle_weight=cycle_weight, d_weight=d_weight)
        if not identity_weight >= 0:
            raise ArgumentError(f"identity_weight must not be negative, got {identity_weight!r}")
        image, other = self.input_spec().values()
        if identity_weight and image != other:
            raise ArgumentError(
                f"identity_weight must be 0 between images of shapes {image} and {other}: no "
                f"generator can leave such images as they are; got {identity_weight!r}"
            )
        self.d_weight = float(d_weight)
        self.cycle_weight, self.identity_weight = float(cycle_weight), float(identity_weight)
        super().compile(g_optimizer, d_optimizer, loss, **options)

    def call(self, image: Any, training: bool = False) -> Any:
        """Translated images: the generator's forward."""
        return self.generator(image, training=training)

    def translate(self, images: Any, batch_size: int = 1, backward: bool = False) -> np.ndarray:
        """Translate images by a generator; arguments and result as of `trainers.translate`.

        Args:
            images: Images in the range of the training data.
            batch_size: Images in one forward.
            backward: From `other` to `image` instead of from `image` to `other`.
        """
        network = self.generator_back if backward else self.generator
        return translate(self.ema_network(network), images, batch_size)

    # The game.

    def players(self) -> tuple[Player, ...]:
        """The generators, then the discriminators."""
        logged = ("g_gan", "g_gan_back", "g_cycle")
        logged += ("g_identity",) if self.identity_weight else ()
        generators = (self.generator, self.generator_back)
        discriminators = (self.discriminator, self.discriminator_back)
        return (
            Player("g", generators, self._generators_loss, logged=logged),
            Player("d", discriminators, self._discriminators_loss, logged=("d_real", "d_fake")),
        )

    def noise(self) -> dict[str, Noise]:
        """The random numbers of the pools and of a gradient penalty."""
        noise = {}
        if self.pool_size:
            noise = {f"{kind}_numbers": Noise((2,), "uniform01") for kind in ("other", "image")}
        for kind, shape in self.input_spec().items():
            noise |= self.penalty_noise(len(shape), f"{kind}_mix")
        return noise

    def shared_forward(self, tensors: Tensors, training: bool) -> Tensors:
        """Both kinds translated, translated back and, for the identity terms, reproduced."""
        # Not `training=False`, which would overrule layers in training mode at inference.
        mode = training or None

        def forth(images: Any) -> Any:
            return self.generator(images, training=mode)

        def back(images: Any) -> Any:
            return self.generator_back(images, training=mode)

        image, other = tensors["image"], tensors["other"]
        outputs = {"fake_other": forth(image), "fake_image": back(other)}
        outputs["cycled_image"] = back(outputs["fake_other"])
        outputs["cycled_other"] = forth(outputs["fake_image"])
        if self.identity_weight:
            outputs |= {"same_image": back(image), "same_other": forth(other)}
        return outputs

    def input_spec(self) -> dict[str, tuple[int | None, ...]]:
        """Both kinds of image."""
        return {"image": output_shape(self.generator_back), "other": output_shape(self.generator)}

    def output_networks(self) -> dict[str, keras.Model]:
        """Each generator, whose images are like those of the other's input."""
        return {"image": self.generator_back, "other": self.generator}

    def _generators_loss(self, tensors: Tensors, training: bool) -> tuple[Any, Values]:
        def adversarial(discriminator: keras.Model, fake: str) -> Any:
            on_fake = discriminator(tensors[fake], training=training)
            return self._loss_factor() * self.adversarial_loss.for_generator(on_fake)

        def distance(output: str, real: str) -> Any:
            difference = ops.cast(tensors[output], "float32") - ops.cast(tensors[real], "float32")
            return losses.per_example(ops.abs(difference))

        values = {
            "g_gan": adversarial(self.discriminator, "fake_other"),
            "g_gan_back": adversarial(self.discriminator_back, "fake_image"),
            "g_cycle": distance("cycled_image", "image") + distance("cycled_other", "other"),
        }
        total = values["g_gan"] + values["g_gan_back"] + self.cycle_weight * values["g_cycle"]
        if self.identity_weight:
            values["g_identity"] = distance("same_image", "image") + distance("same_other", "other")
            total = total + self.cycle_weight * self.identity_weight * values["g_identity"]
        return total, values

    def _discriminators_loss(self, tensors: Tensors, training: bool) -> tuple[Any, Values]:
        pooled = self._pooled(tensors) if training and self.pool_size else tensors
        total, scores = 0.0, {}
        sides = {"other": self.discriminator, "image": self.discriminator_back}
        for kind, discriminator in sides.items():
            loss, scores[kind] = self.discriminator_loss(
                functools.partial(discriminator, training=training),
                tensors[kind],
                pooled[f"fake_{kind}"],
                tensors,
                mix=f"{kind}_mix",
                factor=self._loss_factor(),
            )
            total = total + loss
        mean = {
            name: (value + scores["image"][name]) / 2 for name, value in scores["other"].items()
        }
        return self.d_weight * total, mean

    def _pooled(self, tensors: Tensors) -> Tensors:
        # The pools are those of the global batch: every replica queries all images of it, so that
        # all have the same pools, and takes its own part of the result.
        names = ("fake_other", "fake_image", "other_numbers", "image_numbers")
        inputs = {name: ops.cast(ops.stop_gradient(tensors[name]), "float32") for name in names}
        joined, own = self.engine.exchange(inputs)
        return {
            "fake_other": own(self.other_pool.query(joined["fake_other"], joined["other_numbers"])),
            "fake_image": own(self.image_pool.query(joined["fake_image"], joined["image_numbers"])),
        }

    def _loss_factor(self) -> float:
        # The paper's least squares are not halved, which counts beside the cycle terms.
        return 2.0 if self.adversarial_loss.name.partition("+")[0] == "lsgan" else 1.0

    # Saving.

    def get_config(self) -> dict[str, Any]:
        """The networks and the pools' size, for `keras.saving`."""
        names = (*NETWORKS, "pool_size", "name")
        return keras.saving.serialize_keras_object({name: getattr(self, name) for name in names})


def _check_networks(networks: dict[str, keras.Model]) -> None:
    if len({id(network) for network in networks.values()}) < 4:
        raise ArgumentError(
            "CycleGAN needs four networks, one of those given stands in two places; build each "
            "by its own call"
        )
    other, image = (output_shape(networks[name]) for name in NETWORKS[:2])
    for (name, network), shape in zip(networks.items(), (image, other, other, image), strict=True):
        check_input_shapes(name, network, [shape])
