"""Networks of the conditional GAN on MNIST (Mirza and Osindero 2014).

Both networks see the label: it has a hidden layer of its own, which is joined with that of the
latent or the image.

The paper says neither how weights start nor which layers are dropped out. Here weights start as in
the networks of Goodfellow et al. 2014, from which these are built, and every hidden layer is
dropped out; the inputs are not: without its label a network could not be conditional.
"""

import math

import keras
from keras import layers

from keras_arch.layers import label_input, maxout, output_dtype
from keras_arch.models.common import channels_last
from keras_arch.models.common.arguments import document
from keras_arch.models.common.checks import (
    check_image_shape,
    check_positive,
    check_rate,
    positive_ints,
)
from keras_arch.models.gan import DISCRIMINATOR_RANGE, GENERATOR_RANGE
from keras_arch.registry import register
from keras_arch.weights import Weights, load_weights

PAPER = "Mirza, Osindero: Conditional Generative Adversarial Nets (2014)"
URL = "https://arxiv.org/abs/1411.1784"
DROPOUT = 0.5


@register(
    task="conditional-image-generation",
    paper=PAPER,
    url=URL,
    default_input=(100,),
    parameters={"": 2_413_984},
    latent={"paper": "uniform01"},
)
@document
def CGANGenerator(
    *,
    image_shape: tuple[int, int, int] = (28, 28, 1),
    classes: int = 10,
    latent_size: int = 100,
    latent_units: int = 200,
    label_units: int = 1000,
    joint_units: int = 1200,
    dropout: float = DROPOUT,
    weights: Weights = None,
    name: str | None = None,
) -> keras.Model:
    """The conditional GAN's generator: latent and label, each with a hidden layer, then joined.

    Source: Mirza and Osindero 2014, section 4.1: the latent to 200 ReLU, the label to 1000 ReLU,
    both to 1200 ReLU, then a sigmoid a pixel; dropout .5 (2,413,984 parameters).

    Args:
        image_shape: `(height, width, channels)` of the image.
        latent_size: Length of the latent, which is drawn from U(0, 1).
        latent_units: Width of the latent's hidden layer.
        label_units: Width of the label's hidden layer.
        joint_units: Width of the joint hidden layer.
        dropout: Part of each hidden layer that is dropped in training. Default the paper's .5.

    Returns:
        A `keras.Model` from `[latent, label]`, of shapes `(batch, latent_size)` and `(batch,)`,
        the label a whole number from 0, to `(batch, height, width, channels)` in [0, 1].

    Example:
        >>> from keras_arch import models
        >>> generator = models.CGANGenerator(classes=10)
        >>> [part.name for part in generator.inputs], generator.output_shape
        (['latent', 'label'], (None, 28, 28, 1))
    """
    image_shape = check_image_shape(image_shape)
    latent_size, latent_units, label_units, joint_units = positive_ints(
        latent_size=latent_size,
        latent_units=latent_units,
        label_units=label_units,
        joint_units=joint_units,
    )
    check_rate("dropout", dropout)
    latent = keras.Input((latent_size,), name="latent")
    # U(0, 1) to mean 0 and variance 1. The layer after it can undo that, so the network is the
    # paper's; without it the noise of dropout is so much larger than the latent's that the trained
    # generator, sampled without dropout, gives one image a class.
    centred = layers.Rescaling(12**0.5, offset=-(3**0.5), name="unit_variance")(latent)
    label, one_hot = label_input(classes)
    x = _hidden(centred, latent_units, dropout, "latent_hidden")
    y = _hidden(one_hot, label_units, dropout, "label_hidden")
    x = layers.Concatenate(name="latent_and_label")([x, y])
    x = _hidden(x, joint_units, dropout, "joint_hidden")
    start = _uniform(GENERATOR_RANGE)
    x = layers.Dense(math.prod(image_shape), kernel_initializer=start, name="pixels")(x)
    x = layers.Reshape(image_shape, name="pixels_map")(x)
    x = layers.Activation("sigmoid", dtype=output_dtype(), name="output")(x)
    model = keras.Model([latent, label], x, name=name or "cgan_generator")
    return load_weights(model, weights, "CGANGenerator")


@register(
    task="discriminator",
    paper=PAPER,
    url=URL,
    default_input=(28, 28, 1),
    parameters={"": 1_224_351},
)
@document
def CGANDiscriminator(
    *,
    input_shape: tuple[int, int, int] = (28, 28, 1),
    classes: int = 10,
    image_units: int = 240,
    label_units: int = 50,
    joint_units: int = 240,
    max_norm: float | None = None,
    weights: Weights = None,
    name: str | None = None,
) -> keras.Model:
    """The conditional GAN's discriminator: maxout of image and of label, then of both.

    Source: Mirza and Osindero 2014, section 4.1: the image to 240 maxout units of 5 pieces, the
    label to 50 of 5, both to 240 of 4, then one logit; dropout .5 (1,224,351 parameters).

    Args:
        input_shape: `(height, width, channels)` of the image.
        image_units: Maxout units of the image's hidden layer.
        label_units: Maxout units of the label's hidden layer.
        joint_units: Maxout units of the joint hidden layer.
        max_norm: Largest norm of the weights that go into a maxout piece or into the logit, 1.9365
            in the authors' training files for faces. Default none: the paper has no word of one.
            Without it the paper's learning rate can make the weights grow without end.

    Returns:
        A `keras.Model` from `[image, label]`, of shapes `(batch, height, width, channels)` in
        [0, 1] and `(batch,)`, the label a whole number from 0, to logits `(batch, 1)`: positive
        says real, and of that class.

    Example:
        >>> from keras_arch import models
        >>> discriminator = models.CGANDiscriminator(classes=10)
        >>> [part.name for part in discriminator.inputs], discriminator.output_shape
        (['image', 'label'], (None, 1))
    """
    input_shape = check_image_shape(input_shape, "input_shape")
    image_units, label_units, joint_units = positive_ints(
        image_units=image_units, label_units=label_units, joint_units=joint_units
    )
    image = keras.Input(input_shape, name="image")
    label, one_hot = label_input(classes)
    x = channels_last.Flatten(name="flatten")(image)
    if max_norm is not None:
        check_positive("max_norm", max_norm)
    x = _maxout(x, image_units, 5, "image_hidden", max_norm)
    y = _maxout(one_hot, label_units, 5, "label_hidden", max_norm)
    x = layers.Concatenate(name="image_and_label")([x, y])
    x = _maxout(x, joint_units, 4, "joint_hidden", max_norm)
    x = layers.Dense(1, dtype=output_dtype(), name="logits", **_held(max_norm))(x)
    model = keras.Model([image, label], x, name=name or "cgan_discriminator")
    return load_weights(model, weights, "CGANDiscriminator")


def _hidden(x, units, dropout, name):
    start = _uniform(GENERATOR_RANGE)
    x = layers.Dense(units, activation="relu", kernel_initializer=start, name=name)(x)
    return layers.Dropout(dropout, name=f"{name}_dropout")(x) if dropout else x


def _maxout(x, units, pieces, name, max_norm):
    x = maxout(x, units, pieces, name, **_held(max_norm))
    return layers.Dropout(DROPOUT, name=f"{name}_dropout")(x)


def _held(max_norm):
    """Initial weights of the discriminator, and the norm that they are held to."""
    constraint = max_norm and keras.constraints.MaxNorm(max_norm, axis=0)
    return {"kernel_initializer": _uniform(DISCRIMINATOR_RANGE), "kernel_constraint": constraint}


def _uniform(scale):
    return keras.initializers.RandomUniform(-scale, scale)
