"""LAPGAN, Laplacian pyramid of GANs (Denton et al. 2015).

A first GAN draws a small image; each further one sees it enlarged and draws the residual, the
details of the larger size. Image = enlarged + residual.

Layers, padding, initial weights and the way in which a label enters are those of the authors'
code (github.com/facebookarchive/eyescream, `cifar/scripts/train_cifar_classcond.lua` and
`train_cifar_coarse_to_fine_classcond.lua`, whose biases start as the weights do; here at 0). The
widths of the coarsest level are the paper's (section 4.1: 1200 units in the generator, 600 in the
discriminator); the code's default for the convolutions is 128 filters, 64 is enough for CIFAR-10.
"""

import itertools

import keras
from keras import layers, ops

from keras_arch.errors import ArgumentError, whole_number
from keras_arch.layers import label_input, output_dtype
from keras_arch.models.common import channels_last
from keras_arch.models.common.arguments import document
from keras_arch.models.common.checks import check_image_shape, positive_ints
from keras_arch.registry import register
from keras_arch.weights import Weights, load_weights

PAPER = (
    "Denton, Chintala, Szlam, Fergus: Deep Generative Image Models using a Laplacian Pyramid of "
    "Adversarial Networks (2015)"
)
URL = "https://arxiv.org/abs/1506.05751"
# Smallest input of the two 5x5 convolutions of a discriminator, of which the second has stride 2.
SMALLEST_REFINED = 9
DROPOUT = 0.5


@register(
    task="conditional-image-generation",
    paper=PAPER,
    url=URL,
    default_input=(100 + 16 * 16 + 32 * 32,),
    parameters={"": 2_261_702, "classes=None": 2_229_350},
    latent={"paper": "uniform"},
)
@document
def LAPGANGenerator(
    *,
    image_shape: tuple[int, int, int] = (32, 32, 3),
    classes: int | None = 10,
    coarser_sizes: tuple[int, ...] = (8, 16),
    latent_size: int = 100,
    filters: int = 64,
    units: int = 1200,
    weights: Weights = None,
    name: str | None = None,
) -> keras.Model:
    """LAPGAN's generators, from the coarsest to the finest, as one model.

    Source: Denton et al. 2015, sections 3.2 and 4.1, and the authors' code. Coarsest level:
    latent (and label) -> 1200 ReLU -> 1200 ReLU -> image. Each further one: noise plane, enlarged
    coarser image (and label plane) -> 7x7 convolution, 64, ReLU -> 7x7, 64, ReLU -> 5x5 ->
    residual. A label becomes a plane by a linear layer and ReLU. The coarser image is enlarged
    bilinearly, as `keras.ops.image.resize(..., interpolation="bilinear")` does it. 2,261,702
    parameters with ten classes, 2,229,350 without.

    The levels are models inside this one, to be trained each by itself:
    `model.get_layer("level8")` from `latent` (and `label`) to the image, `"level16"` and
    `"level32"` from `noise` `(batch, size, size, 1)`, `coarse` `(batch, size, size, channels)`
    (and `label`) to the residual.

    Args:
        image_shape: `(height, width, channels)` of the square image, of 9 pixels a side or more.
        classes: Number of classes, or `None` for a generator without labels.
        coarser_sizes: Sides of the images of the levels before the last in pixels, growing. All but
            the first are 9 or more.
        latent_size: Length of the coarsest level's latent.
        filters: Filters of the hidden convolutions.
        units: Width of the coarsest level's hidden layers.

    Returns:
        A `keras.Model` from `[latent, label]` (without classes from `latent`) to images
        `(batch, size, size, channels)` of the last size in [-1, 1]: values beyond are clipped
        there, not at the levels before. The latent is drawn from U(-1, 1) and holds the
        coarsest level's latent and then each further level's noise plane, row by row: its length
        is `latent_size` and the squares of all sizes but the first.

    Example:
        >>> from keras_arch import models
        >>> generator = models.LAPGANGenerator(coarser_sizes=(8, 16), classes=10)
        >>> [part.shape for part in generator.inputs], generator.output_shape
        ([(None, 1380), (None,)], (None, 32, 32, 3))
        >>> [part.name for part in generator.get_layer("level16").inputs]
        ['noise', 'coarse', 'label']
    """
    *sizes, channels = _checked(coarser_sizes, image_shape)
    latent_size, filters, units = positive_ints(
        latent_size=latent_size, filters=filters, units=units
    )
    ends = [*itertools.accumulate((size * size for size in sizes[1:]), initial=latent_size)]
    latent = keras.Input((ends[-1],), name="latent")
    label = [] if classes is None else [keras.Input((), dtype="int32", name="label")]
    coarsest, *planes = ops.split(latent, ends[:-1], axis=1)
    level = _coarsest_level(sizes[0], channels, classes, latent_size, units)
    x = level([coarsest, *label] if label else coarsest)
    for size, plane in zip(sizes[1:], planes, strict=True):
        noise = layers.Reshape((size, size, 1), name=f"noise{size}")(plane)
        coarse = channels_last.Resizing(size, size, "bilinear", name=f"coarse{size}")(x)
        residual = _finer_level(size, channels, classes, filters)([noise, coarse, *label])
        x = layers.Add(name=f"image{size}")([coarse, residual])
    x = layers.Activation("hard_tanh", dtype=output_dtype(), name="output")(x)
    inputs = [latent, *label] if label else latent
    model = keras.Model(inputs, x, name=name or "lapgan_generator")
    return load_weights(model, weights, "LAPGANGenerator")


@register(
    task="discriminator",
    paper=PAPER,
    url=URL,
    default_input=(32, 32, 3),
    parameters={
        "": 129_409,
        "input_shape=(16, 16, 3)": 112_769,
        "input_shape=(8, 8, 3), coarsest=True": 483_001,
        "classes=None": 116_545,
        "input_shape=(16, 16, 3), classes=None": 108_353,
        "input_shape=(8, 8, 3), coarsest=True, classes=None": 477_001,
    },
)
@document
def LAPGANDiscriminator(
    *,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    classes: int | None = 10,
    coarsest: bool = False,
    filters: int = 64,
    units: int = 600,
    weights: Weights = None,
    name: str | None = None,
) -> keras.Model:
    """LAPGAN's discriminator of one level.

    Source: Denton et al. 2015, sections 3.2 and 4.1, and the authors' code. Coarsest level: image
    (and label) -> 600 ReLU -> 600 ReLU -> one logit, dropout .5 of both hidden layers. Each
    further one: the sum of residual and enlarged coarser image (and the label's plane) -> 5x5
    convolution, 64, ReLU -> 5x5 with stride 2, 64, ReLU -> dropout .5 -> one logit; neither
    convolution pads. With ten classes 483,001, 112,769 and 129,409 parameters at 8, 16 and 32
    pixels.

    Args:
        input_shape: `(height, width, channels)` of the level's square image; 9 pixels a side or
            more, unless it is the coarsest.
        classes: Number of classes, or `None` for a discriminator without labels.
        coarsest: Whether the level is the coarsest one, which judges whole images.
        filters: Filters of the convolutions.
        units: Width of the coarsest level's hidden layers.

    Returns:
        A `keras.Model` to logits `(batch, 1)`: positive says real. At the coarsest level from
        `[image, label]`, at the others from `[image, coarse, label]`, where `image` is the
        residual; without classes from the same without `label`.

    Example:
        >>> from keras_arch import models
        >>> discriminator = models.LAPGANDiscriminator(input_shape=(16, 16, 3), classes=10)
        >>> [part.name for part in discriminator.inputs]
        ['image', 'coarse', 'label']
    """
    size, channels = _square("input_shape", input_shape)
    if not coarsest and size < SMALLEST_REFINED:
        raise ArgumentError(
            f"input_shape must be of {SMALLEST_REFINED} pixels a side or more, or coarsest=True, "
            f"got {input_shape!r}"
        )
    filters, units = positive_ints(filters=filters, units=units)
    image = keras.Input((size, size, channels), name="image")
    label, one_hot = (None, None) if classes is None else label_input(classes)
    inputs = [image]
    if coarsest:
        x = channels_last.Flatten(name="flatten")(image)
        x = _joined(x, one_hot, "image_and_label")
        for number in (1, 2):
            x = _dense(x, units, f"hidden{number}", activation="relu")
            x = layers.Dropout(DROPOUT, name=f"hidden{number}_dropout")(x)
    else:
        coarse = keras.Input((size, size, channels), name="coarse")
        inputs.append(coarse)
        x = layers.Add(name="sum")([image, coarse])
        plane = None if classes is None else _label_plane(one_hot, size)
        x = _joined(x, plane, "sum_and_label")
        x = _convolution(x, filters, 5, "stage1", activation="relu", padding="valid")
        x = _convolution(x, filters, 5, "stage2", activation="relu", padding="valid", strides=2)
        x = channels_last.Flatten(name="flatten")(x)
        x = layers.Dropout(DROPOUT, name="stage2_dropout")(x)
    x = _dense(x, 1, "logits", dtype=output_dtype())
    inputs += [] if classes is None else [label]
    inputs = inputs if inputs[1:] else image
    model = keras.Model(inputs, x, name=name or f"lapgan_discriminator{size}")
    return load_weights(model, weights, "LAPGANDiscriminator")


def _checked(coarser_sizes, image_shape):
    """The sizes of all levels and the channels, if the sizes can be levels of a pyramid."""
    last, channels = _square("image_shape", image_shape)
    try:
        sizes = tuple(whole_number("coarser_sizes", size) for size in coarser_sizes)
    except (ArgumentError, TypeError):
        sizes = ()
    levels = (*sizes, last)
    if not sizes or list(levels) != sorted(set(levels)):
        raise ArgumentError(
            f"coarser_sizes must be growing sizes in pixels below {last}, the side of image_shape, "
            f"such as (8, 16), got {coarser_sizes!r}"
        )
    if levels[1] < SMALLEST_REFINED:
        raise ArgumentError(
            f"levels after the first must be of {SMALLEST_REFINED} pixels a side or more, got "
            f"{', '.join(map(str, levels))}"
        )
    return *levels, channels


def _square(argument, shape):
    """Side and channels of a square image."""
    height, width, channels = check_image_shape(shape, argument)
    if height != width:
        raise ArgumentError(f"{argument} must be of a square image, got {shape!r}")
    return height, channels


def _coarsest_level(size, channels, classes, latent_size, units):
    """A perceptron from latent and label to the smallest image."""
    latent = keras.Input((latent_size,), name="latent")
    label, one_hot = (None, None) if classes is None else label_input(classes)
    x = _joined(latent, one_hot, "latent_and_label")
    x = _dense(x, units, "hidden1", activation="relu")
    x = _dense(x, units, "hidden2", activation="relu")
    x = _dense(x, size * size * channels, "pixels", dtype=output_dtype())
    x = layers.Reshape((size, size, channels), dtype=output_dtype(), name="output")(x)
    inputs = latent if classes is None else [latent, label]
    return keras.Model(inputs, x, name=f"level{size}")


def _finer_level(size, channels, classes, filters):
    """Convolutions from noise, enlarged image and label to the residual."""
    noise = keras.Input((size, size, 1), name="noise")
    coarse = keras.Input((size, size, channels), name="coarse")
    inputs = planes = [noise, coarse]
    if classes is not None:
        label, one_hot = label_input(classes)
        inputs, planes = [*inputs, label], [*planes, _label_plane(one_hot, size)]
    x = layers.Concatenate(name="planes")(planes)
    x = _convolution(x, filters, 7, "stage1", activation="relu")
    x = _convolution(x, filters, 7, "stage2", activation="relu")
    x = _convolution(x, channels, 5, "output", dtype=output_dtype())
    return keras.Model(inputs, x, name=f"level{size}")


def _joined(x, label, name):
    return x if label is None else layers.Concatenate(name=name)([x, label])


def _label_plane(one_hot, size):
    x = _dense(one_hot, size * size, "label_pixels", activation="relu")
    return layers.Reshape((size, size, 1), name="label_plane")(x)


def _dense(x, units, name, **arguments):
    initializer = _uniform_fan_in()
    return layers.Dense(units, kernel_initializer=initializer, name=name, **arguments)(x)


def _convolution(x, filters, size, name, padding="same", **arguments):
    return channels_last.Conv2D(
        filters, size, padding=padding, kernel_initializer=_uniform_fan_in(), name=name, **arguments
    )(x)


def _uniform_fan_in():
    """U(-1 / sqrt(fan_in), 1 / sqrt(fan_in)): Torch's own, which the authors left as it was."""
    return keras.initializers.VarianceScaling(scale=1 / 3, mode="fan_in", distribution="uniform")
