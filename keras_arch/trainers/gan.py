"""The generative adversarial network of Goodfellow et al. (2014) as a trainer."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_arch import losses
from keras_arch.errors import ArgumentError, DataError
from keras_arch.registry import LATENTS
from keras_arch.trainers.players import (
    Noise,
    Player,
    PlayersTrainer,
    Tensors,
    Values,
    image_shape_of,
)


@keras.saving.register_keras_serializable("keras_arch")
class GAN(PlayersTrainer):
    """Trains a generator against a discriminator in `model.fit`.

    Source: Goodfellow et al. 2014, "Generative Adversarial Nets", algorithm 1.

    Args:
        generator: From a latent `(batch, latent_size)` to images.
        discriminator: From images to logits `(batch, 1)` or a map of them; positive says real.
        latent: Distribution of the latent: `"normal"` for N(0, 1), `"uniform"` for U(-1, 1).
        seed: Seed of the latents drawn in training, or `None` to draw one.
        name: Name of the trainer.

    Raises:
        ArgumentError: If the networks do not fit each other, or `latent` is neither.

    Example:
        >>> from keras_arch import models, trainers
        >>> gan = trainers.GAN(
        ...     models.DCGANGenerator(image_size=16, channels=1, filters=4),
        ...     models.DCGANDiscriminator(image_size=16, channels=1, filters=4),
        ... )
        >>> gan.compile()
        >>> images = np.zeros((8, 16, 16, 1), "float32")
        >>> history = gan.fit(images, batch_size=4, verbose=0)
        >>> sorted(history.history)
        ['d_fake', 'd_loss', 'd_real', 'g_loss']
        >>> gan.generate(3, seed=0).shape
        (3, 16, 16, 1)
    """

    LOGGED = ("d_loss", "g_loss", "d_real", "d_fake")

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        latent: str = "normal",
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(seed=seed, name=name or "gan")
        if latent not in LATENTS:
            raise ArgumentError(f"latent must be one of {', '.join(LATENTS)}, got {latent!r}")
        made, judged = tuple(generator.output_shape[1:]), tuple(discriminator.input_shape[1:])
        if made != judged:
            raise ArgumentError(
                f"the generator makes images of shape {made}, the discriminator takes {judged}"
            )
        self.generator = generator
        self.discriminator = discriminator
        self.latent = latent
        self.g_optimizer = None
        self.d_optimizer = None
        self.loss_name = "non_saturating"
        self.n_critic = 1
        self.built = True

    def compile(
        self,
        g_optimizer: keras.optimizers.Optimizer | str | None = None,
        d_optimizer: keras.optimizers.Optimizer | str | None = None,
        loss: str = "non_saturating",
        n_critic: int = 1,
        update: str = "alternating",
        jit_compile: bool | str = "auto",
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
    ) -> None:
        """Say how the two are trained.

        Args:
            g_optimizer: The generator's optimizer. Default Adam(2e-4, beta_1=0.5), DCGAN's.
            d_optimizer: The discriminator's optimizer, another object. Default the same.
            loss: `"non_saturating"`, `"minimax"`, `"lsgan"`, `"hinge"` or `"wgan-gp"`.
            n_critic: Updates of the discriminator a step. Each takes its own equal part of the
                batch, so give batches `n_critic` times as large as one update needs.
            update: `"alternating"`: the generator meets the updated discriminator.
                `"simultaneous"`: both move from the same point, as in Goodfellow's own code.
            jit_compile: Compile with XLA; `"auto"` does so where it is faster (on a GPU).
            run_eagerly: Run step by step in Python, for debugging.
            steps_per_execution: Steps in one call of the compiled function.

        Raises:
            ArgumentError: If an argument is not one of the above.
        """
        losses.adversarial(loss)
        if not isinstance(n_critic, int) or n_critic < 1:
            raise ArgumentError(f"n_critic must be a positive whole number, got {n_critic!r}")
        if update == "simultaneous" and n_critic > 1:
            raise ArgumentError(
                f"update='simultaneous' has one update of each a step, got n_critic={n_critic}"
            )
        with self.distribute_strategy.scope():
            optimizers = [_optimizer(g_optimizer), _optimizer(d_optimizer)]
        if optimizers[0] is optimizers[1]:
            raise ArgumentError(
                "g_optimizer and d_optimizer must be two objects: each keeps the moments of its "
                "own network"
            )
        self.g_optimizer, self.d_optimizer = optimizers
        self.loss_name = loss
        self.n_critic = n_critic
        self.compile_players(
            update=update,
            jit_compile=jit_compile,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
        )

    def call(self, latent: Any, training: bool = False) -> Any:
        """Images from latents: the generator's forward."""
        return self.generator(latent, training=training)

    def generate(self, count: int, seed: int | None = None, batch_size: int = 128) -> np.ndarray:
        """Draw images.

        Args:
            count: How many.
            seed: The same seed gives the same images; `None` gives new ones.
            batch_size: Images in one forward.

        Returns:
            A `float32` array `(count, height, width, channels)` in the generator's range,
            [-1, 1] for a tanh. `Preprocessing.to_pixels` turns it into pixels.

        Raises:
            ArgumentError: If `count` is not positive.
        """
        return sample(self.generator, count, seed, self.latent, batch_size)

    # The game.

    def players(self) -> tuple[Player, ...]:
        """The discriminator, then the generator."""
        return (
            Player(
                "d", self.discriminator, self.d_optimizer, self._discriminator_loss, self.n_critic
            ),
            Player("g", self.generator, self.g_optimizer, self._generator_loss),
        )

    def noise(self) -> dict[str, Noise]:
        """A latent, and where the gradient penalty is taken between real and generated."""
        noise = {"latent": Noise((self.generator.input_shape[-1],), self.latent)}
        if losses.adversarial(self.loss_name).penalty:
            noise["mix"] = Noise((1,) * (len(self.discriminator.input_shape) - 1), "unit")
        return noise

    def produce(self, tensors: Tensors, training: bool) -> Tensors:
        """Generated images."""
        return {"fake": self.generator(tensors["latent"], training=training)}

    def _discriminator_loss(self, tensors: Tensors, training: bool) -> tuple[Any, Values]:
        loss = losses.adversarial(self.loss_name)
        fake = ops.stop_gradient(tensors["fake"])
        on_real = self.discriminator(tensors["image"], training=training)
        on_fake = self.discriminator(fake, training=training)
        value = loss.discriminator(on_real, on_fake)
        if loss.penalty:
            image = ops.cast(tensors["image"], fake.dtype)
            mixed = image + ops.cast(tensors["mix"], fake.dtype) * (fake - image)
            gradient = self.engine.input_gradient(
                lambda between: self.discriminator(between, training=training), mixed
            )
            value = value + loss.penalty * losses.gradient_penalty(gradient)
        scores = {
            "d_real": losses.per_example(loss.score(on_real)),
            "d_fake": losses.per_example(loss.score(on_fake)),
        }
        return value, scores

    def _generator_loss(self, tensors: Tensors, training: bool) -> tuple[Any, Values]:
        loss = losses.adversarial(self.loss_name)
        return loss.generator(self.discriminator(tensors["fake"], training=training)), {}

    # Saving, and the check of the data.

    def check_data(self, x: Any) -> None:
        """Refuse images that are not of the discriminator's shape."""
        shape = image_shape_of(x)
        wanted = tuple(self.discriminator.input_shape[1:])
        if shape is None:
            return
        fits = len(shape) == len(wanted) + 1 and all(
            got is None or got == want for got, want in zip(shape[1:], wanted, strict=True)
        )
        if not fits:
            raise DataError(
                f"the discriminator takes batches of images of shape {wanted}, the data has "
                f"batches of shape {shape}"
            )

    def get_config(self) -> dict[str, Any]:
        """The networks and the latent, for `keras.saving`."""
        return {
            "generator": keras.saving.serialize_keras_object(self.generator),
            "discriminator": keras.saving.serialize_keras_object(self.discriminator),
            "latent": self.latent,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "GAN":
        """The inverse of `get_config`."""
        networks = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("generator", "discriminator")
        }
        return cls(**(config | networks))

    def get_compile_config(self) -> dict[str, Any]:
        """How it was compiled, for `keras.saving`."""
        return {
            "g_optimizer": keras.saving.serialize_keras_object(self.g_optimizer),
            "d_optimizer": keras.saving.serialize_keras_object(self.d_optimizer),
            "loss": self.loss_name,
            "n_critic": self.n_critic,
            "update": self.update,
            "steps_per_execution": self.steps_per_execution,
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """The inverse of `get_compile_config`."""
        optimizers = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("g_optimizer", "d_optimizer")
        }
        self.compile(**(config | optimizers))


def sample(
    generator: keras.Model,
    count: int,
    seed: int | None = None,
    latent: str = "normal",
    batch_size: int = 128,
) -> np.ndarray:
    """Draw images from a generator alone, as `GAN.generate` does.

    Args:
        generator: From a latent `(batch, latent_size)` to images.
        count: How many.
        seed: The same seed gives the same images; `None` gives new ones.
        latent: `"normal"` for N(0, 1), `"uniform"` for U(-1, 1).
        batch_size: Images in one forward.

    Returns:
        A `float32` array `(count, height, width, channels)` in the generator's range.

    Raises:
        ArgumentError: If `count` is not positive or `latent` is neither.

    Example:
        >>> from keras_arch import models, trainers
        >>> generator = models.DCGANGenerator(image_size=16, channels=1, filters=4)
        >>> trainers.sample(generator, 2, seed=0).shape
        (2, 16, 16, 1)
    """
    if not isinstance(count, int) or count < 1:
        raise ArgumentError(f"count must be a positive whole number, got {count!r}")
    if latent not in LATENTS:
        raise ArgumentError(f"latent must be one of {', '.join(LATENTS)}, got {latent!r}")
    noise = Noise((generator.input_shape[-1],), latent)
    latents = np.asarray(noise.draw(count, keras.random.SeedGenerator(seed)))
    # Not `predict`, which would start a data pipeline and compile for every call.
    batches = [
        keras.ops.convert_to_numpy(generator(latents[i : i + batch_size], training=False))
        for i in range(0, count, batch_size)
    ]
    return np.concatenate(batches).astype(np.float32)


def _optimizer(given: Any) -> keras.optimizers.Optimizer:
    """The user's optimizer or DCGAN's, with its loss scaled where gradients are half precision."""
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
