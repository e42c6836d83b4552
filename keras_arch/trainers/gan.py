"""The generative adversarial network of Goodfellow et al. (2014) as a trainer."""

import logging
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_arch import losses
from keras_arch.errors import ArgumentError
from keras_arch.registry import LATENTS
from keras_arch.trainers import diff_augment as augmentation
from keras_arch.trainers.adversarial import (
    AdversarialTrainer,
    Noise,
    Player,
    Tensors,
    Values,
    compiled_optimizer,
    forward,
    serialized,
)

_log = logging.getLogger("keras_arch")


@keras.saving.register_keras_serializable("keras_arch")
class GAN(AdversarialTrainer):
    """Trains a generator against a discriminator in `model.fit`.

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
        >>> images = np.zeros((8, 16, 16, 1), "float32")
        >>> history = gan.fit(images, batch_size=4, verbose=0)
        >>> sorted(history.history)
        ['d_fake', 'd_loss', 'd_real', 'g_loss']
        >>> gan.generate(3, seed=0).shape
        (3, 16, 16, 1)
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        latent: str = "normal",
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        logged = ("d_loss", "g_loss", "d_real", "d_fake")
        super().__init__(logged, seed, name or type(self).__name__.lower())
        if latent not in LATENTS:
            raise ArgumentError(f"latent must be one of {', '.join(LATENTS)}, got {latent!r}")
        self._check_inputs(generator, discriminator)
        made, judged = _shape(generator.outputs[0]), _shape(discriminator.inputs[0])
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
        self.diff_augment = ""
        self.built = True

    def compile(
        self,
        g_optimizer: keras.optimizers.Optimizer | str | None = None,
        d_optimizer: keras.optimizers.Optimizer | str | None = None,
        loss: str = "non_saturating",
        n_critic: int = 1,
        update: str = "alternating",
        diff_augment: str = "",
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
            diff_augment: Changes that the discriminator sees all images through, and the gradient
                passes through: names out of `color`, `translation` and `cutout` joined by commas
                (DiffAugment, Zhao et al. 2020), for training sets of a few thousand images. Default
                none.
            jit_compile: Compile with XLA; `"auto"` does so where it is faster (on a GPU).
            run_eagerly: Run step by step in Python, for debugging.
            steps_per_execution: Steps in one call of the compiled function.

        Raises:
            ArgumentError: If an argument is not one of the above.
        """
        penalty = losses.adversarial(loss).penalty
        normalised = (
            isinstance(layer, keras.layers.BatchNormalization)
            for layer in self.discriminator._flatten_layers()
        )
        if penalty and any(normalised):
            # TensorFlow's moments also pass the penalty's second derivative only in part.
            _log.warning(
                "loss %s looks at one image at a time, and batch norm in %s mixes them; build it "
                "without (norm=None, as Gulrajani et al. 2017 say)",
                loss,
                self.discriminator.name,
            )
        if not isinstance(n_critic, int) or n_critic < 1:
            raise ArgumentError(f"n_critic must be a positive whole number, got {n_critic!r}")
        if update == "simultaneous" and n_critic > 1:
            raise ArgumentError(
                f"update='simultaneous' has one update of each a step, got n_critic={n_critic}"
            )
        optimizers = [compiled_optimizer(self, given) for given in (g_optimizer, d_optimizer)]
        if optimizers[0] is optimizers[1]:
            raise ArgumentError(
                "g_optimizer and d_optimizer must be two objects: each keeps the moments of its "
                "own network"
            )
        self.g_optimizer, self.d_optimizer = optimizers
        self.loss_name = loss
        self.n_critic = n_critic
        if diff_augment:
            augmentation.steps(diff_augment)
        self.diff_augment = diff_augment
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
        return sample(self.ema_network(self.generator), count, seed, self.latent, batch_size)

    # The game.

    def players(self) -> tuple[Player, ...]:
        """The discriminator, then the generator."""
        return (
            Player(
                "d",
                (self.discriminator,),
                self.d_optimizer,
                self._discriminator_loss,
                self.n_critic,
            ),
            Player("g", (self.generator,), self.g_optimizer, self._generator_loss),
        )

    def noise(self) -> dict[str, Noise]:
        """A latent, and where the gradient penalty is taken between real and generated."""
        noise = {"latent": Noise(_shape(self.generator.inputs[0]), self.latent)}
        if losses.adversarial(self.loss_name).penalty:
            noise["mix"] = Noise((1,) * len(_shape(self.discriminator.inputs[0])), "uniform01")
        if self.diff_augment:
            numbers = augmentation.noise(self.diff_augment, self.input_spec()["image"])
            for of in ("real", "fake", "generated"):
                noise |= {
                    f"{name}_{of}": Noise(shape, "uniform01") for name, shape in numbers.items()
                }
        return noise

    def shared_forward(self, tensors: Tensors, training: bool) -> Tensors:
        """Generated images."""
        latent = self._with_condition(tensors["latent"], tensors)
        return {"fake": self.generator(latent, training=training)}

    def input_spec(self) -> dict[str, tuple[int | None, ...]]:
        """Images of the discriminator's shape."""
        return {"image": _shape(self.discriminator.inputs[0])}

    def output_networks(self) -> dict[str, keras.Model]:
        """The generator makes images like the data's."""
        return {"image": self.generator}

    def _with_condition(self, tensor: Any, tensors: Tensors) -> Any:
        """What a network takes in place of a tensor alone; a label, in the conditional game."""
        return tensor

    def _check_inputs(self, generator: keras.Model, discriminator: keras.Model) -> None:
        for network, takes in ((generator, "a latent"), (discriminator, "an image")):
            if len(network.inputs) != 1:
                names = ", ".join(tensor.name for tensor in network.inputs)
                raise ArgumentError(
                    f"GAN needs networks of one input; {network.name} takes {names} where {takes} "
                    "is given (ConditionalGAN gives labels as well)"
                )

    def _judge(self, images: Any, tensors: Tensors, training: bool) -> Any:
        return self.discriminator(self._with_condition(images, tensors), training=training)

    def _seen(self, images: Any, of: str, tensors: Tensors, training: bool) -> Any:
        """Images as the discriminator sees them in training: through the augmentation."""
        if not self.diff_augment or not training:
            return images
        names = augmentation.noise(self.diff_augment, self.input_spec()["image"])
        numbers = {name: tensors[f"{name}_{of}"] for name in names}
        return augmentation.apply(self.diff_augment, images, numbers)

    def _discriminator_loss(self, tensors: Tensors, training: bool) -> tuple[Any, Values]:
        loss = losses.adversarial(self.loss_name)
        fake = self._seen(ops.stop_gradient(tensors["fake"]), "fake", tensors, training)
        image = self._seen(ops.cast(tensors["image"], fake.dtype), "real", tensors, training)
        on_real = self._judge(image, tensors, training)
        on_fake = self._judge(fake, tensors, training)
        value = loss.discriminator(on_real, on_fake)
        if loss.penalty:
            mixed = image + ops.cast(tensors["mix"], fake.dtype) * (fake - image)
            gradient = self.engine.input_gradient(
                lambda between: self._judge(between, tensors, training), mixed
            )
            value = value + loss.penalty * losses.gradient_penalty(gradient)
        scores = {
            "d_real": losses.per_example(loss.score(on_real)),
            "d_fake": losses.per_example(loss.score(on_fake)),
        }
        return value, scores

    def _generator_loss(self, tensors: Tensors, training: bool) -> tuple[Any, Values]:
        loss = losses.adversarial(self.loss_name)
        fake = self._seen(tensors["fake"], "generated", tensors, training)
        return loss.generator(self._judge(fake, tensors, training)), {}

    # Saving.

    def get_config(self) -> dict[str, Any]:
        """The networks and the latent, for `keras.saving`."""
        networks = {"generator": self.generator, "discriminator": self.discriminator}
        return serialized(networks) | {"latent": self.latent, "name": self.name}

    def get_compile_config(self) -> dict[str, Any]:
        """How it was compiled, for `keras.saving`."""
        optimizers = {"g_optimizer": self.g_optimizer, "d_optimizer": self.d_optimizer}
        return serialized(optimizers) | {
            "loss": self.loss_name,
            "n_critic": self.n_critic,
            "update": self.update,
            "diff_augment": self.diff_augment,
            "steps_per_execution": self.steps_per_execution,
        }


def sample(
    generator: keras.Model,
    count: int,
    seed: int | None = None,
    latent: str = "normal",
    batch_size: int = 128,
    labels: Any = None,
) -> np.ndarray:
    """Draw images from a generator alone, as `GAN.generate` does.

    Args:
        generator: From a latent `(batch, latent_size)`, or a latent and a label, to images.
        count: How many.
        seed: The same seed gives the same images; `None` gives new ones.
        latent: `"normal"` for N(0, 1), `"uniform"` for U(-1, 1), `"uniform01"` for U(0, 1).
        batch_size: Images in one forward.
        labels: For a conditional generator, one whole number an image.

    Returns:
        A `float32` array `(count, height, width, channels)` in the generator's range.

    Raises:
        ArgumentError: If `count` is not positive, `latent` is none of these, or labels are
            missing or too many.

    Example:
        >>> from keras_arch import models, trainers
        >>> generator = models.DCGANGenerator(image_shape=(16, 16, 1), filters=4)
        >>> trainers.sample(generator, 2, seed=0).shape
        (2, 16, 16, 1)
    """
    if not isinstance(count, int) or count < 1:
        raise ArgumentError(f"count must be a positive whole number, got {count!r}")
    if latent not in LATENTS:
        raise ArgumentError(f"latent must be one of {', '.join(LATENTS)}, got {latent!r}")
    conditional = len(generator.inputs) == 2
    if conditional != (labels is not None):
        raise ArgumentError(
            f"{generator.name} takes a label for each image; give labels"
            if conditional
            else f"{generator.name} takes no labels"
        )
    noise = Noise(_shape(generator.inputs[0]), latent)
    inputs = [ops.convert_to_numpy(noise.draw(count, keras.random.SeedGenerator(seed)))]
    if conditional:
        inputs.append(np.asarray(labels).astype("int32"))
        if inputs[1].shape != (count,):
            raise ArgumentError(
                f"labels must be {count} whole numbers, one an image, got an array of shape "
                f"{inputs[1].shape}"
            )
    # Not `predict`, which would start a data pipeline and compile for every call.
    batches = []
    for first in range(0, count, batch_size):
        part = [values[first : first + batch_size] for values in inputs]
        batches.append(forward(generator, part if conditional else part[0]))
    return np.concatenate(batches)


def _shape(tensor: Any) -> tuple[int | None, ...]:
    """The shape of one example of a network's input or output."""
    return tuple(tensor.shape[1:])
