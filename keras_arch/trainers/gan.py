"""Trainer of the generative adversarial network of Goodfellow et al. (2014)."""

from typing import Any, Unpack

import keras
from keras import ops

from keras_arch.errors import ArgumentError, whole_number
from keras_arch.trainers import diff_augment as augmentation
from keras_arch.trainers.checks import check_positive, input_shapes, output_shape
from keras_arch.trainers.generator_discriminator import GeneratorDiscriminatorTrainer
from keras_arch.trainers.latent_sampling import LatentSampling
from keras_arch.trainers.players import CompileOptions, Loss, Noise, Player, Tensors, Values


@keras.saving.register_keras_serializable("keras_arch")
class GAN(LatentSampling, GeneratorDiscriminatorTrainer):
    """Trainer of a generator against a discriminator.

    Source: Goodfellow et al. 2014, "Generative Adversarial Nets", algorithm 1.

    Args:
        generator: From a latent `(batch, latent_size)` to images.
        discriminator: From images to logits `(batch, 1)` or a map of them; positive says real.
        latent: Distribution of the latent: `"normal"` for N(0, 1), `"uniform"` for U(-1, 1),
            `"uniform01"` for U(0, 1).
        seed: Seed of the latents drawn in training, or `None` to draw one.
        name: Name of the trainer.

    Raises:
        ArgumentError: If the networks do not fit each other, or `latent` is none of these.

    Example:
        >>> from keras_arch import models, trainers
        >>> gan = trainers.GAN(
        ...     models.DCGANGenerator(image_shape=(16, 16, 1), filters=4),
        ...     models.DCGANDiscriminator(input_shape=(16, 16, 1), filters=4),
        ... )
        >>> gan.compile()
        >>> images = keras.ops.zeros((8, 16, 16, 1))
        >>> history = gan.fit(images, batch_size=4, verbose=0)
        >>> sorted(history.history)
        ['d_fake', 'd_loss', 'd_real', 'g_loss']
        >>> gan.generate(3, seed=0).shape
        (3, 16, 16, 1)
    """

    COMPILE_KEYS = ("n_critic", "diff_augment", "d_weight")

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        latent: str = "normal",
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(seed, name or type(self).__name__.lower())
        self._check_inputs(generator, discriminator)
        generated, taken = output_shape(generator), input_shapes(discriminator)[0]
        if generated != taken:
            raise ArgumentError(
                f"the generator gives images of shape {generated}, the discriminator takes {taken}"
            )
        self.generator, self.discriminator = generator, discriminator
        self.latent = Noise(input_shapes(generator)[0], latent).distribution
        self.n_critic, self.diff_augment, self.d_weight = 1, "", 1.0

    def compile(
        self,
        g_optimizer: keras.optimizers.Optimizer | str | None = None,
        d_optimizer: keras.optimizers.Optimizer | str | None = None,
        loss: Loss = "non_saturating",
        n_critic: int = 1,
        diff_augment: str = "",
        d_weight: float = 1.0,
        **options: Unpack[CompileOptions],
    ) -> None:
        """Set how generator and discriminator are trained.

        Args:
            g_optimizer: The generator's optimizer. Default Adam(2e-4, beta_1=0.5), DCGAN's.
            d_optimizer: The discriminator's optimizer, another object. Default the same.
            loss: The adversarial loss; see `AdversarialTrainer.compile`.
            n_critic: Updates of the discriminator a step. Each takes its own part of the batch,
                every `n_critic`-th example, so give batches `n_critic` times as large as one
                update needs. Where it does not divide a batch, parts differ in size by one; in a
                batch of fewer examples each part has one, and the first ones serve again.
            diff_augment: Augmentation of all images that the discriminator sees, which gradients
                pass through: `color`, `translation` and `cutout` joined by commas (DiffAugment,
                Zhao et al. 2020), for training sets of a few thousand images. Default none.
            d_weight: Factor on the discriminator's loss, a gradient penalty included. Default 1:
                the sum over real and generated images, as in algorithm 1. Goodfellow's code has one
                half, the mean. Adam hardly notices it; under gradient descent it is a factor on the
                discriminator's learning rate.
            **options: `penalty_weight`, `update` (`"simultaneous"` is Goodfellow's own code) and
                further arguments of `AdversarialTrainer.compile`.

        Raises:
            ArgumentError: If an argument is not one of the above.
        """
        self.n_critic = whole_number("n_critic", n_critic)
        if options.get("update") == "simultaneous" and n_critic > 1:
            raise ArgumentError(
                f"update='simultaneous' has one update of each a step, got n_critic={n_critic}"
            )
        if diff_augment:
            augmentation.steps(diff_augment)
        check_positive(d_weight=d_weight)
        self.diff_augment, self.d_weight = diff_augment, float(d_weight)
        super().compile(g_optimizer, d_optimizer, loss, **options)

    # The game.

    def players(self) -> tuple[Player, ...]:
        """The discriminator, then the generator."""
        d_loss, g_loss = self._discriminator_loss, self._generator_loss
        return (
            Player("d", (self.discriminator,), d_loss, self.n_critic, ("d_real", "d_fake")),
            Player("g", (self.generator,), g_loss),
        )

    def noise(self) -> dict[str, Noise]:
        """The latent, and the numbers of a gradient penalty and of the augmentation."""
        noise = {"latent": Noise(input_shapes(self.generator)[0], self.latent)}
        noise |= self.penalty_noise(len(self.input_spec()["image"]))
        if self.diff_augment:
            numbers = augmentation.noise(self.diff_augment, self.input_spec()["image"])
            noise |= {
                f"{name}_{images}": Noise(shape, "uniform01")
                for images in ("real", "fake", "generated")
                for name, shape in numbers.items()
            }
        return noise

    def shared_forward(self, tensors: Tensors, training: bool) -> Tensors:
        """Generated images."""
        latent = self._with_condition(self.generator, tensors["latent"], tensors)
        return {"fake": self.generator(latent, training=training)}

    def input_spec(self) -> dict[str, tuple[int | None, ...]]:
        """Images of the discriminator's shape, with labels where there are classes."""
        labels = {} if self.classes is None else {"label": ()}
        return {"image": input_shapes(self.discriminator)[0]} | labels

    def _with_condition(self, network: keras.Model, tensor: Any, tensors: Tensors) -> Any:
        """The inputs of a network; the conditional game adds the label."""
        return tensor

    def _check_inputs(self, generator: keras.Model, discriminator: keras.Model) -> None:
        for network, takes in ((generator, "a latent"), (discriminator, "an image")):
            shapes = input_shapes(network)
            if len(shapes) != 1:
                names = ", ".join(map(str, shapes))
                raise ArgumentError(
                    f"GAN needs networks of one input; {network.name} takes {names} where {takes} "
                    "is given (ConditionalGAN gives labels as well)"
                )

    def _discriminate(self, images: Any, tensors: Tensors, training: bool) -> Any:
        inputs = self._with_condition(self.discriminator, images, tensors)
        return self.discriminator(inputs, training=training)

    def _seen(self, images: Any, of: str, tensors: Tensors, training: bool) -> Any:
        """Images as the discriminator sees them in training: through the augmentation."""
        if not self.diff_augment or not training:
            return images
        names = augmentation.noise(self.diff_augment, self.input_spec()["image"])
        numbers = {name: tensors[f"{name}_{of}"] for name in names}
        return augmentation.apply(self.diff_augment, images, numbers)

    def _discriminator_loss(self, tensors: Tensors, training: bool) -> tuple[Any, Values]:
        fake = self._seen(ops.stop_gradient(tensors["fake"]), "fake", tensors, training)
        image = self._seen(ops.cast(tensors["image"], fake.dtype), "real", tensors, training)
        loss, scores = self.discriminator_loss(
            lambda images: self._discriminate(images, tensors, training), image, fake, tensors
        )
        return self.d_weight * loss, scores

    def _generator_loss(self, tensors: Tensors, training: bool) -> tuple[Any, Values]:
        fake = self._seen(tensors["fake"], "generated", tensors, training)
        on_fake = self._discriminate(fake, tensors, training)
        return self.adversarial_loss.for_generator(on_fake), {}

    # Saving.

    def get_config(self) -> dict[str, Any]:
        """The networks and the latent, for `keras.saving`."""
        names = ("generator", "discriminator", "latent", "name")
        return keras.saving.serialize_keras_object({name: getattr(self, name) for name in names})
