"""Images from latents: sampling of generators, alone and in their trainers."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_arch.errors import ArgumentError, checked_seed, whole_number
from keras_arch.trainers.checks import input_shapes
from keras_arch.trainers.inference import forward_in_batches
from keras_arch.trainers.players import Noise


class LatentSampling:
    """Mixin of trainers with a generator of images from latents, and from labels with `classes`."""

    generator: keras.Model
    latent: str
    classes: int | None = None

    def call(self, latent: Any, training: bool = False) -> Any:
        """Images from latents, or latents and labels: the generator's forward."""
        return self.generator(latent, training=training)

    def generate(
        self, count: int, seed: int | None = None, batch_size: int = 128, labels: Any = None
    ) -> np.ndarray:
        """Generate images.

        Args:
            count: Number of images.
            seed: The same seed gives the same images; `None` gives new ones.
            batch_size: Images in one forward.
            labels: With classes, one whole number an image. Default 0, 1, ... and again from 0.

        Returns:
            A `float32` array `(count, height, width, channels)` in the generator's range,
            [-1, 1] for a tanh. `Preprocessing.to_pixels` turns it into pixels.

        Raises:
            ArgumentError: If `count` is not positive, a label is outside the classes, or labels
                are given to a generator without classes.
        """
        if self.classes is not None:
            labels = class_labels(count, self.classes, labels)
        generator = self.ema_network(self.generator)
        return sample(generator, count, seed, self.latent, batch_size, labels)

    def output_networks(self) -> dict[str, keras.Model]:
        """The generator, whose images are like the data's."""
        return {"image": self.generator}


def check_label_input(network: keras.Model, classes: int | None = None) -> None:
    """Refuse (`ArgumentError`) a network whose second input is none of a label.

    It may be numbers `(batch,)` or `(batch, 1)`, or one-hot rows of any width, or of `classes`.
    """
    shape = input_shapes(network)[1]
    one_hot = len(shape) == 1 and shape[0] is not None and classes in (None, shape[0])
    if shape not in ((), (1,)) and not one_hot:
        width = "classes" if classes is None else classes
        raise ArgumentError(
            f"the label of {network.name} must be an input of shape (batch,) or (batch, 1), or "
            f"(batch, {width}) for one-hot rows; it is {(None, *shape)}"
        )


def label_input(network: keras.Model, labels: Any) -> Any:
    """Labels `(batch,)` as a network's second input takes them: as they are, or one-hot."""
    shape = input_shapes(network)[1]
    if not shape:
        return labels
    return ops.expand_dims(labels, -1) if shape == (1,) else ops.one_hot(labels, shape[0])


def sample(
    generator: keras.Model,
    count: int,
    seed: int | None = None,
    latent: str = "normal",
    batch_size: int = 128,
    labels: Any = None,
) -> np.ndarray:
    """Generate images with a generator alone, as `GAN.generate` does.

    Args:
        generator: From a latent `(batch, latent_size)`, or a latent and a label, to images.
        count: Number of images.
        seed: The same seed gives the same images; `None` gives new ones.
        latent: `"normal"` for N(0, 1), `"uniform"` for U(-1, 1), `"uniform01"` for U(0, 1).
        batch_size: Images in one forward.
        labels: For a conditional generator, one whole number an image.

    Returns:
        A `float32` array `(count, height, width, channels)` in the generator's range.

    Raises:
        ArgumentError: If `count` is not positive, `seed` is negative or has more than 63 bits,
            `latent` is none of these, or labels are missing or too many.

    Example:
        >>> from keras_arch import models, trainers
        >>> generator = models.DCGANGenerator(image_shape=(16, 16, 1), filters=4)
        >>> trainers.sample(generator, 2, seed=0).shape
        (2, 16, 16, 1)
    """
    count, batch_size = whole_number("count", count), whole_number("batch_size", batch_size)
    seed = None if seed is None else checked_seed(seed)
    shapes = input_shapes(generator)
    noise = Noise(shapes[0], latent)
    conditional = len(shapes) == 2
    if conditional != (labels is not None):
        raise ArgumentError(
            f"{generator.name} takes a label for each image; give labels"
            if conditional
            else f"{generator.name} takes no labels"
        )
    inputs = [ops.convert_to_numpy(noise.draw(count, keras.random.SeedGenerator(seed)))]
    if conditional:
        inputs.append(np.asarray(labels).astype("int32"))
        if inputs[1].shape != (count,):
            raise ArgumentError(
                f"labels must be {count} whole numbers, one an image, got an array of shape "
                f"{inputs[1].shape}"
            )
        inputs[1] = ops.convert_to_numpy(label_input(generator, inputs[1]))
    return forward_in_batches(generator, inputs, batch_size)


def class_labels(count: int, classes: int, labels: Any = None) -> np.ndarray:
    """Labels of images to generate: the given ones, checked, or 0, 1, ... and again from 0.

    Args:
        count: Number of images.
        classes: Number of classes.
        labels: Whole numbers, or `None`. The result is `int32` of shape `(count,)`.

    Raises:
        ArgumentError: If a label is outside the classes or their number is not `count`.

    Example:
        >>> class_labels(5, 3).tolist()
        [0, 1, 2, 0, 1]
    """
    count, classes = whole_number("count", count), whole_number("classes", classes)
    if labels is None:
        return np.arange(count, dtype=np.int32) % classes
    given = np.asarray(labels)
    if given.shape != (count,) or not np.issubdtype(given.dtype, np.integer):
        raise ArgumentError(
            f"labels must be {count} whole numbers, one an image, got {str(labels)[:60]}"
        )
    outside = given[(given < 0) | (given >= classes)]
    if outside.size:
        raise ArgumentError(f"labels must be 0 to {classes - 1}, got {outside[0]}")
    return given.astype(np.int32)
