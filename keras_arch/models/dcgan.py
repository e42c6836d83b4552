"""DCGAN, deep convolutional GAN (Radford et al. 2015).

Its four rules: strided convolutions instead of pooling; no hidden dense layers; ReLU in the
generator with a last tanh, LeakyReLU in the discriminator; batch norm everywhere except the
generator's output and the discriminator's input.

Two variants. `"paper"` follows the authors' code: 5x5 kernels, 128 filters, latent U(-1, 1), batch
norm over each of the 4x4x1024 units of the projected latent. `"pytorch"` is the network of the
PyTorch examples, which most people mean by DCGAN: 4x4 kernels, 64 filters, latent N(0, 1).

Both can be conditional: `classes=` gives the networks a label as a second input, in the way of
Mirza and Osindero 2014 (https://arxiv.org/abs/1411.1784), with the discriminator's label as a
plane, after Denton et al. 2015 (https://arxiv.org/abs/1506.05751, section 4.1).
"""

import math

import keras
from keras import layers

from keras_arch.errors import ArgumentError, whole_number
from keras_arch.layers import batch_norm, label_input, normalize, output_dtype
from keras_arch.models.common import channels_last
from keras_arch.models.common.arguments import document
from keras_arch.models.common.checks import check_choice, check_image_shape
from keras_arch.registry import register
from keras_arch.weights import Weights, load_weights

PAPER = (
    "Radford, Metz, Chintala: Unsupervised Representation Learning with Deep Convolutional "
    "Generative Adversarial Networks (2015)"
)
URL = "https://arxiv.org/abs/1511.06434"
FILTERS = {"paper": 128, "pytorch": 64}
LATENT = {"paper": "uniform", "pytorch": "normal"}
NORMS = ("batch", "instance", "layer", None)
IMAGE_SIZES = (16, 32, 64, 128, 256)
# The widest layer of the paper's 64x64 networks. Larger images add layers of this width: to
# double it further would put nine tenths of all parameters into the first layers.
MAX_FILTERS = 1024
SMALLEST_MAP = 4


@register(
    task="unconditional-image-generation",
    paper=PAPER,
    url=URL,
    default_input=(100,),
    parameters={
        "": 18_885_760,
        "variant='pytorch'": 3_576_704,
        "variant='pytorch', classes=10": 3_658_624,
    },
    latent=LATENT,
)
@document
def DCGANGenerator(
    variant: str = "paper",
    *,
    image_shape: tuple[int, int, int] = (64, 64, 3),
    classes: int | None = None,
    latent_size: int = 100,
    filters: int | None = None,
    synchronized: bool = False,
    weights: Weights = None,
    name: str | None = None,
) -> keras.Model:
    """DCGAN's generator: a latent is projected to 4x4 and doubled up to the image.

    Source: Radford et al. 2015, figure 1; the DCGAN of the PyTorch examples.

    Args:
        variant: `"paper"` (18,885,760 parameters) or `"pytorch"` (3,576,704).
        image_shape: `(height, width, channels)` of the square image, of 16, 32, 64, 128 or 256
            pixels a side.
        classes: `None`, or a number of classes for a generator of the class that it is asked for:
            the label, as zeros and a one, is joined to the latent (3,658,624 parameters for ten
            classes of `"pytorch"`).
        filters: Filters of the last hidden layer, doubled at each halving of the map up to 1024.
            Default 128 (`"paper"`) or 64 (`"pytorch"`).

    Returns:
        A `keras.Model` from `latent` `(batch, latent_size)` to `(batch, height, width, channels)`
        in [-1, 1]; with classes from `[latent, label]`, the label `(batch,)` a whole number from 0.

    Example:
        >>> from keras_arch import models
        >>> models.trainable_parameters(models.DCGANGenerator("pytorch"))
        3576704
    """
    _, channels, widths = _checked("image_shape", image_shape, variant, filters)
    widest, *widths = reversed(widths)
    latent_size = whole_number("latent_size", latent_size)
    inputs = x = latent = keras.Input((latent_size,), name="latent")
    if classes is not None:
        label, one_hot = label_input(classes)
        inputs = [latent, label]
        x = layers.Concatenate(name="latent_and_label")([latent, one_hot])
    map_shape = (SMALLEST_MAP, SMALLEST_MAP, widest)
    x = _dense(x, math.prod(map_shape), "project")
    to_map = layers.Reshape(map_shape, name="project_map")
    norm = batch_norm("project_norm", synchronized=synchronized, gamma_initializer=_gain())
    # The authors' code normalises each unit of the projection, PyTorch's each of its channels.
    x = to_map(norm(x)) if variant == "paper" else norm(to_map(x))
    x = layers.Activation("relu", name="stage1")(x)
    for stage, width in enumerate(widths, start=2):
        x = _upsample(x, width, variant, f"stage{stage}_conv")
        settings = {"synchronized": synchronized, "gamma_initializer": _gain()}
        x = batch_norm(f"stage{stage}_norm", **settings)(x)
        x = layers.Activation("relu", name=f"stage{stage}")(x)
    x = _upsample(x, channels, variant, "output_conv")
    x = layers.Activation("tanh", dtype=output_dtype(), name="output")(x)
    model = keras.Model(inputs, x, name=name or "dcgan_generator")
    return load_weights(model, weights, "DCGANGenerator")


@register(
    task="discriminator",
    paper=PAPER,
    url=URL,
    default_input=(64, 64, 3),
    parameters={
        "": 17_232_768,
        "variant='pytorch'": 2_765_568,
        "variant='pytorch', classes=10": 2_807_552,
    },
)
@document
def DCGANDiscriminator(
    variant: str = "paper",
    *,
    input_shape: tuple[int, int, int] = (64, 64, 3),
    classes: int | None = None,
    filters: int | None = None,
    norm: str | None = "batch",
    synchronized: bool = False,
    weights: Weights = None,
    name: str | None = None,
) -> keras.Model:
    """DCGAN's discriminator: strided convolutions down to 4x4, then one logit.

    Source: Radford et al. 2015, section 3; the DCGAN of the PyTorch examples.

    Args:
        variant: `"paper"` (17,232,768 parameters) or `"pytorch"` (2,765,568).
        input_shape: `(height, width, channels)` of the square image, of 16, 32, 64, 128 or 256
            pixels a side.
        classes: `None`, or a number of classes for a discriminator that sees the class: each
            has a learned plane of pixels, which is joined to the image as one more channel
            (2,807,552 parameters for ten classes of `"pytorch"`).
        filters: Filters of the first layer, doubled at each halving of the map up to 1024.
            Default 128 (`"paper"`) or 64 (`"pytorch"`).
        norm: `"batch"` (the paper, default). For losses with a gradient penalty, which is about one
            image at a time, where batch norm mixes them: `"layer"` (Gulrajani et al. 2017, section
            4), `"instance"` or `None`.

    Returns:
        A `keras.Model` from `image` `(batch, height, width, channels)` in [-1, 1] to logits
        `(batch, 1)`: positive says real; with classes from `[image, label]`, the label
        `(batch,)` a whole number from 0. Hidden layers are named `stage1`, `stage2`, ...

    Example:
        >>> from keras_arch import models
        >>> models.DCGANDiscriminator(input_shape=(32, 32, 1)).output_shape
        (None, 1)
    """
    check_choice("norm", norm, NORMS)
    side, channels, widths = _checked("input_shape", input_shape, variant, filters)
    inputs = x = image = keras.Input((side, side, channels), name="image")
    if classes is not None:
        label, one_hot = label_input(classes)
        inputs = [image, label]
        x = layers.Concatenate(name="image_and_label")([image, _label_plane(one_hot, side)])
    for stage, width in enumerate(widths, start=1):
        x = _downsample(x, width, variant, f"stage{stage}_conv")
        if norm and stage > 1:
            x = normalize(
                x, norm, f"stage{stage}_norm", synchronized=synchronized, gamma_initializer=_gain()
            )
        x = layers.LeakyReLU(negative_slope=0.2, name=f"stage{stage}")(x)
    # A valid 4x4 convolution over the 4x4 map and a dense layer over it are one and the same.
    x = channels_last.Flatten(name="flatten")(x)
    x = _dense(x, 1, "logits", dtype=output_dtype())
    model = keras.Model(inputs, x, name=name or "dcgan_discriminator")
    return load_weights(model, weights, "DCGANDiscriminator")


def _checked(argument, shape, variant, filters):
    """Side and channels of the image, and filters from the layer nearest to it to the 4x4 map."""
    height, width, channels = check_image_shape(shape, argument)
    if height != width or height not in IMAGE_SIZES:
        raise ArgumentError(
            f"{argument} must be of a square of {', '.join(map(str, IMAGE_SIZES))} pixels a side, "
            f"got {shape!r}"
        )
    check_choice("variant", variant, FILTERS)
    filters = whole_number("filters", FILTERS[variant] if filters is None else filters)
    if filters > MAX_FILTERS:
        raise ArgumentError(f"filters must be 1 to {MAX_FILTERS}, got {filters!r}")
    halvings = int(math.log2(height // SMALLEST_MAP))
    return height, channels, [min(filters * 2**i, MAX_FILTERS) for i in range(halvings)]


def _label_plane(one_hot, side):
    """The plane of each class: a table of pixels, looked up by the label."""
    # As strong as the image beside it. From N(0, 0.02) the first layer could not see it.
    start = keras.initializers.RandomNormal(0.0, 1.0)
    x = _dense(one_hot, side * side, "label_pixels", start)
    return layers.Reshape((side, side, 1), name="label_plane")(x)


def _weights_init():
    return keras.initializers.RandomNormal(0.0, 0.02)


def _gain():
    return keras.initializers.RandomNormal(1.0, 0.02)


def _dense(x, units, name, start=None, dtype=None):
    start = start or _weights_init()
    dense = layers.Dense(units, use_bias=False, kernel_initializer=start, dtype=dtype, name=name)
    return dense(x)


def _kernel(variant):
    """Arguments that all convolutions share."""
    return {
        "kernel_size": 4 if variant == "pytorch" else 5,
        "strides": 2,
        "padding": "same" if variant == "pytorch" else "valid",
        "use_bias": False,
        "kernel_initializer": _weights_init(),
    }


def _upsample(x, filters, variant, name):
    """Double height and width by a transposed convolution."""
    x = channels_last.Conv2DTranspose(filters, name=name, **_kernel(variant))(x)
    if variant == "paper":
        # The authors' layer is the transpose of a convolution with two pixels of padding: of the
        # full 2n+3 pixels 2n remain.
        x = channels_last.Cropping2D(((2, 1), (2, 1)), name=f"{name}_crop")(x)
    return x


def _downsample(x, filters, variant, name):
    """Halve height and width by a convolution that pads every side alike."""
    if variant == "paper":
        x = channels_last.ZeroPadding2D(2, name=f"{name}_pad")(x)
    return channels_last.Conv2D(filters, name=name, **_kernel(variant))(x)
