"""Trainer of pix2pix (Isola et al. 2017): its L1 and adversarial losses, and five objectives."""

from typing import Any, Unpack

import keras
import numpy as np
from keras import ops

from keras_arch import losses
from keras_arch.errors import ArgumentError, whole_number
from keras_arch.trainers.checks import (
    check_input_shapes,
    check_positive,
    input_shapes,
    output_shape,
)
from keras_arch.trainers.generator_discriminator import GeneratorDiscriminatorTrainer
from keras_arch.trainers.inference import forward_in_batches
from keras_arch.trainers.players import CompileOptions, Loss, Noise, Player, Tensors, Values

# The five rows of the paper's table 1.
OBJECTIVES = ("l1", "gan", "cgan", "l1+gan", "l1+cgan")


@keras.saving.register_keras_serializable("keras_arch")
class Pix2Pix(GeneratorDiscriminatorTrainer):
    """Trainer of a generator from one kind of image to another, on aligned pairs.

    Source: Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks",
    sections 3.1 and 3.3. A batch is `(image, target)`, where `image` is the generator's input.

    Args:
        generator: From images to images.
        discriminator: A map of logits; positive says real. For the objectives with `cgan` it
            takes `[image, target]`, for those with `gan` the target alone; `None` for `l1`.
        objective: `"l1"`, `"gan"`, `"cgan"`, `"l1+gan"` or `"l1+cgan"`: the rows of the paper's
            table 1. Default the last, which is pix2pix.
        seed: Seed of the trainer's own random numbers, or `None` to draw one.
        name: Name of the trainer.

    Raises:
        ArgumentError: If the networks do not fit each other or the objective.

    Example:
        >>> from keras_arch import models, trainers
        >>> pix2pix = trainers.Pix2Pix(
        ...     models.Pix2PixGenerator("encoder_decoder", filters=2),
        ...     models.PatchDiscriminator(70, filters=2),
        ... )
        >>> pix2pix.compile()
        >>> sorted(pix2pix.translate(np.zeros((1, 256, 256, 3), "float32")).shape)
        [1, 3, 256, 256]
    """

    BATCH_KEYS = ("image", "target")
    COMPILE_KEYS = ("l1_weight", "d_weight")

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model | None = None,
        objective: str = "l1+cgan",
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        if objective not in OBJECTIVES:
            raise ArgumentError(
                f"objective must be one of {', '.join(OBJECTIVES)}, got {objective!r}"
            )
        super().__init__(seed, name or "pix2pix")
        self.generator, self.discriminator = generator, discriminator
        self.objective = objective
        self.adversarial, self.conditional = "gan" in objective, "cgan" in objective
        self.uses_l1 = "l1" in objective
        self._check_networks()
        self.l1_weight = 100.0
        self.d_weight = 0.5

    def compile(
        self,
        g_optimizer: keras.optimizers.Optimizer | str | None = None,
        d_optimizer: keras.optimizers.Optimizer | str | None = None,
        loss: Loss = "non_saturating",
        l1_weight: float = 100.0,
        d_weight: float = 0.5,
        **options: Unpack[CompileOptions],
    ) -> None:
        """Set how generator and discriminator are trained.

        Args:
            g_optimizer: As for `GAN.compile`; the default is the paper's.
            d_optimizer: As for `GAN.compile`. Not used by the objective `l1`.
            loss: The adversarial term; see `AdversarialTrainer.compile`. Default the paper's.
            l1_weight: Lambda of the L1 term. Default 100.
            d_weight: Factor on the discriminator's loss, a gradient penalty included. Default one
                half, which slows the discriminator down (section 3.3).
            **options: Further arguments of `AdversarialTrainer.compile`.

        Raises:
            ArgumentError: If an argument is not one of the above.
        """
        check_positive(l1_weight=l1_weight, d_weight=d_weight)
        self.l1_weight, self.d_weight = float(l1_weight), float(d_weight)
        super().compile(g_optimizer, d_optimizer, loss, **options)

    def call(self, image: Any, training: bool = False) -> Any:
        """Translated images: the generator's forward."""
        return self.generator(image, training=training)

    def translate(self, images: Any, batch_size: int = 1) -> np.ndarray:
        """Translate images by the generator; arguments and result as of `trainers.translate`."""
        return translate(self.ema_network(self.generator), images, batch_size)

    # The game.

    def players(self) -> tuple[Player, ...]:
        """The discriminator, where there is one, then the generator."""
        logged = ("g_gan", "g_l1") if self.adversarial else ("g_l1",)
        generator = Player("g", (self.generator,), self._generator_loss, logged=logged)
        if not self.adversarial:
            return (generator,)
        scores, d_loss = ("d_real", "d_fake"), self._discriminator_loss
        return Player("d", (self.discriminator,), d_loss, logged=scores), generator

    def noise(self) -> dict[str, Noise]:
        """The numbers of a gradient penalty; the generator's noise is its dropout."""
        return self.penalty_noise(len(output_shape(self.generator)))

    def shared_forward(self, tensors: Tensors, training: bool) -> Tensors:
        """Translated images."""
        # Not `training=False`, which would overrule layers in training mode at inference.
        return {"fake": self.generator(tensors["image"], training=training or None)}

    def input_spec(self) -> dict[str, tuple[int | None, ...]]:
        """Inputs and targets."""
        return {
            "image": input_shapes(self.generator)[0],
            "target": output_shape(self.generator),
        }

    def output_networks(self) -> dict[str, keras.Model]:
        """The generator, whose images are like the targets."""
        return {"target": self.generator}

    def _discriminate(self, images: Any, tensors: Tensors, training: bool) -> Any:
        inputs = [tensors["image"], images] if self.conditional else images
        return self.discriminator(inputs, training=training)

    def _discriminator_loss(self, tensors: Tensors, training: bool) -> tuple[Any, Values]:
        loss, scores = self.discriminator_loss(
            lambda images: self._discriminate(images, tensors, training),
            tensors["target"],
            tensors["fake"],
            tensors,
        )
        return self.d_weight * loss, scores

    def _generator_loss(self, tensors: Tensors, training: bool) -> tuple[Any, Values]:
        fake = ops.cast(tensors["fake"], "float32")
        l1 = losses.per_example(ops.abs(fake - ops.cast(tensors["target"], "float32")))
        total, values = 0.0, {"g_l1": l1}
        if self.uses_l1:
            # Without an adversarial term L1 is the whole loss, and its factor is 1.
            total = total + (self.l1_weight if self.adversarial else 1.0) * l1
        if self.adversarial:
            on_fake = self._discriminate(tensors["fake"], tensors, training)
            values["g_gan"] = self.adversarial_loss.for_generator(on_fake)
            total = total + values["g_gan"]
        return total, values

    def _check_networks(self) -> None:
        if self.adversarial != (self.discriminator is not None):
            raise ArgumentError(
                f"objective {self.objective!r} "
                f"{'needs a' if self.adversarial else 'has no'} discriminator"
            )
        if not self.adversarial:
            return
        image, target = self.input_spec().values()
        expected = [image, target] if self.conditional else [target]
        title = f"the discriminator of objective {self.objective!r}"
        check_input_shapes(title, self.discriminator, expected)

    # Saving.

    def get_config(self) -> dict[str, Any]:
        """The networks and the objective, for `keras.saving`."""
        names = ("generator", "discriminator", "objective", "name")
        return keras.saving.serialize_keras_object({name: getattr(self, name) for name in names})


def translate(generator: keras.Model, images: Any, batch_size: int = 1) -> np.ndarray:
    """Translate images with a generator alone, as `Pix2Pix.translate` does.

    Batch statistics and dropout of the generator at inference neither move nor change from call to
    call: the same images give the same result.

    Args:
        generator: From images to images.
        images: `(count, height, width, channels)` in the range of the training data.
        batch_size: Images in one forward, over which a generator may take batch statistics.
            Default 1, the paper's.

    Returns:
        A `float32` array `(count, height, width, channels)` in the generator's range.

    Raises:
        ArgumentError: If the images are not of the generator's shape.

    Example:
        >>> from keras_arch import models, trainers
        >>> generator = models.CycleGANGenerator(blocks=6, image_shape=(16, 16, 3), filters=2)
        >>> trainers.translate(generator, np.zeros((2, 16, 16, 3), "float32")).shape
        (2, 16, 16, 3)
    """
    images, batch_size = np.asarray(images, np.float32), whole_number("batch_size", batch_size)
    wanted = input_shapes(generator)[0]
    fits = images.ndim == 4 and all(
        want is None or want == got for want, got in zip(wanted, images.shape[1:], strict=True)
    )
    if not fits or not len(images):
        raise ArgumentError(
            f"{generator.name} translates images of shape (count, "
            f"{', '.join(map(str, wanted))}), got {images.shape}"
        )
    return forward_in_batches(generator, [images], batch_size)
