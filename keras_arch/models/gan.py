"""Fully connected networks of the first GAN (Goodfellow et al. 2014).

The paper gives no layer sizes; these are the authors', from the training files of their code
(github.com/goodfeli/adversarial), one a variant:

`"mnist"` (`mnist.yaml`), `"cifar10"` (`cifar10_fully_connected.yaml`), `"tfd"` for the Toronto
Face Database (`tfd_pretrain/pretrain.yaml`) and `"tfd_stacked"` (`tfd_pretrain/train.yaml`): the
`"tfd"` generator once trained, with a second one before it that gives its latents, trained on.
"""

import dataclasses
import math

import keras
from keras import layers

from keras_arch.layers import maxout, output_dtype
from keras_arch.models.common import channels_last
from keras_arch.models.common.arguments import document
from keras_arch.models.common.checks import check_choice, check_image_shape, positive_ints
from keras_arch.registry import register
from keras_arch.weights import Weights, load_weights

PAPER = (
    "Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville, Bengio: Generative "
    "Adversarial Nets (2014)"
)
URL = "https://arxiv.org/abs/1406.2661"
MAXOUT_PIECES = 5
# Weights of all hidden layers start as U(-.05, .05) in the generator, U(-.005, .005) in the
# discriminator.
GENERATOR_RANGE = 0.05
DISCRIMINATOR_RANGE = 0.005


@dataclasses.dataclass(frozen=True)
class _Recipe:
    """Settings of the authors' training file of one data set.

    A hidden layer is its width, activation and initial bias; `None` is the width that can be
    chosen, `units` by default.
    """

    image_shape: tuple[int, int, int]
    units: int
    latent: str
    maxout_units: int
    hidden: tuple[tuple[int | None, str, float], ...] = ((None, "relu", 0.0), (None, "relu", 0.0))
    output_activation: str = "sigmoid"
    output_initializer: str = "uniform"
    output_scale: float = GENERATOR_RANGE
    max_norm: float | None = None


_MNIST = _Recipe(image_shape=(28, 28, 1), units=1200, latent="uniform", maxout_units=240)
_CIFAR10 = _Recipe(
    image_shape=(32, 32, 3),
    units=8000,
    latent="normal",
    maxout_units=1600,
    hidden=((None, "relu", 0.0), (None, "sigmoid", 0.0)),
    output_activation="linear",
    output_scale=0.5,
)
_TFD = _Recipe(
    image_shape=(48, 48, 1),
    units=8000,
    latent="normal",
    maxout_units=1200,
    hidden=((None, "relu", 0.0), (None, "sigmoid", -2.0)),
    # Theirs is sparse: 100 weights N(0, 1) into each pixel, the other 7,900 zero. No stock
    # initializer draws that; this has its variance.
    output_initializer="normal",
    output_scale=math.sqrt(100 / 8000),
    max_norm=1.9365,
)
_RECIPES = {
    "mnist": _MNIST,
    "cifar10": _CIFAR10,
    "tfd": _TFD,
    "tfd_stacked": dataclasses.replace(
        _TFD, hidden=((None, "relu", 0.0), (100, "sigmoid", -2.0), *_TFD.hidden)
    ),
}
OUTPUT_ACTIVATIONS = ("sigmoid", "linear", "tanh")


@register(
    task="unconditional-image-generation",
    paper=PAPER,
    url=URL,
    default_input=(100,),
    parameters={
        "": 2_503_984,
        "variant='cifar10'": 89_395_072,
        "variant='tfd'": 83_250_304,
        "variant='tfd_stacked'": 84_858_404,
    },
    latent={variant: recipe.latent for variant, recipe in _RECIPES.items()},
)
@document
def GANGenerator(
    variant: str = "mnist",
    *,
    image_shape: tuple[int, int, int] | None = None,
    latent_size: int = 100,
    units: int | None = None,
    output_activation: str | None = None,
    weights: Weights = None,
    name: str | None = None,
) -> keras.Model:
    """Goodfellow's generator: a multi-layer perceptron from a latent to an image.

    Source: Goodfellow et al. 2014, section 5, with the sizes and initial weights of the authors'
    training files. `"mnist"`: 100 -> 1200 ReLU -> 1200 ReLU -> 784 sigmoid (2,503,984 parameters).
    `"cifar10"`: 100 -> 8000 ReLU -> 8000 sigmoid -> 3072 linear (89,395,072). `"tfd"`: 100 -> 8000
    ReLU -> 8000 sigmoid -> 2304 sigmoid (83,250,304), every column of weights held to the norm
    1.9365; `"tfd_stacked"` puts 100 -> 8000 ReLU -> 100 sigmoid before it (84,858,404).

    Two things are not theirs. Biases of the output start at 0, where the authors start them so
    that the mean training image comes out (`start_at_mean_image`; `recipe.output_bias` of a
    config). The last weights of `"tfd"` start dense, with the variance of the authors' sparse ones.

    Args:
        variant: `"mnist"`, `"cifar10"`, `"tfd"` or `"tfd_stacked"`.
        image_shape: `(height, width, channels)` of the image. Default by variant: `(28, 28, 1)`,
            `(32, 32, 3)`, `(48, 48, 1)`.
        latent_size: Length of the latent. It is drawn from U(-1, 1) for `"mnist"`, whose network
            widens it to the authors' U(-sqrt(3), sqrt(3)), of variance 1; from N(0, 1) for the
            others.
        units: Width of the hidden layers. Default 1200 (mnist) or 8000.
        output_activation: `"sigmoid"`, `"linear"` or `"tanh"`. Default by variant: `"linear"` for
            `"cifar10"`, `"sigmoid"` for the others.

    Returns:
        A `keras.Model` from `latent` `(batch, latent_size)` to `(batch, height, width, channels)`
        in [0, 1], or [-1, 1] for a tanh. The linear output of `"cifar10"` has no bounds: the
        authors normalise each image to mean 0 and the norm 55, a deviation of 0.99.

    Example:
        >>> from keras_arch import models
        >>> models.GANGenerator("mnist").output_shape
        (None, 28, 28, 1)
    """
    recipe, image_shape = _checked(variant, "image_shape", image_shape)
    units = recipe.units if units is None else units
    latent_size, units = positive_ints(latent_size=latent_size, units=units)
    activation = recipe.output_activation if output_activation is None else output_activation
    check_choice("output_activation", activation, OUTPUT_ACTIVATIONS)

    x = latent = keras.Input((latent_size,), name="latent")
    if recipe.latent == "uniform":
        x = layers.Rescaling(math.sqrt(3), name="unit_variance")(x)
    for number, (width, function, bias) in enumerate(recipe.hidden, start=1):
        x = layers.Dense(
            width or units,
            activation=function,
            kernel_initializer=_initializer("uniform", GENERATOR_RANGE),
            bias_initializer=keras.initializers.Constant(bias),
            kernel_constraint=_constraint(recipe),
            name=f"hidden{number}",
        )(x)
    x = layers.Dense(
        math.prod(image_shape),
        kernel_initializer=_initializer(recipe.output_initializer, recipe.output_scale),
        kernel_constraint=_constraint(recipe),
        name="pixels",
    )(x)
    x = layers.Reshape(image_shape, name="pixels_map")(x)
    x = layers.Activation(activation, dtype=output_dtype(), name="output")(x)
    model = keras.Model(latent, x, name=name or "gan_generator")
    return load_weights(model, weights, "GANGenerator")


@register(
    task="discriminator",
    paper=PAPER,
    url=URL,
    default_input=(28, 28, 1),
    parameters={"": 1_231_441, "variant='cifar10'": 37_393_601, "variant='tfd'": 21_037_201},
)
@document
def GANDiscriminator(
    variant: str = "mnist",
    *,
    input_shape: tuple[int, int, int] | None = None,
    units: int | None = None,
    pieces: int = MAXOUT_PIECES,
    weights: Weights = None,
    name: str | None = None,
) -> keras.Model:
    """Goodfellow's discriminator: two layers of maxout units, then one logit.

    Source: Goodfellow et al. 2014, section 5, with the sizes, dropout and initial weights of the
    authors' training files: 240 (`"mnist"`, 1,231,441 parameters), 1600 (`"cifar10"`,
    37,393,601) or 1200 (`"tfd"` and `"tfd_stacked"`, 21,037,201) units of five pieces in both
    layers. Dropout drops .2 of the image and .5 of either hidden layer. The columns of `"tfd"`'s
    weights are held to the norm 1.9365.

    Args:
        variant: `"mnist"`, `"cifar10"`, `"tfd"` or `"tfd_stacked"`.
        input_shape: `(height, width, channels)` of the image. Default by variant, as
            `image_shape` of `GANGenerator`.
        units: Maxout units of both layers. Default 240, 1600 or 1200, by variant.
        pieces: Affine maps of each unit.

    Returns:
        A `keras.Model` from `image` `(batch, height, width, channels)`, in the range that the
        generator gives, to logits `(batch, 1)`: positive says real.

    Example:
        >>> from keras_arch import models
        >>> models.trainable_parameters(models.GANDiscriminator("mnist"))
        1231441
    """
    recipe, input_shape = _checked(variant, "input_shape", input_shape)
    units = recipe.maxout_units if units is None else units

    def settings():
        start = _initializer("uniform", DISCRIMINATOR_RANGE)
        return {"kernel_initializer": start, "kernel_constraint": _constraint(recipe)}

    image = keras.Input(input_shape, name="image")
    x = channels_last.Flatten(name="flatten")(image)
    x = layers.Dropout(0.2, name="image_dropout")(x)
    for number in (1, 2):
        x = maxout(x, units, pieces, name=f"hidden{number}", **settings())
        x = layers.Dropout(0.5, name=f"hidden{number}_dropout")(x)
    x = layers.Dense(1, dtype=output_dtype(), name="logits", **settings())(x)
    model = keras.Model(image, x, name=name or "gan_discriminator")
    return load_weights(model, weights, "GANDiscriminator")


def _checked(variant, argument, shape):
    """The variant's recipe, and the shape of the image: the argument, else the recipe's."""
    check_choice("variant", variant, _RECIPES)
    recipe = _RECIPES[variant]
    return recipe, check_image_shape(recipe.image_shape if shape is None else shape, argument)


def _initializer(kind, scale):
    if kind == "uniform":
        return keras.initializers.RandomUniform(-scale, scale)
    return keras.initializers.RandomNormal(0.0, scale)


def _constraint(recipe):
    return recipe.max_norm and keras.constraints.MaxNorm(recipe.max_norm, axis=0)
