"""Deep convolutional GAN (Radford et al. 2015).

A. Radford, L. Metz, S. Chintala: Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks. Its four rules: strided convolutions instead of pooling; no
hidden dense layers; ReLU in the generator with a last tanh, LeakyReLU in the discriminator;
batch norm everywhere except the generator's output and the discriminator's input.

Two variants. `"pytorch"` is the network of the PyTorch examples, which most people mean by DCGAN:
4x4 kernels, 64 filters, latent N(0, 1). `"paper"` follows the authors' code: 5x5 kernels, 128
filters, latent U(-1, 1), batch norm over each of the 4x4x1024 units of the projected latent.

Both can be conditional: `classes=` gives the networks a label as a second input, in the way of
Mirza and Osindero 2014 (https://arxiv.org/abs/1411.1784), with the discriminator's label as a
plane, after Denton et al. 2015 (https://arxiv.org/abs/1506.05751, section 4.1).
"""

import math

import keras
from keras import layers

from keras_arch import layers as shared
from keras_arch.errors import ArgumentError
from keras_arch.registry import register
from keras_arch.weights import Weights, load_weights

PAPER = (
    "Radford, Metz, Chintala: Unsupervised Representation Learning with Deep Convolutional "
    "Generative Adversarial Networks (2015)"
)
URL = "https://arxiv.org/abs/1511.06434"
FILTERS = {"pytorch": 64, "paper": 128}
LATENT = {"pytorch": "normal", "paper": "uniform"}
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
        "variant='pytorch'": 3_576_704,
        "variant='paper'": 18_885_760,
        "variant='pytorch', classes=10": 3_658_624,
    },
    latent=LATENT,
)
def DCGANGenerator(
    image_size: int = 64,
    channels: int = 3,
    latent_size: int = 100,
    variant: str = "pytorch",
    filters: int | None = None,
    weights: Weights = None,
    synchronized: bool = False,
    classes: int | None = None,
    name: str | None = None,
) -> keras.Model:
    """DCGAN's generator: a latent is projected to 4x4 and doubled up to the image.

    Source: Radford et al. 2015, figure 1 (`variant="paper"`, 18,885,760 parameters); the DCGAN
    of the PyTorch examples (`variant="pytorch"`, 3,576,704 parameters).

    Args:
        image_size: Side of the square image in pixels: 16, 32, 64, 128 or 256.
        channels: Channels of the image.
        latent_size: Length of the latent.
        variant: `"pytorch"` or `"paper"`.
        filters: Filters of the last hidden layer, doubled at each halving of the map up to 1024.
            Default 64 (port) or 128 (paper).
        weights: `None` for random weights, or what `keras_arch.weights.load_weights` takes.
        synchronized: Batch norm statistics over all replicas of a distribution strategy.
        classes: `None`, or a number of classes for a generator of the class that it is asked for:
            the label, as zeros and a one, is joined to the latent (3,658,624 parameters for ten
            classes of the port).
        name: Name of the model.

    Returns:
        A `keras.Model` from `latent` `(batch, latent_size)` to `(batch, image_size, image_size,
        channels)` in [-1, 1]; with classes from `[latent, label]`, the label `(batch,)` a whole
        number from 0.

    Raises:
        ArgumentError: If an argument is not one of the above.

    Example:
        >>> from keras_arch import models
        >>> generator = models.DCGANGenerator(image_size=64)
        >>> models.trainable_parameters(generator)
        3576704
    """
    widths = _widths(image_size, channels, variant, filters)[::-1]
    if not isinstance(latent_size, int) or latent_size < 1:
        raise ArgumentError(f"latent_size must be a positive whole number, got {latent_size!r}")

    latent = keras.Input((latent_size,), name="latent")
    inputs = x = latent
    if classes is not None:
        label, one_hot = shared.label_input(classes)
        inputs = [latent, label]
        x = layers.Concatenate(name="latent_and_label")([latent, one_hot])
    x = layers.Dense(
        SMALLEST_MAP * SMALLEST_MAP * widths[0],
        use_bias=False,
        kernel_initializer=_weights_init(),
        name="project",
    )(x)
    to_map = layers.Reshape((SMALLEST_MAP, SMALLEST_MAP, widths[0]), name="project_map")
    norm = _norm("project_norm", synchronized)
    # The authors' code normalises each unit of the projection, the port each of its channels.
    x = to_map(norm(x)) if variant == "paper" else norm(to_map(x))
    x = layers.Activation("relu", name="stage1")(x)
    for stage, width in enumerate(widths[1:], start=2):
        x = _upsample(x, width, variant, f"stage{stage}_conv")
        x = _norm(f"stage{stage}_norm", synchronized)(x)
        x = layers.Activation("relu", name=f"stage{stage}")(x)
    x = _upsample(x, channels, variant, "output_conv")
    x = layers.Activation("tanh", dtype=shared.output_dtype(), name="output")(x)
    model = keras.Model(inputs, x, name=name or "dcgan_generator")
    return load_weights(model, weights, "DCGANGenerator")


@register(
    task="discriminator",
    paper=PAPER,
    url=URL,
    default_input=(64, 64, 3),
    parameters={
        "variant='pytorch'": 2_765_568,
        "variant='paper'": 17_232_768,
        "variant='pytorch', classes=10": 2_807_552,
    },
)
def DCGANDiscriminator(
    image_size: int = 64,
    channels: int = 3,
    variant: str = "pytorch",
    filters: int | None = None,
    batch_norm: bool = True,
    weights: Weights = None,
    synchronized: bool = False,
    classes: int | None = None,
    name: str | None = None,
) -> keras.Model:
    """DCGAN's discriminator: strided convolutions down to 4x4, then one logit.

    Source: Radford et al. 2015, section 3 (`variant="paper"`, 17,232,768 parameters); the DCGAN
    of the PyTorch examples (`variant="pytorch"`, 2,765,568 parameters).

    Args:
        image_size: Side of the square image in pixels: 16, 32, 64, 128 or 256.
        channels: Channels of the image.
        variant: `"pytorch"` or `"paper"`.
        filters: Filters of the first layer, doubled at each halving of the map up to 1024.
            Default 64 (port) or 128 (paper).
        batch_norm: `False` leaves batch norm out, for losses with a gradient penalty: the penalty
            is about one image at a time, and batch norm mixes them (Gulrajani et al. 2017,
            section 4).
        weights: `None` for random weights, or what `keras_arch.weights.load_weights` takes.
        synchronized: Batch norm statistics over all replicas of a distribution strategy.
        classes: `None`, or a number of classes for a discriminator that is told the class: each
            has a learned plane of pixels, which is joined to the image as one more channel
            (2,807,552 parameters for ten classes of the port).
        name: Name of the model.

    Returns:
        A `keras.Model` from `image` `(batch, image_size, image_size, channels)` in [-1, 1] to
        logits `(batch, 1)`: positive says real; with classes from `[image, label]`, the label
        `(batch,)` a whole number from 0. Hidden layers are named `stage1`, `stage2`, ...

    Raises:
        ArgumentError: If an argument is not one of the above.

    Example:
        >>> from keras_arch import models
        >>> models.DCGANDiscriminator(image_size=32, channels=1).output_shape
        (None, 1)
    """
    widths = _widths(image_size, channels, variant, filters)
    image = keras.Input((image_size, image_size, channels), name="image")
    inputs = x = image
    if classes is not None:
        label, one_hot = shared.label_input(classes)
        inputs = [image, label]
        x = layers.Concatenate(name="image_and_label")([image, _label_plane(one_hot, image_size)])
    for stage, width in enumerate(widths, start=1):
        x = _downsample(x, width, variant, f"stage{stage}_conv")
        if batch_norm and stage > 1:
            x = _norm(f"stage{stage}_norm", synchronized)(x)
        x = layers.LeakyReLU(negative_slope=0.2, name=f"stage{stage}")(x)
    # A valid 4x4 convolution over the 4x4 map and a dense layer over it are one and the same.
    x = layers.Flatten(data_format="channels_last", name="flatten")(x)
    x = layers.Dense(
        1,
        use_bias=False,
        kernel_initializer=_weights_init(),
        dtype=shared.output_dtype(),
        name="logits",
    )(x)
    model = keras.Model(inputs, x, name=name or "dcgan_discriminator")
    return load_weights(model, weights, "DCGANDiscriminator")


def _widths(image_size, channels, variant, filters):
    """Filters from the layer nearest the image to the 4x4 map."""
    if image_size not in IMAGE_SIZES:
        raise ArgumentError(
            f"image_size must be one of {', '.join(map(str, IMAGE_SIZES))} pixels, "
            f"got {image_size!r}"
        )
    if not isinstance(channels, int) or channels < 1:
        raise ArgumentError(f"channels must be a positive whole number, got {channels!r}")
    if variant not in FILTERS:
        raise ArgumentError(f"variant must be 'pytorch' or 'paper', got {variant!r}")
    filters = FILTERS[variant] if filters is None else filters
    if not isinstance(filters, int) or not 1 <= filters <= MAX_FILTERS:
        raise ArgumentError(f"filters must be 1 to {MAX_FILTERS}, got {filters!r}")
    halvings = int(math.log2(image_size // SMALLEST_MAP))
    return [min(filters * 2**i, MAX_FILTERS) for i in range(halvings)]


def _label_plane(one_hot, image_size):
    """The plane of each class: a table of pixels, looked up by the label."""
    x = layers.Dense(
        image_size * image_size,
        use_bias=False,
        # As strong as the image beside it. From N(0, 0.02) the first layer could not see it.
        kernel_initializer=keras.initializers.RandomNormal(0.0, 1.0),
        name="label_pixels",
    )(one_hot)
    return layers.Reshape((image_size, image_size, 1), name="label_plane")(x)


def _weights_init():
    return keras.initializers.RandomNormal(0.0, 0.02)


def _norm(name, synchronized):
    gain = keras.initializers.RandomNormal(1.0, 0.02)
    return shared.batch_norm(name, synchronized=synchronized, gamma_initializer=gain)


def _upsample(x, filters, variant, name):
    """Double height and width by a transposed convolution."""
    port = variant == "pytorch"
    x = layers.Conv2DTranspose(
        filters,
        4 if port else 5,
        strides=2,
        padding="same" if port else "valid",
        use_bias=False,
        kernel_initializer=_weights_init(),
        data_format="channels_last",
        name=name,
    )(x)
    if not port:
        # The authors' layer is the transpose of a convolution with two pixels of padding: of the
        # full 2n+3 pixels it keeps 2n.
        x = layers.Cropping2D(((2, 1), (2, 1)), data_format="channels_last", name=f"{name}_crop")(x)
    return x


def _downsample(x, filters, variant, name):
    """Halve height and width by a convolution that pads every side alike."""
    port = variant == "pytorch"
    if not port:
        x = layers.ZeroPadding2D(2, data_format="channels_last", name=f"{name}_pad")(x)
    return layers.Conv2D(
        filters,
        4 if port else 5,
        strides=2,
        padding="same" if port else "valid",
        use_bias=False,
        kernel_initializer=_weights_init(),
        data_format="channels_last",
        name=name,
    )(x)
