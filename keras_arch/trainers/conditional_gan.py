"""Trainer of the conditional GAN of Mirza and Osindero (2014)."""

from typing import Any

import keras

from keras_arch.errors import ArgumentError, whole_number
from keras_arch.trainers.checks import input_shapes
from keras_arch.trainers.gan import GAN
from keras_arch.trainers.latent_sampling import check_label_input, label_input
from keras_arch.trainers.players import Tensors


@keras.saving.register_keras_serializable("keras_arch")
class ConditionalGAN(GAN):
    """Trainer of a generator and a discriminator that both take the class.

    Source: Mirza and Osindero 2014, "Conditional Generative Adversarial Nets", equation 2. The
    generated images of a batch have the labels of its real ones.

    Args:
        generator: From `[latent, label]` to images; labels are whole numbers `(batch,)` or
            `(batch, 1)`, or one-hot `(batch, classes)`, as the network's input takes them.
        discriminator: From `[image, label]` to logits; positive says real and of that class.
        classes: Number of classes.
        latent: Distribution of the latent, as for `GAN`.
        seed: Seed of the latents drawn in training, or `None` to draw one.
        name: Name of the trainer.

    Raises:
        ArgumentError: If the networks do not fit each other, or take no label.

    Example:
        >>> from keras_arch import models, trainers
        >>> gan = trainers.ConditionalGAN(
        ...     models.CGANGenerator(classes=10, image_shape=(8, 8, 1)),
        ...     models.CGANDiscriminator(classes=10, input_shape=(8, 8, 1)),
        ...     classes=10,
        ...     latent="uniform01",
        ... )
        >>> gan.compile("sgd", "sgd")
        >>> import numpy as np
        >>> images, labels = np.zeros((8, 8, 8, 1), "float32"), np.arange(8)
        >>> history = gan.fit(images, labels, batch_size=4, verbose=0)
        >>> gan.generate(2, seed=0, labels=[3, 7]).shape
        (2, 8, 8, 1)
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        classes: int,
        latent: str = "normal",
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        checked = whole_number("classes", classes)
        super().__init__(generator, discriminator, latent, seed, name)
        self.classes = checked
        for network in (generator, discriminator):
            check_label_input(network, checked)

    def get_config(self) -> dict[str, Any]:
        """The networks, the classes and the latent, for `keras.saving`."""
        return super().get_config() | {"classes": self.classes}

    def _with_condition(self, network: keras.Model, tensor: Any, tensors: Tensors) -> Any:
        return [tensor, label_input(network, tensors["label"])]

    def _check_inputs(self, generator: keras.Model, discriminator: keras.Model) -> None:
        for network, wanted in ((generator, "[latent, label]"), (discriminator, "[image, label]")):
            shapes = input_shapes(network)
            if len(shapes) != 2:
                raise ArgumentError(
                    f"ConditionalGAN needs networks that take {wanted}; {network.name} takes "
                    f"{', '.join(str((None, *shape)) for shape in shapes)}"
                )
